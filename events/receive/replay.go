package receive

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// replays remembers the deliveries of a receiver that succeeded. One that failed is
// forgotten, so that the platform may deliver it again.
type replays struct {
	window time.Duration
	most   int

	mu     sync.Mutex
	known  map[string]*list.Element // of seen
	order  list.List                // the oldest first
	flying map[string]chan struct{} // closed when the callback is done
}

type seen struct {
	key string
	at  time.Time
}

func newReplays(l Limits) *replays {
	return &replays{window: l.ReplayWindow, most: l.ReplayEntries, known: map[string]*list.Element{}, flying: map[string]chan struct{}{}}
}

// begin returns what to call when the delivery is done, or nil where it was received
// before. It waits for the same delivery if that is under way.
func (r *replays) begin(ctx context.Context, key string, now func() time.Time) (finish func(ok bool), err error) {
	for {
		r.mu.Lock()
		r.expire(now())
		if r.known[key] != nil {
			r.mu.Unlock()
			return nil, nil
		}
		other, busy := r.flying[key]
		if !busy {
			done := make(chan struct{})
			r.flying[key] = done
			r.mu.Unlock()
			return func(ok bool) { r.end(key, done, ok, now()) }, nil
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *replays) end(key string, done chan struct{}, ok bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flying, key)
	close(done)
	if !ok {
		return
	}
	r.known[key] = r.order.PushBack(seen{key, now})
	if r.order.Len() > r.most {
		r.forget(r.order.Front())
	}
}

// expire forgets what is older than the window. The lock is held.
func (r *replays) expire(now time.Time) {
	for e := r.order.Front(); e != nil; e = r.order.Front() {
		if s, ok := e.Value.(seen); ok && now.Sub(s.at) < r.window {
			return
		}
		r.forget(e)
	}
}

func (r *replays) forget(e *list.Element) {
	if s, ok := r.order.Remove(e).(seen); ok {
		delete(r.known, s.key)
	}
}
