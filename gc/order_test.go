package gc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
)

// deletions notes the names in DELETE requests, in order.
func (f *fixture) deletions(t *testing.T) func() []string {
	t.Helper()
	var mu sync.Mutex
	var names []string
	f.meter.Observe(func(method, p string) {
		if method == http.MethodDelete {
			mu.Lock()
			defer mu.Unlock()
			names = append(names, path.Base(p))
		}
	})
	t.Cleanup(func() { f.meter.Observe(nil) })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(names)
	}
}

// dependsOn lets a ConfigMap depend on others.
func dependsOn(refs ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{gc.DependsOnAnnotation: strings.Join(refs, ", ")})
	}
}

func TestPruneInReverseOfDependencies(t *testing.T) {
	f := setup(t)
	ref := func(name string) string { return "/namespaces/" + f.ns + "/ConfigMap/" + name }
	inv := gc.NewInventory(
		f.make(t, "a-database", nil),
		f.make(t, "b-server", dependsOn(ref("a-database"), "not/a/reference", "")),
		f.make(t, "c-client", dependsOn(ref("b-server"), ref("nobody-knows"), ref("c-client"))),
		f.make(t, "d-alone", nil),
	)
	names := f.deletions(t)
	_, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	order := names()
	require.Len(t, order, 4)
	require.Less(t, slices.Index(order, "c-client"), slices.Index(order, "b-server"))
	require.Less(t, slices.Index(order, "b-server"), slices.Index(order, "a-database"))
}

func TestPruneOfACircle(t *testing.T) {
	f := setup(t)
	ref := func(name string) string { return "/namespaces/" + f.ns + "/ConfigMap/" + name }
	inv := gc.NewInventory(f.make(t, "x", dependsOn(ref("y"))), f.make(t, "y", dependsOn(ref("z"))), f.make(t, "z", dependsOn(ref("x"))),
		f.make(t, "below", nil), f.make(t, "above", dependsOn(ref("x"))))
	res, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Concurrency: 1})
	require.NoError(t, err)
	require.Len(t, res.Objects, 5)
	require.Zero(t, f.count(t))
}

func TestPruneKeepsWhatAFailedOneDependsOn(t *testing.T) {
	f := setup(t)
	inv := gc.NewInventory(f.make(t, "a-database", nil), f.make(t, "b-server", func(u *unstructured.Unstructured) {
		dependsOn("/namespaces/" + f.ns + "/ConfigMap/a-database")(u)
		u.SetFinalizers([]string{"example.com/hold"})
	}))
	res, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Timeout: 100 * time.Millisecond})
	require.ErrorContains(t, err, "finalizers still hold it")
	require.Equal(t, inv, res.Kept)
	require.ErrorContains(t, res.Objects[0].Err, "b-server depends on it, and failed")
	require.True(t, f.exists(t, "a-database"))
}

// A webhook goes first, unless somebody says that something needs it.
func TestPruneOrderByAnnotationGoesBeforePhases(t *testing.T) {
	f := setup(t)
	all, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	hooks := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
	hook := func(name string) gc.Entry {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}}
		u.SetName(name)
		u.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
		u, err := all.Resource(hooks).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
		return gc.Entry{Key: gc.Key{Group: hooks.Group, Kind: "ValidatingWebhookConfiguration", Name: name}, Version: "v1", Resource: hooks.Resource, UID: u.GetUID()}
	}
	first, last := hook(f.ns+"-first"), hook(f.ns+"-last")
	inv := gc.NewInventory(first, last, f.make(t, "needs-it", dependsOn("admissionregistration.k8s.io/ValidatingWebhookConfiguration/"+last.Name)))
	names := f.deletions(t)
	_, err = f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, []string{first.Name, "needs-it", last.Name}, names())
}

func TestPropagation(t *testing.T) {
	f := setup(t)
	annotated := func(value string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{gc.PropagationAnnotation: value})
		}
	}
	tests := []struct {
		name   string
		change func(*unstructured.Unstructured)
		option metav1.DeletionPropagation
		holds  string // the finalizer that the server sets for the policy
	}{
		{"default", nil, "", ""},
		{"foreground", nil, metav1.DeletePropagationForeground, "foregroundDeletion"},
		{"orphan", nil, metav1.DeletePropagationOrphan, "orphan"},
		{"annotated", annotated("foreground"), "", "foregroundDeletion"},
		{"annotated-against-option", annotated("Background"), metav1.DeletePropagationOrphan, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := f.make(t, tt.name, tt.change)
			_, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Propagation: tt.option, Timeout: 50 * time.Millisecond})
			if tt.holds == "" {
				require.NoError(t, err)
				return
			}
			var blocked *gc.BlockedError
			require.ErrorAs(t, err, &blocked)
			require.Equal(t, []string{tt.holds}, blocked.Finalizers)
		})
	}
	e := f.make(t, "typo", annotated("forground"))
	_, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
	require.ErrorContains(t, err, `"forground"; it must be background, foreground or orphan`)
	require.True(t, f.exists(t, "typo"))
}

