package events

import (
	"container/list"
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tally is what a KubernetesSink remembers of equal events: little, since there may
// be thousands.
type tally struct {
	held chan struct{} // holds a token while somebody works on the series
	series
}

// series is an Event object and how far it is up to date. Without an object the
// count is zero.
type series struct {
	about     ObjectReference
	namespace string
	name      string
	latest    string // the message, where it changes with each event
	first     metav1.Time
	last      metav1.Time
	count     int32     // seen
	written   int32     // on the server
	wroteAt   time.Time // by the local clock
}

// lock waits its turn: unlike a mutex's, not longer than ctx.
func (t *tally) lock(ctx context.Context) error {
	select {
	case t.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *tally) unlock() { <-t.held }

// crowd is what a KubernetesSink remembers of similar events: those that differ in
// message and metadata alone.
type crowd struct {
	mu   sync.Mutex
	seen map[fingerprint]struct{} // that have a series of their own
	last time.Time                // of their timestamps
}

// admit reports whether an event has a series of its own: once it has, it keeps it.
func (c *crowd) admit(e Event, p fingerprint, most int, window time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Timestamp.Sub(c.last) > window {
		c.seen = map[fingerprint]struct{}{}
	}
	if e.Timestamp.After(c.last) {
		c.last = e.Timestamp.Time
	}
	if _, ok := c.seen[p]; ok {
		return true
	}
	if len(c.seen) >= most {
		return false
	}
	c.seen[p] = struct{}{}
	return true
}

// place returns the series that an event belongs to, and the event as it is told there.
func (s *KubernetesSink) place(e Event) (t *tally, told Event, combined bool) {
	alike := e
	alike.Message, alike.Metadata = "", nil
	mark, group := e.fingerprint(), alike.fingerprint()
	many := s.crowds.get(group, func() *crowd { return &crowd{} })
	if !many.admit(e, mark, s.opts.Similar, s.opts.Window) {
		mark, combined = group, true
		e.Message = combinedPrefix + e.Message
	}
	t = s.tallies.get(mark, func() *tally { return &tally{held: make(chan struct{}, 1)} })
	return t, e, combined
}

const combinedPrefix = "(combined from similar events): "

// lru remembers so many values, and forgets first the one that was not asked for
// longest.
type lru[V any] struct {
	most int

	mu    sync.Mutex
	known map[fingerprint]*list.Element
	order *list.List // of remembered[V]
}

type remembered[V any] struct {
	mark  fingerprint
	value V
}

func newLRU[V any](most int) *lru[V] {
	return &lru[V]{most: most, known: map[fingerprint]*list.Element{}, order: list.New()}
}

// get returns the value for a fingerprint, or makes one.
func (l *lru[V]) get(p fingerprint, fresh func() V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.known[p]; ok {
		l.order.MoveToBack(e)
		return e.Value.(remembered[V]).value
	}
	if l.order.Len() >= l.most {
		quiet := l.order.Remove(l.order.Front()).(remembered[V])
		delete(l.known, quiet.mark)
	}
	v := fresh()
	l.known[p] = l.order.PushBack(remembered[V]{p, v})
	return v
}

// all lists the values, so that nobody waits for a request with the lock held.
func (l *lru[V]) all() []V {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]V, 0, l.order.Len())
	for e := l.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(remembered[V]).value)
	}
	return all
}
