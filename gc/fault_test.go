package gc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/ssa"
)

// fault is what goes wrong with one request.
type fault string

const (
	refused     fault = "refused"          // the server is in trouble and does not carry it out
	denied      fault = "denied"           // the server, or a webhook, says no
	unanswered  fault = "answer lost"      // carried out, and the connection drops before the answer
	killed      fault = "killed before it" // the process dies before it; as after the one before
	killedAfter fault = "killed after it"  // the process dies when it was carried out
)

var errConnection = errors.New("the connection was reset")

// saboteur lets the request number at go wrong, as does every later one of a
// process that was killed. At zero it only counts.
type saboteur struct {
	fault fault
	at    int
	kill  context.CancelFunc

	mu    sync.Mutex
	count int
	dead  bool
	last  string // the request that went wrong
}

func (s *saboteur) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		f := s.decide(req)
		if f == killed {
			s.kill() // nothing runs any more but what cleans up
		}
		switch f {
		case refused:
			return answer(req, http.StatusServiceUnavailable, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":503,"reason":"ServiceUnavailable","message":"in trouble"}`), nil
		case denied:
			return answer(req, http.StatusForbidden, refusal(403, metav1.StatusReasonForbidden, "no")), nil
		case killed:
			return nil, errConnection
		case unanswered, killedAfter:
			resp, err := next.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			if req.URL.Query().Get("watch") == "" { // which has no end
				_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
			}
			resp.Body.Close()
			if f == killedAfter {
				s.kill()
			}
			return nil, errConnection
		}
		return next.RoundTrip(req)
	})
}

func (s *saboteur) decide(req *http.Request) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return killed
	}
	if s.count++; s.count != s.at {
		return ""
	}
	s.last = req.Method + " " + req.URL.Path
	s.dead = s.fault == killed || s.fault == killedAfter
	return s.fault
}

// world is one namespace with a set in it, and what the set must not touch.
type world struct {
	cfg       *rest.Config
	all       dynamic.Interface
	ns        string
	crowding  bool              // what is pruned is listed and watched together
	strangers map[string]string // resourceVersions by name
}

func newWorld(t *testing.T) *world {
	t.Helper()
	plane := testplane.Small(t)
	w := &world{cfg: plane.Config(), ns: testplane.Namespace(t, plane), strangers: map[string]string{}}
	var err error
	w.all, err = dynamic.NewForConfig(w.cfg)
	require.NoError(t, err)
	for name, labels := range map[string]map[string]string{"nobodys": nil, "theirs": {gc.OwnerLabel: "theirs"}} {
		u := configMapObject(w.ns, name, "x")
		u.SetLabels(labels)
		u, err := w.all.Resource(configMaps).Namespace(w.ns).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
		w.strangers[name] = u.GetResourceVersion()
	}
	return w
}

func configMapObject(ns, name, value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": ns},
		"data":     map[string]any{"value": value},
	}}
}

// reconcile is one process: it starts, brings a set about, and ends.
func (w *world) reconcile(ctx context.Context, objs []*unstructured.Unstructured, s *saboteur) error {
	cfg := rest.CopyConfig(w.cfg)
	cfg.Wrap(s.wrap)
	applier, err := ssa.New(cfg, ssa.Options{Concurrency: 1})
	if err != nil {
		return err
	}
	pruner, err := gc.NewPruner(cfg)
	if err != nil {
		return err
	}
	if w.crowding {
		pruner = gc.Crowding(pruner)
	}
	store, err := gc.NewConfigMapStore(cfg, w.ns, "inventory", gc.StoreOptions{})
	if err != nil {
		return err
	}
	ctx, s.kill = context.WithCancel(ctx)
	defer s.kill()
	opts := ssa.ApplyOptions{Owner: "mine"}
	targets, err := applier.Targets(ctx, objs, opts)
	if err != nil {
		return err
	}
	_, err = gc.Reconcile(ctx, store, gc.Steps{
		Targets:      targets,
		Apply:        ssaApply(applier, objs, opts),
		Pruner:       pruner,
		PruneOptions: gc.PruneOptions{Owner: "mine", Manager: ssa.DefaultManager, Concurrency: 1, Guard: gc.Guard{Off: true}},
	})
	return err
}

// ssaApply is the Apply of Steps.
func ssaApply(applier *ssa.Applier, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) func(context.Context, gc.Inventory) (gc.Inventory, error) {
	return func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
		opts.Previous = previous
		res, err := applier.Apply(ctx, objs, opts)
		return res.Entries, err
	}
}

// settle are processes without faults, until one gets there: what is being deleted
// cannot be applied before it is gone.
func (w *world) settle(t *testing.T, objs []*unstructured.Unstructured) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		err = w.reconcile(t.Context(), objs, &saboteur{})
		return err == nil || !strings.Contains(err.Error(), "it is being deleted; apply it again")
	}, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, err)
}