func TestPruneTellsWhatBlocksANamespace(t *testing.T) {
	t.Parallel() // the namespace controller takes its time
	plane := testplane.Full(t)
	all, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	f := &fixture{cfg: plane.Config(), ns: testplane.Namespace(t, plane)}
	f.client = all.Resource(configMaps).Namespace(f.ns)
	f.pruner, err = gc.NewPruner(f.cfg)
	require.NoError(t, err)
	e := f.namespaceEntry(t, all)
	f.make(t, "x", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/hold"}) })
	defer f.patch(t, "x", `{"metadata":{"finalizers":null}}`)
	require.NoError(t, all.Resource(namespaces).Delete(t.Context(), f.ns, metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		ns, err := all.Resource(namespaces).Get(t.Context(), f.ns, metav1.GetOptions{})
		said, _, _ := unstructured.NestedSlice(ns.Object, "status", "conditions")
		return err == nil && len(said) > 0
	}, 60*time.Second, 100*time.Millisecond)

	_, err = f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Timeout: 50 * time.Millisecond})
	var blocked *gc.BlockedError
	require.ErrorAs(t, err, &blocked, "what is on its way out needs no confirmation")
	require.Len(t, blocked.Conditions, 2)
	require.ErrorContains(t, err, "configmaps. has 1 resource instances")
	require.ErrorContains(t, err, "example.com/hold in 1 resource instances")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestPruneTellsWhatBlocksADefinition(t *testing.T) {
	f := setup(t)
	all, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	crd, gadget := f.define(t, all)
	_, err = all.Resource(gadget.GVR()).Namespace(f.ns).Patch(t.Context(), "one", types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":["example.com/hold"]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	u, err := all.Resource(definitions).Patch(t.Context(), crd.GetName(), types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"`+gc.OwnerLabel+`":"mine"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	e := gc.Entry{Key: gc.Key{Group: definitions.Group, Kind: "CustomResourceDefinition", Name: crd.GetName()}, Version: "v1", Resource: definitions.Resource, UID: u.GetUID()}
	_, err = f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Timeout: time.Second, Guard: gc.Guard{Off: true}})
	require.ErrorContains(t, err, "customresourcecleanup.apiextensions.k8s.io")
	require.ErrorContains(t, err, "it says: ")
}

// through returns a pruner whose requests go through a transport.
func (f *fixture) through(t *testing.T, tr transport) *gc.Pruner {
	t.Helper()
	cfg := *f.cfg
	cfg.Wrap(f.meter.Wrap)
	cfg.Wrap(tr.wrap)
	p, err := gc.NewPruner(&cfg)
	require.NoError(t, err)
	return p
}

// beforeDelete returns a pruner before whose n-th DELETE something happens.
func (f *fixture) beforeDelete(t *testing.T, do func(n int)) *gc.Pruner {
	t.Helper()
	n := 0
	return f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodDelete {
			n++
			do(n)
		}
		return next.RoundTrip(req)
	})
}

// What happens between the look and the delete is seen, on the very version.
func TestAttackBetweenLookAndDelete(t *testing.T) {
	opts := gc.PruneOptions{Owner: "mine"}
	replace := func(t *testing.T, f *fixture, name string) {
		require.NoError(t, f.client.Delete(t.Context(), name, metav1.DeleteOptions{}))
		f.make(t, name, nil) // with our label
	}
	for name, tt := range map[string]struct {
		attack func(*testing.T, *fixture)
		want   gc.Outcome
	}{
		"another set takes it": {func(t *testing.T, f *fixture) {
			f.patch(t, "x", `{"metadata":{"labels":{"`+gc.OwnerLabel+`":"theirs"}}}`)
		}, gc.Foreign},
		"somebody wants to keep it": {func(t *testing.T, f *fixture) {
			f.patch(t, "x", `{"metadata":{"annotations":{"`+gc.PruneAnnotation+`":"disabled"}}}`)
		}, gc.Orphaned},
		"somebody replaces it": {func(t *testing.T, f *fixture) { replace(t, f, "x") }, gc.Foreign},
		"somebody deletes it": {func(t *testing.T, f *fixture) {
			require.NoError(t, f.client.Delete(t.Context(), "x", metav1.DeleteOptions{}))
		}, gc.Absent},
		"somebody changes it": {func(t *testing.T, f *fixture) { f.patch(t, "x", `{"data":{"a":"b"}}`) }, gc.Deleted},
	} {
		for _, recorded := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				f := setup(t)
				e := f.make(t, "x", nil)
				if !recorded {
					e.UID = ""
				}
				p := f.beforeDelete(t, func(n int) {
					if n == 1 {
						tt.attack(t, f)
					}
				})
				res, err := p.Prune(t.Context(), gc.NewInventory(e), opts)
				require.NoError(t, err)
				require.Equal(t, tt.want, res.Objects[0].Outcome)
				require.Empty(t, res.Kept)
				require.Equal(t, tt.want != gc.Deleted && tt.want != gc.Absent, f.exists(t, "x"))
			})
		}
	}

	t.Run("it changes all the time", func(t *testing.T) {
		f := setup(t)
		e := f.make(t, "x", nil)
		deletes := 0
		p := f.beforeDelete(t, func(n int) {
			deletes = n
			f.patch(t, "x", `{"data":{"a":"`+strings.Repeat("b", n)+`"}}`)
		})
		res, err := p.Prune(t.Context(), gc.NewInventory(e), opts)
		require.Error(t, err)
		require.Equal(t, gc.NewInventory(e), res.Kept)
		require.Equal(t, 8, deletes, "bounded")
	})

	t.Run("the answer is lost, and a namesake appears", func(t *testing.T) {
		f := setup(t)
		e := f.make(t, "x", nil)
		e.UID = ""
		p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if req.Method == http.MethodDelete && err == nil {
				resp.Body.Close()
				f.make(t, "x", nil)
				return nil, errors.New("the connection was reset")
			}
			return resp, err
		})
		res, err := p.Prune(t.Context(), gc.NewInventory(e), opts)
		require.NoError(t, err)
		require.Equal(t, gc.Foreign, res.Objects[0].Outcome)
		require.True(t, f.exists(t, "x"))
	})
}

