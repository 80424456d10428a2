package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gitopskit/gitopskit/events/internal/spool"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// DefaultSpoolBytes is how much of the disk a [Spool] takes unless it is told
	// otherwise.
	DefaultSpoolBytes = 64 << 20
	// DefaultSpoolAge is how old an event in a [Spool] may be before it is given up
	// unless it is told otherwise.
	DefaultSpoolAge = 24 * time.Hour

	spoolSync  = 200 * time.Millisecond // between what is written and its fsync
	spoolPause = time.Second            // before the disk is tried again
)

// Spool keeps on disk what a sink has accepted and not yet settled, so that the next
// recorder with the same folder goes on where this one ended. The zero value keeps
// nothing.
//
// Writing happens beside the delivery, and Emit does not wait for it. An event is
// written within microseconds where the disk is idle, otherwise after the sync that is
// under way, and survives the end of the process from then on; a sync begins within
// 200 ms, after which it survives a crash of the machine. [Recorder.Sync] waits for both, Close does them last. An event that is
// settled before it was written never is. A process that is killed may send again what
// it had sent last.
//
// A disk that is full or broken holds up nothing: events are delivered from memory,
// SinkStats.Spooled says how many of them would survive, SinkStats.SpoolErr why not all.
type Spool struct {
	// Dir is a folder for this route alone, which is made if there is none. Empty
	// means no spool. It holds what events say, readable by its owner alone, and
	// whoever can write to it can have events sent.
	Dir string
	// MaxBytes bounds the files. Zero means [DefaultSpoolBytes].
	MaxBytes int64
	// MaxAge is how long after Emit an event is given up without another attempt:
	// it was too long without a process. Zero means [DefaultSpoolAge].
	MaxAge time.Duration
}

// journal is what a spool and its queue have to say to each other. An event is fresh
// until it is taken to be written, then flying, then stored, and gets out of each when
// it is settled.
type journal struct {
	log  *spool.Log
	wake chan struct{} // holds a token when there may be something to write
	end  chan struct{} // closed when nobody writes any more

	mu      sync.Mutex
	last    uint64
	fresh   map[uint64]*item
	flying  map[uint64]*item
	stored  map[uint64]struct{}
	done    []uint64 // stored or flying before, and settled
	waiting []chan error
	damaged int64
	err     error // of the last write

	synced time.Time // for the one who writes alone
}

// openJournal opens a spool and returns what is in it, the oldest first.
func openJournal(s Spool) (*journal, []*item, error) {
	log, old, err := spool.Open(s.Dir, orDefault(s.MaxBytes, DefaultSpoolBytes))
	switch {
	case errors.Is(err, spool.ErrInUse):
		return nil, nil, fmt.Errorf("%w: %s: give each route of each process a folder of its own", ErrSpoolInUse, s.Dir)
	case errors.Is(err, spool.ErrFull):
		return nil, nil, fmt.Errorf("spool in %s: %w: raise MaxBytes, or remove the folder and what it holds", s.Dir, err)
	case err != nil:
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	j := &journal{
		log: log, last: old.Last, damaged: old.Damaged,
		wake: make(chan struct{}, 1), end: make(chan struct{}),
		fresh: map[uint64]*item{}, flying: map[uint64]*item{}, stored: map[uint64]struct{}{},
	}
	var items []*item
	for _, r := range old.Records {
		it, err := thaw(r)
		if err != nil {
			j.damaged += int64(len(r.Payload))
			j.done = append(j.done, r.Seq)
			continue
		}
		j.stored[r.Seq] = struct{}{}
		items = append(items, it)
	}
	return j, items, nil
}

// frozen is an event as it is on disk: the wire format has no fractions of a second.
type frozen struct {
	Event    Event `json:"event"`
	Nanos    int64 `json:"nanos"` // of the timestamp, since 1970
	Accepted int64 `json:"accepted"`
}

func freeze(it *item) (spool.Record, error) {
	payload, err := json.Marshal(frozen{it.event, it.event.Timestamp.UnixNano(), it.accepted.UnixNano()})
	return spool.Record{Seq: it.seq, Payload: payload}, err
}

func thaw(r spool.Record) (*item, error) {
	var f frozen
	if err := json.Unmarshal(r.Payload, &f); err != nil {
		return nil, err
	}
	if exact := time.Unix(0, f.Nanos); exact.Unix() == f.Event.Timestamp.Unix() {
		f.Event.Timestamp = metav1.NewTime(exact) // nanoseconds end in the year 2262
	}
	if err := f.Event.Validate(); err != nil {
		return nil, err
	}
	return &item{event: f.Event, bytes: size(f.Event), accepted: time.Unix(0, f.Accepted), seq: r.Seq}, nil
}

// add takes note of an accepted event. It is not written yet.
func (j *journal) add(it *item) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	it.seq = j.last
	j.fresh[it.seq] = it
	j.signal()
}

