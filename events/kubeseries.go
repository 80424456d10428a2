package events

import (
	"container/list"
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// series is what a KubernetesSink remembers of equal events.
type series struct {
	mark fingerprint
	held chan struct{} // holds a token while somebody works on the state
	state
}

type state struct {
	event   *kubeEvent // as it was created
	last    metav1.Time
	count   int32     // seen
	written int32     // on the server
	wroteAt time.Time // by the local clock
}

// lock waits its turn: unlike a mutex's, not longer than ctx.
func (s *series) lock(ctx context.Context) error {
	select {
	case s.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *series) unlock() { <-s.held }

// of returns the series of a fingerprint, and forgets the longest quiet one if there
// are too many.
func (s *KubernetesSink) of(p fingerprint) *series {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.series[p]; ok {
		s.order.MoveToBack(known)
		return known.Value.(*series)
	}
	if s.order.Len() >= s.opts.Series {
		s.forget(s.order.Front())
	}
	fresh := &series{mark: p, held: make(chan struct{}, 1)}
	s.series[p] = s.order.PushBack(fresh)
	return fresh
}

func (s *KubernetesSink) forget(e *list.Element) {
	s.order.Remove(e)
	delete(s.series, e.Value.(*series).mark)
}

// all lists the series, so that nobody waits for a request with the lock held.
func (s *KubernetesSink) all() []*series {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*series, 0, s.order.Len())
	for e := s.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*series))
	}
	return all
}
