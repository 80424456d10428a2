package events

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

// queue holds what one sink has accepted and not yet settled. Events about one
// object stand in a lane, from which only the first is ever under way: that keeps
// their order, and lets an event that the sink cannot take hold up no other object.
//
// No lock is held while anything is sent or called.
type queue struct {
	maxEvents int
	maxBytes  int64
	wake      chan struct{} // holds a token when there may be something to take
	journal   *journal      // nil where nothing is kept on disk

	mu     sync.Mutex
	closed bool
	lanes  map[laneKey]*lane
	ready  []*lane  // may be taken, the longest waiting first
	later  laneHeap // may be taken at their time
	events int
	bytes  int64

	// The sink as a whole. As long as its last answer was a failure, one event
	// at a time probes it.
	underWay int
	failures int       // in a row
	backOff  time.Time // our own pause
	asked    time.Time // the pause that the sink asked for

	batch  *batch   // of what is accepted now
	sealed []*batch // of what a flush waits for
	counts SinkStats
	drop   Drop // what is dropped and not yet reported
}

type laneKey struct{ apiVersion, kind, namespace, name string }

// lane is a queue of the events about one object.
type lane struct {
	key      laneKey
	items    []*item
	attempts int       // at the first of them
	since    time.Time // first attempt at the first of them
	after    time.Time // not to be taken before
}

type item struct {
	event    Event
	bytes    int64
	accepted time.Time
	batch    *batch
	seq      uint64 // in the journal
}

// batch counts the unsettled events that were accepted between two flushes.
type batch struct {
	pending int
	done    chan struct{} // closed when a sealed batch has none left
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

func newQueue(maxEvents int, maxBytes int64, j *journal) *queue {
	return &queue{
		maxEvents: maxEvents,
		maxBytes:  maxBytes,
		wake:      make(chan struct{}, 1),
		journal:   j,
		lanes:     map[laneKey]*lane{},
		batch:     newBatch(),
	}
}

// size is about what a queued event costs in memory.
func size(e Event) int64 {
	const overhead = 512
	o := e.InvolvedObject
	return int64(overhead + e.metadataSize() + len(e.Message) + len(e.Reason) +
		len(o.Name) + len(o.Namespace) + len(o.Kind) + len(o.APIVersion) + len(o.UID))
}

// push accepts an event, or returns why not.
func (q *queue) push(e Event, now time.Time) error {
	it := &item{event: e, bytes: size(e), accepted: now}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return q.refuse(e, ErrClosed)
	case q.events >= q.maxEvents, q.bytes+it.bytes > q.maxBytes:
		return q.refuse(e, ErrQueueFull)
	}
	q.journal.add(it)
	q.line(it)
	q.signal()
	return nil
}

// restore takes what the journal holds from an earlier process. It was accepted once
// and is not refused now, even if the queue has become smaller.
func (q *queue) restore(items []*item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		q.counts.Restored++
		q.line(it)
	}
	q.signal()
}

// line puts an event at the end of its lane.
func (q *queue) line(it *item) {
	it.batch = q.batch
	q.batch.pending++
	q.events++
	q.bytes += it.bytes
	q.counts.Accepted++

	o := it.event.InvolvedObject
	key := laneKey{o.APIVersion, o.Kind, o.Namespace, o.Name}
	l := q.lanes[key]
	if l == nil {
		l = &lane{key: key}
		q.lanes[key] = l
		q.ready = append(q.ready, l)
	}
	l.items = append(l.items, it)
}

func (q *queue) refuse(e Event, err error) error {
	q.counts.Dropped++
	q.drop = Drop{Event: e, Count: q.drop.Count + 1, Err: err}
	return err
}

// signal makes sure that somebody looks at the queue.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// turn is one attempt at the first event of a lane.
type turn struct {
	lane    *lane
	item    *item
	attempt int           // the first is 1
	since   time.Time     // the first attempt
	before  int           // failures in a row when it was taken
	took    time.Duration // what the sink needed, once it has answered
}

// forever is how long to wait where only another event can change anything.
const forever = time.Duration(1<<63 - 1)

// take returns what is to be sent now, or how long to wait for it. Whoever takes a
// turn ends it with settle, postpone or release.
func (q *queue) take(now time.Time) (turn, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.later) > 0 && !q.later[0].after.After(now) {
		q.ready = append(q.ready, heap.Pop(&q.later).(*lane))
	}
	if wait := max(q.backOff.Sub(now), q.asked.Sub(now)); wait > 0 {
		return turn{}, wait
	}
	if q.failures > 0 && q.underWay > 0 {
		return turn{}, forever
	}
	if len(q.ready) == 0 {
		if len(q.later) > 0 {
			return turn{}, q.later[0].after.Sub(now)
		}
		return turn{}, forever
	}
	l := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	q.underWay++
	if l.attempts == 0 {
		l.since = now
	}
	if len(q.ready)+len(q.later) > 0 {
		q.signal() // another worker takes the next one, or waits for its time
	}
	return turn{lane: l, item: l.items[0], attempt: l.attempts + 1, since: l.since, before: q.failures}, 0
}