// settle takes note that an event need not be kept any more.
func (j *journal) settle(it *item) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.fresh[it.seq]; ok {
		delete(j.fresh, it.seq)
		return
	}
	delete(j.flying, it.seq)
	delete(j.stored, it.seq)
	j.done = append(j.done, it.seq)
	j.signal()
}

// keeps reports whether an event is on disk.
func (j *journal) keeps(it *item) bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.stored[it.seq]
	return ok
}

func (j *journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends.
func (j *journal) run(ctx context.Context) {
	wake, again := j.wake, (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-again:
		}
		wake, again = j.wake, nil
		switch due, err := j.write(time.Now(), false); {
		case err != nil:
			wake, again = nil, time.After(spoolPause)
		case due:
			again = time.After(spoolSync)
		}
	}
}

// write brings to the disk what there is to say. It syncs at once where it is told to
// or somebody waits for it, otherwise not more often than every spoolSync, and reports
// whether a sync is due.
func (j *journal) write(now time.Time, sync bool) (due bool, err error) {
	done, taken, waiting := j.take()
	records := make([]spool.Record, 0, len(taken))
	for _, it := range taken {
		if r, failed := freeze(it); failed == nil { // as it does for each valid event
			records = append(records, r)
		}
	}
	n, err := j.log.Write(done, records)
	if sync || len(waiting) > 0 || now.Sub(j.synced) >= spoolSync {
		err = errors.Join(err, j.log.Sync())
		j.synced, sync = now, true
	}
	return !sync, j.land(records[:n], err, waiting)
}

// take returns what there is to write, in the order of the calls of Emit.
func (j *journal) take() (done []uint64, taken []*item, waiting []chan error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(j.fresh)) {
		taken = append(taken, j.fresh[seq])
	}
	j.flying, j.fresh = j.fresh, map[uint64]*item{}
	done, j.done = j.done, nil
	waiting, j.waiting = j.waiting, nil
	return done, taken, waiting
}

// land takes note of what was written. What was not is fresh again.
func (j *journal) land(written []spool.Record, err error, waiting []chan error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range written {
		if _, ok := j.flying[r.Seq]; ok {
			j.stored[r.Seq] = struct{}{}
			delete(j.flying, r.Seq)
		}
	}
	maps.Copy(j.fresh, j.flying)
	j.flying = map[uint64]*item{}
	j.err = err
	for _, w := range waiting {
		w <- err
	}
	return err
}

// sync waits until all that was accepted by now is settled or safely on the disk.
func (j *journal) sync(ctx context.Context) error {
	if j == nil {
		return nil
	}
	answer := make(chan error, 1)
	j.mu.Lock()
	j.waiting = append(j.waiting, answer)
	j.signal()
	j.mu.Unlock()
	select {
	case err := <-answer:
		return err
	case <-j.end:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close writes what is left and lets go of the folder. Nobody may write any more.
func (j *journal) close() {
	if j == nil {
		return
	}
	_, _ = j.write(time.Now(), true) // what it could not keep is told as lost
	_ = j.log.Close()                // all is synced, or has failed before
	close(j.end)
}

// stats adds what a journal counts.
func (j *journal) stats(s *SinkStats) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Spooled = uint64(len(j.stored))
	s.SpoolDamaged = j.damaged
	s.SpoolErr = j.err
}
