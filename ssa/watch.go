package ssa

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// Defaults of WatchOptions.
const (
	DefaultMaxWatches = 1000
	DefaultMaxSilence = 3 * time.Minute
)

const (
	// idleWatch is how long a watch is kept that no Apply asks for.
	idleWatch = time.Hour
	// maxWatched bounds the objects of one watch; each takes about 400 bytes.
	maxWatched = 200_000
	// catchUp bounds how long Apply waits for the watch to report what the last
	// Apply wrote. It takes milliseconds.
	catchUp = 2 * time.Second
)

// WatchOptions of Watch. The zero value is usable.
type WatchOptions struct {
	// MaxWatches bounds the watches of the applier; default 1,000. Beyond, types are
	// listed by each Apply, as without Watch.
	MaxWatches int
	// MaxSilence is how long a watch that reports nothing is believed; default 3
	// minutes. Servers send a sign of life every minute. It bounds how long a change
	// can go unseen when a connection dies without a sound.
	MaxSilence time.Duration
	// OnChange is called when somebody else changed or deleted an object, so that a
	// controller need not wait for its next interval. It may be called without need,
	// such as for an object that was pruned, and once for several changes of one
	// object. Calls come from the goroutines of the watches, and at the end of an Apply
	// from its own, several at a time; they must return soon.
	OnChange func(owner string, key gc.Key)
}

// Watch keeps the metadata of the sets that are applied from now on up to date,
// by one watch for each type, namespace and owner, so that an Apply which finds
// nothing changed sends no request. It returns at once; the watches begin with
// the Applies that can use them, and end when ctx does or stop is called, which
// returns when all are gone. An Apply without a watch it can believe lists as ever.
//
// It is an error to watch twice at a time.
func (a *Applier) Watch(ctx context.Context, opts WatchOptions) (stop func(), err error) {
	if opts.MaxWatches <= 0 {
		opts.MaxWatches = DefaultMaxWatches
	}
	if opts.MaxSilence <= 0 {
		opts.MaxSilence = DefaultMaxSilence
	}
	ctx, cancel := context.WithCancel(ctx)
	ws := &watches{client: a.client, manager: a.manager, predecessor: a.predecessor, opts: opts, ctx: ctx, places: map[watchKey]*placeWatch{}}
	if !a.watching.CompareAndSwap(nil, ws) {
		cancel()
		return nil, errors.New("watch: this Applier is watching already; stop that first")
	}
	context.AfterFunc(ctx, func() { a.watching.CompareAndSwap(ws, nil) })
	return func() {
		cancel()
		a.watching.CompareAndSwap(ws, nil)
		ws.close()
	}, nil
}

// FallbackError says that a right is missing, or the server offers no such verb,
// and that Apply found another way that costs more requests.
type FallbackError struct {
	Resource  schema.GroupVersionResource
	Namespace string // empty for cluster-scoped types
	Verb      string // "list" or "watch"; "get" of definitions
	Err       error
}

func (e *FallbackError) Error() string {
	where := e.Resource.GroupResource().String()
	if e.Namespace != "" {
		where += " in " + e.Namespace
	}
	cost := "each object costs a request of its own"
	switch e.Verb {
	case "watch":
		cost = "each apply lists them"
	case "get":
		cost = "what a changed definition does to its objects is not seen until all are asked for"
	}
	remedy := "grant the right to save that"
	if errors.Is(e.Err, errTooMany) {
		remedy = "raise WatchOptions.MaxWatches, or make the sets smaller"
	}
	return fmt.Sprintf("cannot %s %s, so %s: %s; %s", e.Verb, where, cost, kube.Explain(e.Err), remedy)
}

// Unwrap returns the server's error.
func (e *FallbackError) Unwrap() error { return e.Err }

var errTooMany = errors.New("too many watches or objects")

// watches are the watches of one applier.
type watches struct {
	client  *kube.Client
	manager string
	// predecessor is the applier's.
	predecessor func(metav1.ManagedFieldsEntry) bool
	opts        WatchOptions
	ctx         context.Context //nolint:containedctx // the life of the watches, which outlast the call that needs them first
	running     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	places map[watchKey]*placeWatch
}

type watchKey struct {
	place
	owner string
}

func (ws *watches) close() {
	ws.mu.Lock()
	ws.closed = true
	ws.mu.Unlock()
	ws.running.Wait()
}

// of returns the watch of a place. With create it starts one if there is none.
func (ws *watches) of(key watchKey, kind string, create bool) (*placeWatch, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.places[key]
	switch {
	case w != nil:
		w.used = time.Now()
		return w, nil
	case !create || ws.closed || ws.ctx.Err() != nil:
		return nil, nil
	case len(ws.places) >= ws.opts.MaxWatches:
		return nil, errTooMany
	}
	w = newPlaceWatch(ws, key, kind)
	ws.places[key] = w
	ws.running.Go(func() { w.run(ws.ctx) })
	return w, nil
}

// dropIfIdle forgets a watch that no Apply asks for.
func (ws *watches) dropIfIdle(w *placeWatch) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if time.Since(w.used) < idleWatch {
		return false
	}
	delete(ws.places, w.key)
	return true
}

// observe gives each item of a set the watch of its type, and tells the watches
// that an Apply is on its way, until the function is called that it returns.
func (a *Applier) observe(s *set, owner string) (done func()) {
	ws := a.watching.Load()
	if ws == nil {
		return func() {}
	}
	type group struct {
		kind  string
		known bool // else nothing is looked up, and the type may not even exist
		watch *placeWatch
	}
	groups := map[place]*group{}
	for _, it := range s.items {
		p := place{it.entry.GVR(), it.entry.Namespace}
		if groups[p] == nil {
			groups[p] = &group{kind: it.entry.Kind}
		}
		groups[p].known = groups[p].known || it.known
	}
	var using []*placeWatch
	for p, g := range groups {
		var err error
		if g.watch, err = ws.of(watchKey{p, owner}, g.kind, g.known); err != nil {
			s.note(&FallbackError{Resource: p.gvr, Namespace: p.namespace, Verb: "watch", Err: err})
		}
		if g.watch != nil {
			g.watch.begin()
			using = append(using, g.watch)
		}
	}
	for _, it := range s.items {
		it.watch = groups[place{it.entry.GVR(), it.entry.Namespace}].watch
	}
	return func() {
		for _, w := range using {
			w.end(func() map[string]string { return s.written(w) })
		}
	}
}

// written are the versions of the objects that a watch is about, by name.
func (s *set) written(w *placeWatch) map[string]string {
	out := map[string]string{}
	for _, it := range s.items {
		if it.watch == w {
			out[it.entry.Name] = it.entry.ResourceVersion
		}
	}
	return out
}

// watched finds the objects of one place by what the watch knows, and reports
// whether that could be believed.
func (s *set) watched(ctx context.Context, items []*item) bool {
	w := items[0].watch
	if w == nil || !w.ready(ctx) {
		return false
	}
	if refused := w.refusal(); refused != nil {
		s.note(refused)
		return false
	}
	return w.find(items)
}
