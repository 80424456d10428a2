package events

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tally is what a KubernetesSink remembers of equal events: little, since there may
// be thousands.
type tally struct {
	mark fingerprint
	held chan struct{} // holds a token while somebody works on the series
	series
}

// series is an Event object and how far it is up to date. Without an object the
// count is zero.
type series struct {
	about     ObjectReference
	namespace string
	name      string
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

// tally returns the tally for a fingerprint, and forgets the longest quiet one if
// there are too many.
func (s *KubernetesSink) tally(p fingerprint) *tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.tallies[p]; ok {
		s.order.MoveToBack(known)
		return known.Value.(*tally)
	}
	if s.order.Len() >= s.opts.Series {
		quiet := s.order.Remove(s.order.Front()).(*tally)
		delete(s.tallies, quiet.mark)
	}
	fresh := &tally{mark: p, held: make(chan struct{}, 1)}
	s.tallies[p] = s.order.PushBack(fresh)
	return fresh
}

// all lists the tallies, so that nobody waits for a request with the lock held.
func (s *KubernetesSink) all() []*tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*tally, 0, s.order.Len())
	for e := s.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*tally))
	}
	return all
}
