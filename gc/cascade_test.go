package gc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/gc"
)

var (
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// namespaceEntry makes the fixture's namespace an object of the set.
func (f *fixture) namespaceEntry(t *testing.T, all dynamic.Interface) gc.Entry {
	t.Helper()
	u, err := all.Resource(namespaces).Patch(t.Context(), f.ns, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"`+gc.OwnerLabel+`":"mine"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	return gc.Entry{Key: gc.Key{Kind: "Namespace", Name: f.ns}, Version: "v1", Resource: "namespaces", UID: u.GetUID()}
}

func TestPruneKeepsTheNamespaceOfWhatStays(t *testing.T) {
	tests := []struct {
		name   string
		change func(*unstructured.Unstructured)
		want   gc.Outcome
		says   string
	}{
		{"asked to stay", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{gc.PruneAnnotation: "disabled"})
		}, gc.Orphaned, "which stays"},
		{"of another set", func(u *unstructured.Unstructured) {
			u.SetLabels(map[string]string{gc.OwnerLabel: "theirs"})
		}, gc.Orphaned, "which stays"},
		{"held by a finalizer", func(u *unstructured.Unstructured) {
			u.SetFinalizers([]string{"example.com/hold"})
		}, gc.Failed, "which failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t)
			all, err := dynamic.NewForConfig(f.cfg)
			require.NoError(t, err)
			ns, child := f.namespaceEntry(t, all), f.make(t, "child", tt.change)
			res, _ := f.pruner.Prune(t.Context(), gc.Inventory{ns, child}, gc.PruneOptions{Owner: "mine", Timeout: 200 * time.Millisecond, Guard: gc.Guard{Off: true}})
			last := res.Objects[len(res.Objects)-1]
			require.Equal(t, ns.Key, last.Key)
			require.Equal(t, tt.want, last.Outcome)
			require.Contains(t, fmt.Sprint(last.Detail, last.Err), "deleting it would delete ConfigMap "+f.ns+"/child, "+tt.says)
			u, err := all.Resource(namespaces).Get(t.Context(), f.ns, metav1.GetOptions{})
			require.NoError(t, err)
			require.Nil(t, u.GetDeletionTimestamp())
			require.Equal(t, tt.want == gc.Failed, res.Kept.Has(ns.Key))
		})
	}
}

// define makes a definition of Gadgets with two versions, and one Gadget.
func (f *fixture) define(t *testing.T, all dynamic.Interface) (crd *unstructured.Unstructured, gadget gc.Entry) {
	t.Helper()
	group := f.ns + ".example.com"
	version := func(name string, storage bool) map[string]any {
		return map[string]any{"name": name, "served": true, "storage": storage, "schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}}
	}
	crd = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "gadgets." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names":    map[string]any{"kind": "Gadget", "listKind": "GadgetList", "plural": "gadgets", "singular": "gadget"},
			"versions": []any{version("v1alpha1", false), version("v1", true)},
		},
	}}
	_, err := all.Resource(definitions).Create(t.Context(), crd, metav1.CreateOptions{})
	require.NoError(t, err)
	gvr := schema.GroupVersionResource{Group: group, Version: "v1alpha1", Resource: "gadgets"}
	var made *unstructured.Unstructured
	require.Eventually(t, func() bool {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/v1alpha1", "kind": "Gadget"}}
		u.SetName("one")
		u.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
		made, err = all.Resource(gvr).Namespace(f.ns).Create(t.Context(), u, metav1.CreateOptions{})
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	return crd, gc.Entry{
		Key:     gc.Key{Group: group, Kind: "Gadget", Namespace: f.ns, Name: "one"},
		Version: "v1alpha1", Resource: "gadgets", UID: made.GetUID(),
	}
}

func TestPruneFindsAnObjectInAnotherVersion(t *testing.T) {
	f := setup(t)
	all, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	crd, e := f.define(t, all)
	_, err = all.Resource(definitions).Patch(t.Context(), crd.GetName(), types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/versions/0/served","value":false}]`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := all.Resource(e.GVR()).Namespace(f.ns).Get(t.Context(), "one", metav1.GetOptions{})
		return err != nil
	}, 30*time.Second, 20*time.Millisecond)

	res, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, []gc.Pruned{{Key: e.Key, Outcome: gc.Deleted}}, res.Objects)
	e.Version = "v1"
	_, err = all.Resource(e.GVR()).Namespace(f.ns).Get(t.Context(), "one", metav1.GetOptions{})
	require.Error(t, err)
}

