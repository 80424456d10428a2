package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitopskit/gitopskit/internal/clip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The defaults of [Options] and [Route].
const (
	DefaultQueueSize   = 1000
	DefaultQueueBytes  = 32 << 20
	DefaultSendTimeout = 15 * time.Second
	DefaultDedupWindow = 5 * time.Minute
	DefaultWorkers     = 1
)

// Options configures a [Recorder]. Zero fields mean the defaults.
type Options struct {
	// Sinks are where events go. Without any, events are checked and forgotten.
	Sinks []Route

	// Controller and Instance fill the events' ReportingController and
	// ReportingInstance where these are empty.
	Controller string
	Instance   string

	// QueueSize is how many events each sink's queue holds. Zero means
	// [DefaultQueueSize].
	QueueSize int
	// QueueBytes is how much memory the events in each sink's queue take, about.
	// Zero means [DefaultQueueBytes].
	QueueBytes int64

	// SendTimeout bounds each attempt to send. Zero means [DefaultSendTimeout].
	SendTimeout time.Duration
	// Retry says how to send again.
	Retry Retry

	// OnDelivered is called after a sink has taken an event, OnFailed after an
	// event was given up. The sink's worker waits for them. They must not call
	// Flush or Close. A panic in them is swallowed.
	OnDelivered func(Delivery)
	OnFailed    func(Delivery)
	// OnDropped is called, never twice at once, after events were dropped. A call
	// may stand for many, see [Drop]. Nobody waits for it but Close. Events that
	// come after Close are in the counters alone.
	OnDropped func(Drop)
}

// Route is a sink and what goes to it.
type Route struct {
	// Name tells the sink from others in results and errors. Required, unique.
	Name string
	// Sink takes the events. Required. What it holds is its owner's to close, after
	// the recorder.
	Sink Sink
	// MinSeverity is the least severity that the sink gets. Empty means all.
	MinSeverity Severity
	// DedupWindow is how long after the delivery of an event equal ones are not
	// sent again. Zero means [DefaultDedupWindow], or none for a sink that counts
	// repeats itself, see [RepeatCounter]. Less than zero means none.
	DedupWindow time.Duration
	// Workers is how many events are sent at once, never two about the same
	// object. Zero means [DefaultWorkers].
	Workers int
	// Spool keeps on disk what is not settled, over the end of the process. Empty
	// means that it is kept in memory alone.
	Spool Spool
}

// Delivery is the end of an event's way to a sink.
type Delivery struct {
	Sink     string        // name of the sink
	Event    Event         // as it was sent
	Attempts int           // how often it was sent; zero if the recorder was closed before
	Latency  time.Duration // since Emit
	Err      error         // why it was given up; nil if it was delivered
}

// Drop is a number of events that a sink's queue did not accept.
type Drop struct {
	Sink  string // name of the sink
	Event Event  // the last of them
	Count uint64 // how many since the last call
	Err   error  // why the last one was dropped: wraps ErrQueueFull or ErrClosed
}

// Stats are counters since the recorder was made.
type Stats struct {
	Rejected uint64 // events that were not valid and went nowhere
	Sinks    map[string]SinkStats
}

// SinkStats is what a controller exports about one sink. Accepted is always the sum of
// Delivered, Deduplicated, Failed and Pending. Those that grow only are counters, the
// others say how it is now.
type SinkStats struct {
	Accepted     uint64 // counter: taken into the queue, Restored included
	Restored     uint64 // counter: found in the spool when the recorder was made
	Dropped      uint64 // counter: not taken into the queue
	Delivered    uint64 // counter: taken by the sink
	Deduplicated uint64 // counter: not sent, an equal one was delivered before, within the window
	Failed       uint64 // counter: given up, Expired included
	Expired      uint64 // counter: given up unsent, older than Spool.MaxAge
	Attempts     uint64 // counter: answers of the sink, good or bad
	Retried      uint64 // counter: attempts that failed and were, or will be, repeated

	SendTime time.Duration // counter: what all Attempts took together
	Latency  time.Duration // counter: from Emit to the delivery, of all Delivered together

	Pending      uint64 // in the queue or under way
	PendingBytes int64  // how much memory they take, about
	Failing      int    // failures in a row, those at the same time counted as one; above zero, one event at a time probes the sink

	Spooled      uint64 // of Pending, those that would survive the end of the process
	SpoolErr     error  // why the spool does not hold all that is pending; nil where it does, or soon will
	SpoolDamaged int64  // bytes that could not be read in the spool when the recorder was made
}