// outcome is how an event was settled.
type outcome int

const (
	outcomeDelivered outcome = iota
	outcomeRepeated          // not sent: delivered before, within the window
	outcomeFailed            // given up
	outcomeExpired           // given up unsent: too old
	outcomeKept              // left to the next process
)

// settle ends a turn and removes its event.
func (q *queue) settle(t turn, how outcome) {
	l := t.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.signal()
	q.underWay--
	if how == outcomeDelivered || how == outcomeFailed {
		q.failures = 0 // the sink answers
		q.answered(t)
	}
	q.finish(t.item, how)
	l.items[0] = nil
	l.items = l.items[1:]
	l.attempts = 0
	if len(l.items) == 0 {
		delete(q.lanes, l.key)
		return
	}
	q.ready = append(q.ready, l)
}

// answered counts an attempt.
func (q *queue) answered(t turn) {
	q.counts.Attempts++
	q.counts.SendTime += t.took
}

// finish counts an event as settled, or as kept.
func (q *queue) finish(it *item, how outcome) {
	switch how {
	case outcomeDelivered:
		q.counts.Delivered++
		q.counts.Latency += max(time.Since(it.accepted), 0)
	case outcomeRepeated:
		q.counts.Deduplicated++
	case outcomeExpired:
		q.counts.Expired++
		q.counts.Failed++
	case outcomeFailed:
		q.counts.Failed++
	case outcomeKept: // and pending still
	}
	if how != outcomeKept {
		q.journal.settle(it)
		q.events--
		q.bytes -= it.bytes
	}
	it.batch.pending--
	if it.batch != q.batch && it.batch.pending == 0 {
		close(it.batch.done)
		q.sealed = slices.DeleteFunc(q.sealed, func(b *batch) bool { return b == it.batch })
	}
}

// postpone ends a turn in which the sink did not take the event: the lane waits for
// its own pause, and the sink for its. What the sink asks for replaces our own
// judgement.
func (q *queue) postpone(t turn, now time.Time, asked time.Duration, pause func(attempts int) time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.signal()
	l := t.lane
	q.underWay--
	q.failures = max(q.failures, t.before+1) // what fails at the same time is one failure
	q.counts.Retried++
	q.answered(t)
	l.attempts++
	if asked > 0 {
		q.asked = now.Add(asked)
		l.after = q.asked
	} else {
		q.backOff = now.Add(pause(q.failures))
		l.after = now.Add(pause(l.attempts))
	}
	heap.Push(&q.later, l)
}

// release ends a turn in which the event was neither taken nor refused.
func (q *queue) release(t turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.underWay--
	q.ready = append(q.ready, t.lane)
}

// flush ends our own pauses, for there may not be another chance, and returns what
// to wait for. A pause that the sink asked for stays.
func (q *queue) flush() []<-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.signal()
	q.backOff = time.Time{}
	q.failures = min(q.failures, 1)
	for _, l := range q.later {
		l.attempts = min(l.attempts, 1)
		q.ready = append(q.ready, l)
	}
	q.later = nil
	if q.batch.pending > 0 {
		q.sealed = append(q.sealed, q.batch)
		q.batch = newBatch()
	}
	var wait []<-chan struct{}
	for _, b := range q.sealed {
		wait = append(wait, b.done)
	}
	return wait
}

// close refuses what comes from now on.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// abandon settles as failed all that is left and not on disk, and returns it, in order
// for each object. Nothing may be under way.
func (q *queue) abandon() []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	var left []*item
	for _, l := range q.lanes {
		for _, it := range l.items {
			if q.journal.keeps(it) {
				q.finish(it, outcomeKept)
				continue
			}
			q.finish(it, outcomeFailed)
			left = append(left, it)
		}
	}
	clear(q.lanes)
	q.ready, q.later = nil, nil
	return left
}

// pending counts the events that are accepted and not settled.
func (q *queue) pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.events
}

func (q *queue) stats() SinkStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.counts
	s.Pending = uint64(q.events) //nolint:gosec // a count, which is not negative
	s.PendingBytes = q.bytes
	s.Failing = q.failures
	q.journal.stats(&s)
	return s
}

// takeDrop returns what was dropped since it was called last.
func (q *queue) takeDrop() Drop {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.drop
	q.drop = Drop{}
	return d
}

// laneHeap has the lane that may be taken first on top.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].after.Before(h[j].after) }
func (h laneHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *laneHeap) Push(x any)        { *h = append(*h, x.(*lane)) }

func (h *laneHeap) Pop() any {
	old := *h
	last := len(old) - 1
	l := old[last]
	old[last] = nil
	*h = old[:last]
	return l
}