func TestPruneAfterTheDefinitionIsGone(t *testing.T) {
	f := setup(t)
	all, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	crd, e := f.define(t, all)
	require.NoError(t, all.Resource(definitions).Delete(t.Context(), crd.GetName(), metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := all.Resource(definitions).Get(t.Context(), crd.GetName(), metav1.GetOptions{})
		return err != nil
	}, 30*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool { // discovery follows
		res, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
		return err == nil && len(res.Kept) == 0 && res.Objects[0].Outcome == gc.Absent
	}, 30*time.Second, 20*time.Millisecond)
}

func TestReconcileHoldsTheParentsOfWhatIsWanted(t *testing.T) {
	ns := gc.Entry{Key: gc.Key{Kind: "Namespace", Name: "default"}, Version: "v1", Resource: "namespaces", UID: "1"}
	crd := gc.Entry{Key: gc.Key{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "gadgets.example.com"}, Version: "v1", Resource: "customresourcedefinitions", UID: "2"}
	gadget := gc.Entry{Key: gc.Key{Group: "example.com", Kind: "Gadget", Namespace: "default", Name: "x"}, Version: "v1", Resource: "gadgets", UID: "3"}
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), gc.NewInventory(ns, crd, gadget)))
	there := cluster{ns.Key: true, crd.Key: true, gadget.Key: true}
	never := func() bool { return false }

	rep, err := gc.Reconcile(t.Context(), store, steps(t, gc.NewInventory(gadget), there, never))
	require.NoError(t, err)
	require.Equal(t, gc.NewInventory(ns, crd), rep.Held)
	require.Len(t, there, 3)
	require.Len(t, rep.Inventory, 3, "to be deleted when nothing needs them")

	rep, err = gc.Reconcile(t.Context(), store, steps(t, nil, there, never))
	require.NoError(t, err)
	require.Empty(t, there)
	require.Empty(t, rep.Inventory)
}

func TestReconcileKnowsATwinInAnotherGroup(t *testing.T) {
	old := gc.Entry{Key: gc.Key{Group: "extensions", Kind: "Ingress", Namespace: "default", Name: "web"}, Version: "v1beta1", Resource: "ingresses", UID: "same"}
	moved := gc.Entry{Key: gc.Key{Group: "networking.k8s.io", Kind: "Ingress", Namespace: "default", Name: "web"}, Version: "v1", Resource: "ingresses", UID: "same"}
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), gc.NewInventory(old)))
	rep, err := gc.Reconcile(t.Context(), store, gc.Steps{
		Targets: gc.NewInventory(moved),
		Apply:   func(context.Context, gc.Inventory) (gc.Inventory, error) { return gc.NewInventory(moved), nil },
		Prune: func(_ context.Context, gone gc.Inventory) (gc.PruneResult, error) {
			t.Errorf("asked to delete %v, which is the object that was just applied", gone)
			return gc.PruneResult{}, nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, gc.NewInventory(moved), rep.Inventory)
}

func TestReconcileOrdersTargetsItself(t *testing.T) {
	a, b, c := entry("A", "a", "1"), entry("B", "b", "2"), entry("C", "c", "3")
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), gc.NewInventory(a, b, c)))
	there := cluster{a.Key: true, b.Key: true, c.Key: true}
	s := steps(t, gc.NewInventory(a, b, c), there, func() bool { return false })
	s.Targets = gc.Inventory{c, b, a}
	_, err := gc.Reconcile(t.Context(), store, s)
	require.NoError(t, err)
	require.Len(t, there, 3)
}