func refusal(code int, reason metav1.StatusReason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`, code, reason, message)
}

func TestPruneAgainstAServerThatRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		code    int
		reason  metav1.StatusReason
		message string
		times   int // how often it refuses
		tries   int // how often it is asked
		says    string
	}{
		"a webhook says no":     {403, metav1.StatusReasonForbidden, `admission webhook "keep.example.com" denied the request: not on a Friday`, 100, 1, "not on a Friday"},
		"a webhook is broken":   {500, metav1.StatusReasonInternalError, `failed calling webhook "keep.example.com": no endpoints`, 100, 4, "no endpoints"},
		"it recovers":           {503, metav1.StatusReasonServiceUnavailable, "in trouble", 2, 3, ""},
		"it is busy for a time": {429, metav1.StatusReasonTooManyRequests, "busy", 2, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			inv := gc.NewInventory(f.make(t, "x", nil), f.make(t, "y", nil))
			tries := 0
			p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodDelete && strings.HasSuffix(req.URL.Path, "/x") {
					if tries++; tries <= tt.times {
						return answer(req, tt.code, refusal(tt.code, tt.reason, tt.message)), nil
					}
				}
				return next.RoundTrip(req)
			})
			res, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Concurrency: 1})
			require.Equal(t, tt.tries, tries)
			require.False(t, f.exists(t, "y"), "the others go")
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
			require.Equal(t, inv[:1], res.Kept)

			tries = -100 // tried again the next time
			_, err = f.pruner.Prune(t.Context(), res.Kept, gc.PruneOptions{Owner: "mine"})
			require.NoError(t, err)
			require.False(t, f.exists(t, "x"))
		})
	}
}

func TestPruneWaitsAsLongAsTheServerAsks(t *testing.T) {
	f := setup(t)
	e := f.make(t, "x", nil)
	tries, first := 0, time.Time{}
	p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodDelete {
			if tries++; tries == 1 {
				first = time.Now()
				resp := answer(req, http.StatusTooManyRequests, refusal(429, metav1.StatusReasonTooManyRequests, "busy"))
				resp.Header.Set("Retry-After", "1")
				return resp, nil
			}
		}
		return next.RoundTrip(req)
	})
	_, err := p.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
	require.GreaterOrEqual(t, time.Since(first), time.Second)
}

// A server that is gone is not asked for each of many objects.
func TestPruneGivesUpOnAServerThatIsGone(t *testing.T) {
	f := setup(t)
	inv := f.some(t, 40)
	var tries atomic.Int64
	p := f.through(t, func(http.RoundTripper, *http.Request) (*http.Response, error) {
		tries.Add(1)
		return nil, errors.New("connection refused")
	})
	res, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Concurrency: 4})
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, inv, res.Kept)
	require.Less(t, tries.Load(), int64(40))
}

// An object that waits for its end takes no one else's place.
func TestPruneDoesNotQueueBehindFinalizers(t *testing.T) {
	f := setup(t)
	hold := func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/hold"}) }
	inv := gc.NewInventory(f.make(t, "a", hold), f.make(t, "b", hold), f.make(t, "c", nil))
	p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodDelete && strings.HasSuffix(req.URL.Path, "/c") {
			for _, name := range []string{"a", "b"} {
				f.patch(t, name, `{"metadata":{"finalizers":null}}`)
			}
		}
		return next.RoundTrip(req)
	})
	_, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Concurrency: 1, Timeout: 30 * time.Second})
	require.NoError(t, err)
	require.Zero(t, f.count(t))
}
