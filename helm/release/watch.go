package release

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const (
	// maxWatches bounds the watches of an engine; beyond, types are listed.
	maxWatches = 1000
	// maxWatched bounds the objects of one watch.
	maxWatched = 200_000
	// maxSilence is how long a watch that reports nothing is believed: servers send
	// a sign of life every minute.
	maxSilence = 3 * time.Minute
	// idleWatch is how long a watch is kept that nobody asks for.
	idleWatch = time.Hour
)

// Watch keeps the metadata of the objects of all releases with drift detection up
// to date from now on, by one watch for each type and namespace, so that drift
// detection which finds nothing costs no request. It returns at once; the watches
// begin with the calls that can use them, and end with ctx or stop. Each identity
// has its own. A change is seen as soon as the server has reported it: a call that
// comes within milliseconds of it may miss it.
func (e *Engine) Watch(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	ws := &watches{ctx: ctx, client: e.client, by: map[place]*placeWatch{}}
	if !e.watching.CompareAndSwap(nil, ws) {
		cancel()
		return nil, errors.New("release: the engine is watching already; stop that first")
	}
	context.AfterFunc(ctx, func() { e.watching.CompareAndSwap(ws, nil) })
	return func() {
		cancel()
		e.watching.CompareAndSwap(ws, nil)
		ws.close()
	}, nil
}

type watches struct {
	ctx     context.Context //nolint:containedctx // the life of the watches, which outlast the call that needs them first
	client  *kube.Client
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	by     map[place]*placeWatch
}

func (ws *watches) close() {
	ws.mu.Lock()
	ws.closed = true
	ws.mu.Unlock()
	ws.running.Wait()
}

// of returns the watch of a place, and starts it if there is none.
func (ws *watches) of(p place) *placeWatch {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w := ws.by[p]; w != nil {
		w.use()
		return w
	}
	if ws.closed || len(ws.by) >= maxWatches {
		return nil
	}
	w := &placeWatch{place: p, client: ws.client, used: time.Now()}
	ws.by[p] = w
	ws.running.Go(func() {
		w.run(ws.ctx)
		ws.mu.Lock()
		defer ws.mu.Unlock()
		delete(ws.by, p)
	})
	return w
}

// version is an object at one point in its life.
type version struct{ uid, resourceVersion string }

// placeWatch knows the objects of one type in one namespace.
type placeWatch struct {
	place
	client *kube.Client

	mu      sync.Mutex
	objects map[string]version // nil while it is not known
	heard   time.Time
	used    time.Time
}

func (w *placeWatch) use() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = time.Now()
}

func (w *placeWatch) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.used) > idleWatch
}

// drop removes those that are as expected, and reports whether the watch can be
// believed.
func (w *placeWatch) drop(expected map[string]LiveObject) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects == nil || time.Since(w.heard) > maxSilence {
		return false
	}
	for name, l := range expected {
		if l.is(w.objects[name]) {
			delete(expected, name)
		}
	}
	return true
}

// run lists and watches until ctx ends or nobody asks any more.
func (w *placeWatch) run(ctx context.Context) {
	for delay := retryDelay; ctx.Err() == nil && !w.idle(); delay = min(2*delay, maxRetryDelay) {
		if err := w.follow(ctx); err == nil {
			delay = retryDelay
		}
		w.mu.Lock()
		w.objects = nil
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

func (w *placeWatch) follow(ctx context.Context) error {
	const selector = managedByLabel + "=" + managedBy
	objects := map[string]version{}
	from, err := w.client.SnapshotMetadata(ctx, w.GroupVersionResource, w.namespace, selector, func(m *metav1.PartialObjectMetadata) {
		objects[m.Name] = versionOf(m)
	})
	if err != nil || len(objects) > maxWatched {
		return errors.Join(err, errBroken)
	}
	events, err := w.client.Metadata.Resource(w.GroupVersionResource).Namespace(w.namespace).Watch(ctx, metav1.ListOptions{
		LabelSelector: selector, ResourceVersion: from, AllowWatchBookmarks: true})
	if err != nil {
		return err
	}
	defer events.Stop()
	w.mu.Lock()
	w.objects, w.heard = objects, time.Now()
	w.mu.Unlock()
	for ev := range events.ResultChan() {
		if ev.Type == watch.Error || w.idle() {
			return nil
		}
		w.see(ev)
	}
	return nil
}

func (w *placeWatch) see(ev watch.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = time.Now()
	m, ok := ev.Object.(*metav1.PartialObjectMetadata)
	switch {
	case !ok || ev.Type == watch.Bookmark:
	case ev.Type == watch.Deleted:
		delete(w.objects, m.Name)
	default:
		w.objects[m.Name] = versionOf(m)
	}
}

// versionOf is none for an object that is being deleted.
func versionOf(m *metav1.PartialObjectMetadata) version {
	if m.DeletionTimestamp != nil {
		return version{}
	}
	return version{string(m.UID), m.ResourceVersion}
}