func TestReconcileForgetsNothingWhenPruneGivesUp(t *testing.T) {
	old, done := entry("A", "old", "1"), entry("B", "done", "2")
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), gc.NewInventory(old, done)))
	refused := errors.New("too much would go")
	rep, err := gc.Reconcile(t.Context(), store, gc.Steps{
		Apply: func(context.Context, gc.Inventory) (gc.Inventory, error) { return nil, nil },
		Prune: func(context.Context, gc.Inventory) (gc.PruneResult, error) {
			return gc.PruneResult{Objects: []gc.Pruned{{Key: done.Key, Outcome: gc.Deleted}}}, refused
		},
	})
	require.Equal(t, refused, err, "returned as it is")
	require.Equal(t, gc.NewInventory(old), rep.Inventory)
}

func TestReconcileWithoutApply(t *testing.T) {
	_, err := gc.Reconcile(t.Context(), &gc.MemoryStore{}, gc.Steps{})
	require.ErrorContains(t, err, "Steps.Apply is nil")
}

// An inventory that somebody else may write must not lead requests astray.
func TestAttackEntryThatLeavesItsPath(t *testing.T) {
	f := setup(t)
	f.make(t, "victim", nil)
	f.meter.Observe(func(method, path string) { t.Errorf("%s %s was sent", method, path) })
	for _, change := range []func(*gc.Entry){
		func(e *gc.Entry) { e.Name = "../configmaps/victim" },
		func(e *gc.Entry) { e.Namespace = "x/../" + f.ns },
		func(e *gc.Entry) { e.Resource = "secrets/../configmaps" },
		func(e *gc.Entry) { e.Version = ".." },
		func(e *gc.Entry) { e.Group = ".." },
	} {
		e := gc.Entry{Key: gc.Key{Kind: "ConfigMap", Namespace: f.ns, Name: "victim"}, Version: "v1", Resource: "configmaps"}
		change(&e)
		_, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
		require.ErrorContains(t, err, "cannot be part of a URL")
	}
	f.meter.Observe(nil)
	require.True(t, f.exists(t, "victim"))
}

// transport answers some requests itself.
type transport func(next http.RoundTripper, req *http.Request) (*http.Response, error)

func (tr transport) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) { return tr(next, req) })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(req *http.Request, code int, body string) *http.Response {
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// A proxy that ends watches at once, or a server in trouble, costs no flood.
func TestPruneDoesNotFlood(t *testing.T) {
	for name, code := range map[string]int{"ends each watch": http.StatusOK, "fails each watch": http.StatusBadGateway} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			e := f.make(t, "held", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/hold"}) })
			f.cfg.Wrap(transport(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.URL.Query().Get("watch") != "" {
					return answer(req, code, ""), nil
				}
				return next.RoundTrip(req)
			}).wrap)
			f.cfg.Wrap(f.meter.Wrap)
			pruner, err := gc.NewPruner(f.cfg)
			require.NoError(t, err)
			_, err = pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Timeout: 500 * time.Millisecond})
			require.ErrorContains(t, err, "finalizers still hold it: example.com/hold")
			require.Less(t, f.meter.Count().Requests, int64(20))
		})
	}
}

func TestCancelledPruneSaysWhatHolds(t *testing.T) {
	f := setup(t)
	e := f.make(t, "held", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/hold"}) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.cfg.Wrap(transport(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.URL.Query().Get("watch") != "" {
			cancel()
		}
		return next.RoundTrip(req)
	}).wrap)
	pruner, err := gc.NewPruner(f.cfg)
	require.NoError(t, err)
	res, err := pruner.Prune(ctx, gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "when the prune was ended finalizers still hold it: example.com/hold")
	require.Equal(t, gc.NewInventory(e), res.Kept)
}