// check compares the cluster and the record with the set that is wanted.
func (w *world) check(t *testing.T, objs []*unstructured.Unstructured, gone []*unstructured.Unstructured) {
	t.Helper()
	wanted := map[gc.Key]bool{}
	for _, obj := range objs {
		k := keyOf(obj)
		wanted[k] = true
		u, err := w.resource(obj).Get(t.Context(), obj.GetName(), metav1.GetOptions{})
		require.NoError(t, err, "%s is wanted", k)
		require.Nil(t, u.GetDeletionTimestamp(), "%s is wanted", k)
		require.Equal(t, "mine", u.GetLabels()[gc.OwnerLabel])
	}
	for _, obj := range gone {
		if k := keyOf(obj); !wanted[k] {
			_, err := w.resource(obj).Get(t.Context(), obj.GetName(), metav1.GetOptions{})
			require.Error(t, err, "%s was left behind", k)
		}
	}
	for name, version := range w.strangers {
		u, err := w.all.Resource(configMaps).Namespace(w.ns).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err, "%s is a stranger's", name)
		require.Equal(t, version, u.GetResourceVersion(), "%s is a stranger's", name)
	}
	store, err := gc.NewConfigMapStore(w.cfg, w.ns, "inventory", gc.StoreOptions{})
	require.NoError(t, err)
	inv, err := store.Load(t.Context())
	require.NoError(t, err)
	require.Len(t, inv, len(wanted))
	for _, e := range inv {
		require.True(t, wanted[e.Key], "%s is on record", e.Key)
		require.NotEmpty(t, e.UID)
	}
}

func keyOf(u *unstructured.Unstructured) gc.Key {
	gvk := u.GroupVersionKind()
	return gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

func (w *world) resource(u *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := u.GroupVersionKind()
	plural := map[string]string{"ConfigMap": "configmaps", "Namespace": "namespaces", "CustomResourceDefinition": "customresourcedefinitions", "Gadget": "gadgets"}[gvk.Kind]
	return w.all.Resource(schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: plural}).Namespace(u.GetNamespace())
}

// objects makes a set out of words: a name is a ConfigMap, name=value one with
// another value, and "namespace", "inside", "definition" and "gadget" are what they
// say, under names that no other world has.
func (w *world) objects(words ...string) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	group := w.ns + ".example.com"
	for _, word := range words {
		switch word {
		case "namespace":
			out = append(out, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": w.ns + "-x"},
			}})
		case "inside":
			out = append(out, configMapObject(w.ns+"-x", "inside", "1"))
		case "definition":
			out = append(out, gadgetDefinition(group))
		case "gadget":
			out = append(out, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": group + "/v1", "kind": "Gadget", "metadata": map[string]any{"name": "one", "namespace": w.ns},
			}})
		default:
			out = append(out, configMapObject(w.ns, word[:1], word))
		}
	}
	return out
}

func gadgetDefinition(group string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "gadgets." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"kind": "Gadget", "listKind": "GadgetList", "plural": "gadgets", "singular": "gadget"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}},
			}},
		},
	}}
}

// endNamespaces does the namespace controller's work for this world.
func (w *world) endNamespaces(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		name := w.ns + "-x"
		for ctx.Err() == nil {
			ns, err := w.all.Resource(namespaces).Get(ctx, name, metav1.GetOptions{})
			if err == nil && ns.GetDeletionTimestamp() != nil {
				_ = w.all.Resource(configMaps).Namespace(name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
				unstructured.RemoveNestedField(ns.Object, "spec", "finalizers")
				_, _ = w.all.Resource(namespaces).Update(ctx, ns, metav1.UpdateOptions{}, "finalize")
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// With every request of a reconcile, everything goes wrong that can: the server
// does not carry it out, the answer is lost, the process dies before or after it.
// Then another process finds what is left, and is told to go on, or to go back.
// Nothing is lost, and nothing is deleted that should not be.
func TestFaultAtEveryRequest(t *testing.T) {
	t.Parallel()
	scenarios := []struct {
		name           string
		before, during []string
		faults         []fault
		namespaces     bool
		crowding       bool
	}{
		{"a set grows, changes and shrinks", []string{"a", "b", "c"}, []string{"a", "b=2", "d", "e"}, []fault{refused, denied, unanswered, killedAfter}, false, false},
		{"a definition comes with its resource", []string{"a"}, []string{"a", "definition", "gadget"}, []fault{denied, unanswered, killedAfter}, false, false},
		{"a definition goes with its resource", []string{"a", "definition", "gadget"}, []string{"a"}, []fault{denied, unanswered, killedAfter}, false, false},
		{"a namespace comes and goes", []string{"a", "namespace", "inside"}, []string{"a=2"}, []fault{denied, unanswered, killedAfter}, true, false},
		{"a set shrinks by many", []string{"a", "b", "c", "d"}, []string{"a"}, []fault{refused, denied, unanswered, killedAfter}, false, true},
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			w, counter := newWorld(t), &saboteur{}
			w.crowding = sc.crowding
			if sc.namespaces {
				w.endNamespaces(t)
			}
			everything := append(w.objects(sc.before...), w.objects(sc.during...)...)
			w.settle(t, w.objects(sc.before...))
			require.NoError(t, w.reconcile(t.Context(), w.objects(sc.during...), counter))
			w.check(t, w.objects(sc.during...), everything)
			require.Greater(t, counter.count, 5)
			for n := 1; n <= counter.count; n++ {
				for _, f := range sc.faults {
					for _, next := range [][]string{sc.during, sc.before} {
						w.settle(t, w.objects(sc.before...))
						s := &saboteur{fault: f, at: n}
						err := w.reconcile(t.Context(), w.objects(sc.during...), s)
						note := fmt.Sprintf("request %d (%s): %s; it said: %v; then %v", n, s.last, f, err, next)
						ok := t.Run(fmt.Sprintf("%s %d, then %s", f, n, next[len(next)-1]), func(t *testing.T) {
							if s.dead && n < counter.count {
								require.Error(t, err)
							}
							w.settle(t, w.objects(next...))
							w.check(t, w.objects(next...), everything)
						})
						require.True(t, ok, note)
					}
				}
			}
		})
	}
}