// Recorder takes events to its sinks, and never lets the one who reports them wait.
// It is safe for concurrent use. Make one per process with [New], and [Recorder.Close]
// it at the end.
type Recorder struct {
	opts        Options
	dispatchers []*dispatcher
	rejected    atomic.Uint64
	dropped     chan struct{} // holds a token when there is a drop to report

	end      lifetime
	closing  sync.Once
	running  sync.WaitGroup // workers
	telling  sync.WaitGroup // the one who reports drops
	closeErr error
}

// New makes a recorder and starts its workers, which begin with what spools hold. Close
// ends them. A spool that another process has is an error that wraps [ErrSpoolInUse].
func New(opts Options) (*Recorder, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	r := &Recorder{
		opts:    opts,
		dropped: make(chan struct{}, 1),
		end:     make(lifetime),
	}
	for _, route := range opts.Sinks {
		d, err := newDispatcher(route, opts)
		if err != nil {
			for _, d := range r.dispatchers {
				d.journal.close()
			}
			return nil, err
		}
		r.dispatchers = append(r.dispatchers, d)
	}
	for _, d := range r.dispatchers {
		r.running.Go(func() { d.run(r.end) })
	}
	if opts.OnDropped != nil {
		r.telling.Go(r.tellDrops)
	}
	return r, nil
}

func (o Options) check() error {
	names := map[string]bool{}
	for i, route := range o.Sinks {
		switch {
		case route.Name == "":
			return fmt.Errorf("events: sink %d has no name: give each route a name of its own", i)
		case names[route.Name]:
			return fmt.Errorf("events: two sinks are named %q: give each route a name of its own", route.Name)
		case route.Sink == nil:
			return fmt.Errorf("events: route %q has no sink", route.Name)
		case route.MinSeverity != "" && route.MinSeverity.rank() == 0:
			return fmt.Errorf("events: route %q: severity %q is not trace, info or error", route.Name, route.MinSeverity)
		}
		names[route.Name] = true
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.QueueSize = orDefault(o.QueueSize, DefaultQueueSize)
	o.QueueBytes = orDefault(o.QueueBytes, DefaultQueueBytes)
	o.SendTimeout = orDefault(o.SendTimeout, DefaultSendTimeout)
	o.Retry = o.Retry.withDefaults()
	return o
}

// Emit hands an event to the sinks that want its severity, and returns at once. It
// neither waits for them nor panics; on a recorder that [New] did not make it returns
// [ErrClosed].
//
// The recorder fills an empty timestamp, controller and instance, and shortens a
// message that is longer than [MaxMessage] bytes. It keeps no reference to the
// event's metadata.
//
// The error is nil if every sink accepted the event: each will then see it, in the
// order of the calls for one object, unless [Delivery] or [Stats] say otherwise. It
// is an [*InvalidEventError] if the event is not valid, and a [*DroppedError] if a
// sink's queue is full or the recorder is closed.
//
// An event that was accepted is not yet in a spool, see [Spool].
func (r *Recorder) Emit(e Event) error {
	if r == nil || r.end == nil {
		return ErrClosed
	}
	now := time.Now()
	e = r.complete(e, now)
	if err := e.Validate(); err != nil {
		r.rejected.Add(1)
		return err
	}
	var drops *DroppedError
	for _, d := range r.dispatchers {
		if e.Severity.rank() < d.least {
			continue
		}
		if err := d.queue.push(e, now); err != nil {
			drops = drops.add(e, d.name, err)
		}
	}
	if drops == nil {
		return nil
	}
	select {
	case r.dropped <- struct{}{}:
	default:
	}
	return drops
}

func (r *Recorder) complete(e Event, now time.Time) Event {
	e = e.clone()
	// What is far beyond the bound is not even looked at.
	e.Message = clip.Text(e.Message[:min(len(e.Message), 2*MaxMessage)], MaxMessage)
	if e.Timestamp.IsZero() {
		e.Timestamp = metav1.NewTime(now)
	}
	if e.ReportingController == "" {
		e.ReportingController = r.opts.Controller
	}
	if e.ReportingInstance == "" {
		e.ReportingInstance = r.opts.Instance
	}
	return e
}

// add notes a sink that dropped the event. A nil receiver is the empty list.
func (e *DroppedError) add(dropped Event, sink string, err error) *DroppedError {
	if e == nil {
		e = &DroppedError{Object: dropped.InvolvedObject, Err: err}
	}
	e.Sinks = append(e.Sinks, sink)
	return e
}

// Flush waits until every event that was accepted before the call is delivered or
// given up, and flushes the sinks that hold something back. It ends pauses between
// attempts early, unless a sink asked for them. Call it before Close, with the time
// that a shutdown may take.
//
// It brings spools up to date first. Where ctx ends first, or the recorder is closed, the error wraps the context's or
// [ErrClosed], and is an [*UndeliveredError] if events are left. Otherwise it joins
// what the sinks returned from their own Flush.
func (r *Recorder) Flush(ctx context.Context) error {
	if r == nil || r.end == nil {
		return nil
	}
	errs := make([]error, len(r.dispatchers))
	var waiting sync.WaitGroup
	for i, d := range r.dispatchers {
		waiting.Go(func() { errs[i] = d.settled(ctx) })
	}
	waiting.Wait()
	err := errors.Join(errs...)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	} else if r.end.Err() != nil {
		err = ErrClosed
	}
	if left := r.pending(); err != nil && len(left) > 0 {
		return &UndeliveredError{Events: left, Err: err}
	}
	return err
}

