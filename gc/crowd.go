package gc

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// crowd waits for the end of many objects of one place by one list and one watch.
type crowd struct {
	names map[string]bool // that may be waited for
	many  int             // the first ones are watched alone

	mu      sync.Mutex
	size    int // how many objects were waited for
	started bool
	listed  bool                 // there is complete
	there   map[string]types.UID // which of the names there are
	waiting map[string]waiter
	failed  chan struct{} // closed when it cannot be known in this way
}

type waiter struct {
	uid  types.UID
	gone chan struct{}
}

func newCrowd(byName map[string]*candidate, many int) *crowd {
	w := &crowd{names: make(map[string]bool, len(byName)), many: many, there: map[string]types.UID{}, waiting: map[string]waiter{}, failed: make(chan struct{})}
	for name := range byName {
		w.names[name] = true
	}
	return w
}

// waitInCrowd waits for the end of an object with others, and returns whether it
// was seen. The first ones of a place are better watched alone. Whoever comes first
// starts the crowd, with the context of the whole call.
func (r *pruning) waitInCrowd(ctx context.Context, over <-chan struct{}, c *candidate) bool {
	t := c.target()
	p := place{t.GroupVersionResource, t.Namespace}
	w := r.crowds[p]
	if w == nil {
		return false
	}
	gone := w.join(t.Name, c.meta.UID, func() { r.crowded.Go(func() { r.followCrowd(ctx, p, w) }) })
	if gone == nil {
		return false
	}
	select {
	case <-gone:
		return true
	case <-w.failed:
	case <-over:
	}
	return false
}

// join returns what is closed when the object is gone; nil if there is no crowd.
func (w *crowd) join(name string, uid types.UID, start func()) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size++
	if w.size < w.many || !w.names[name] {
		return nil
	}
	if !w.started {
		w.started = true
		start()
	}
	gone := make(chan struct{})
	w.waiting[name] = waiter{uid, gone}
	w.check(name)
	return gone
}

// check tells who waits for an object that is not there. Objects that are waited for
// were there before the list, and one that is gone does not come back.
func (w *crowd) check(name string) {
	if one, ok := w.waiting[name]; ok && w.listed && w.there[name] != one.uid {
		close(one.gone)
		delete(w.waiting, name)
	}
}

// replace takes a new list for what is there.
func (w *crowd) replace(there map[string]types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.there, w.listed = there, true
	for name := range w.waiting {
		w.check(name)
	}
}

// change takes one event.
func (w *crowd) change(event watch.EventType, m *metav1.PartialObjectMetadata) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.names[m.Name] {
		return
	}
	if event == watch.Deleted {
		delete(w.there, m.Name)
	} else {
		w.there[m.Name] = m.UID
	}
	w.check(m.Name)
}

// followCrowd keeps a crowd up to date until the context ends. It bears with a
// server in trouble.
func (r *pruning) followCrowd(ctx context.Context, p place, w *crowd) {
	for delay := rewatchDelay; ; delay = min(2*delay, pollDelay) {
		err := r.watchCrowd(ctx, p, w)
		expired := apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
		if err != nil && !expired && !kube.Transient(err) {
			close(w.failed)
			return
		}
		if pause(ctx, delay) != nil {
			return
		}
	}
}

// watchCrowd lists and watches until the watch ends.
func (r *pruning) watchCrowd(ctx context.Context, p place, w *crowd) error {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	there, listed := map[string]types.UID{}, 0
	version, err := r.client.SnapshotMetadata(limited, p.GroupVersionResource, p.namespace, "", func(m *metav1.PartialObjectMetadata) {
		if w.names[m.Name] {
			there[m.Name] = m.UID
		}
		if listed++; listed >= listShare*len(w.names) {
			cancel() // others have far more here: it is not worth it
		}
	})
	if err != nil {
		return err
	}
	w.replace(there)
	events, err := r.client.Metadata.Resource(p.GroupVersionResource).Namespace(p.namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return err
	}
	defer events.Stop()
	for ev := range events.ResultChan() {
		m, ok := ev.Object.(*metav1.PartialObjectMetadata)
		if !ok { // an error: list again
			return nil
		}
		w.change(ev.Type, m)
	}
	return nil
}