// Sync waits until every event that was accepted before the call is settled or, where
// its route has a spool, safely on the disk. The error says why it is not: a disk that
// is full or broken, the end of ctx, or [ErrClosed].
func (r *Recorder) Sync(ctx context.Context) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, d := range r.dispatchers {
		if err := d.journal.sync(ctx); err != nil {
			errs = append(errs, fmt.Errorf("spool of %s: %w", d.name, err))
		}
	}
	return errors.Join(errs...)
}

// pending counts what is not settled, by sink, without the sinks that have nothing.
func (r *Recorder) pending() map[string]int {
	left := map[string]int{}
	for _, d := range r.dispatchers {
		if n := d.queue.pending(); n > 0 {
			left[d.name] = n
		}
	}
	return left
}

// Stats returns the counters. On a nil recorder all are zero.
func (r *Recorder) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	s := Stats{Rejected: r.rejected.Load(), Sinks: make(map[string]SinkStats, len(r.dispatchers))}
	for _, d := range r.dispatchers {
		s.Sinks[d.name] = d.queue.stats()
	}
	return s
}

// Close refuses further events, interrupts what is under way and waits for the
// workers, but not for a delivery: [Recorder.Flush] does that. What is left and not in
// a spool counts as failed, OnFailed is called for it, and the error is an
// [*UndeliveredError]. What a spool holds stays pending, for the next recorder. It does
// not close the sinks. Further calls return the same error.
func (r *Recorder) Close() error {
	if r == nil || r.end == nil {
		return nil
	}
	r.closing.Do(func() {
		for _, d := range r.dispatchers {
			d.queue.close()
		}
		close(r.end)
		r.running.Wait()
		left := map[string]int{}
		for _, d := range r.dispatchers {
			if n := d.abandon(); n > 0 {
				left[d.name] = n
			}
		}
		r.telling.Wait()
		if len(left) > 0 {
			r.closeErr = &UndeliveredError{Events: left, Err: ErrClosed}
		}
	})
	return r.closeErr
}

// tellDrops reports drops until the recorder ends. It stands apart from the
// workers, because a blocked sink is when drops occur.
func (r *Recorder) tellDrops() {
	for ended := false; !ended; {
		select {
		case <-r.end:
			ended = true // and one last look
		case <-r.dropped:
		}
		for _, d := range r.dispatchers {
			if drop := d.queue.takeDrop(); drop.Count > 0 {
				drop.Sink = d.name
				r.tellDrop(drop)
			}
		}
	}
}

func (r *Recorder) tellDrop(drop Drop) {
	var ignored error
	defer recovered("report", &ignored)
	drop.Event = drop.Event.clone()
	r.opts.OnDropped(drop)
}
