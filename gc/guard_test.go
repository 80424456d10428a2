package gc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/gc"
)

// some makes n ConfigMaps of the set.
func (f *fixture) some(t *testing.T, n int) gc.Inventory {
	t.Helper()
	return f.named(t, "some", n)
}

func (f *fixture) named(t *testing.T, prefix string, n int) gc.Inventory {
	t.Helper()
	var entries []gc.Entry
	for i := range n {
		entries = append(entries, f.make(t, fmt.Sprintf("%s-%03d", prefix, i), nil))
	}
	return gc.NewInventory(entries...)
}

func (f *fixture) count(t *testing.T) int {
	t.Helper()
	list, err := f.client.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return len(list.Items)
}

func TestGuardRules(t *testing.T) {
	f := setup(t)
	inv := f.some(t, 8)
	configMapKind := []schema.GroupKind{{Kind: "ConfigMap"}}
	tests := []struct {
		name  string
		guard gc.Guard
		set   gc.SetSize
		says  string // empty: passes
	}{
		{"few of few", gc.Guard{}, gc.SetSize{Before: 8, After: 1}, ""},
		{"few of an unknown set", gc.Guard{}, gc.SetSize{}, ""},
		{"all of them", gc.Guard{}, gc.SetSize{Before: 8}, `nothing would be left of set "mine"`},
		{"all of them, as was meant", gc.Guard{Emptying: true}, gc.SetSize{Before: 8}, ""},
		{"all of them, and many", gc.Guard{Emptying: true, Objects: 7}, gc.SetSize{Before: 8}, "8 of 8 objects would go"},
		{"many and a large share", gc.Guard{Objects: 7}, gc.SetSize{Before: 15, After: 9}, "8 of 15 objects would go"},
		{"many and a small share", gc.Guard{Objects: 7}, gc.SetSize{Before: 16, After: 9}, ""},
		{"many of an unknown set", gc.Guard{Objects: 7}, gc.SetSize{}, "8 objects would go"},
		{"number alone", gc.Guard{Objects: 7, Share: -1}, gc.SetSize{Before: 1000, After: 900}, "8 of 1000 objects would go"},
		{"share alone", gc.Guard{Objects: -1}, gc.SetSize{Before: 15, After: 9}, "8 of 15 objects would go"},
		{"another share", gc.Guard{Objects: -1, Share: 0.9}, gc.SetSize{Before: 9, After: 1}, ""},
		{"a protected kind", gc.Guard{Protected: configMapKind}, gc.SetSize{Before: 800, After: 700}, "a ConfigMap would go with all that it holds"},
		{"off", gc.Guard{Off: true, Protected: configMapKind, Objects: -1}, gc.SetSize{Before: 8}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			deletes := 0
			f.meter.Observe(func(method, _ string) {
				if method == "DELETE" {
					deletes++
					cancel() // it passed; do not carry it out
				}
			})
			defer f.meter.Observe(nil)
			res, err := f.pruner.Prune(ctx, inv, gc.PruneOptions{Owner: "mine", Set: tt.set, Guard: tt.guard, Concurrency: 1})
			var refused *gc.GuardError
			if tt.says == "" {
				require.NotErrorAs(t, err, &refused)
				require.NotZero(t, deletes)
				return
			}
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, tt.says)
			require.Zero(t, deletes)
			require.True(t, refused.Terminal())
			require.Equal(t, inv, res.Kept)
			require.Empty(t, res.Objects)
			require.Equal(t, 8, refused.Total)
			require.Len(t, refused.Objects, 8)
			require.ErrorContains(t, err, inv[0].String())
			require.ErrorContains(t, err, "and 3 more")
		})
		inv = f.refill(t, inv)
	}
}

// refill makes again what a test deleted.
func (f *fixture) refill(t *testing.T, inv gc.Inventory) gc.Inventory {
	t.Helper()
	var out []gc.Entry
	for _, e := range inv {
		if !f.exists(t, e.Name) {
			e = f.make(t, e.Name, nil)
		}
		out = append(out, e)
	}
	return gc.NewInventory(out...)
}

func TestGuardProtectsWhatNoApplyBringsBack(t *testing.T) {
	f := setup(t)
	all, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	ns := f.namespaceEntry(t, all)
	crd, gadget := f.define(t, all)
	label := func(u *unstructured.Unstructured) *unstructured.Unstructured {
		u.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
		return u
	}
	live, err := all.Resource(definitions).Get(t.Context(), crd.GetName(), metav1.GetOptions{})
	require.NoError(t, err)
	live, err = all.Resource(definitions).Update(t.Context(), label(live), metav1.UpdateOptions{})
	require.NoError(t, err)
	claim := label(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": "data"},
		"spec": map[string]any{"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}},
	}})
	claims := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	claim, err = all.Resource(claims).Namespace(f.ns).Create(t.Context(), claim, metav1.CreateOptions{})
	require.NoError(t, err)

	for _, e := range []gc.Entry{
		ns,
		{Key: gc.Key{Group: definitions.Group, Kind: "CustomResourceDefinition", Name: crd.GetName()}, Version: "v1", Resource: definitions.Resource, UID: live.GetUID()},
		{Key: gc.Key{Kind: "PersistentVolumeClaim", Namespace: f.ns, Name: "data"}, Version: "v1", Resource: "persistentvolumeclaims", UID: claim.GetUID()},
	} {
		inv := gc.NewInventory(e, f.make(t, "a-"+strings.ToLower(e.Kind), nil))
		opts := gc.PruneOptions{Owner: "mine", Set: gc.SetSize{Before: 100, After: 98}}
		_, err := f.pruner.Prune(t.Context(), inv, opts)
		var refused *gc.GuardError
		require.ErrorAs(t, err, &refused, e.Kind)
		require.Equal(t, e.Key, refused.Objects[0], "what is protected is named first")
		require.Equal(t, []string{"a " + e.Kind + " would go with all that it holds"}, refused.Reasons)
	}
	_, err = f.pruner.Prune(t.Context(), gc.NewInventory(gadget), gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
}

func TestConfirmation(t *testing.T) {
	f := setup(t)
	inv := f.some(t, 3)
	opts := gc.PruneOptions{Owner: "mine", Set: gc.SetSize{Before: 3}}
	ask := func(inv gc.Inventory) *gc.GuardError {
		_, err := f.pruner.Prune(t.Context(), inv, opts)
		var refused *gc.GuardError
		require.ErrorAs(t, err, &refused)
		return refused
	}
	refused := ask(inv)
	require.False(t, refused.Stale)
	require.Equal(t, refused.Confirm, ask(inv).Confirm, "the same deletions, the same confirmation")

	opts.Confirm = refused.Confirm
	require.True(t, ask(inv[:2]).Stale, "not for fewer")
	more := gc.NewInventory(append(inv[:3:3], f.make(t, "another", nil))...)
	require.NotEqual(t, refused.Confirm, ask(more).Confirm, "not for more")

	require.NoError(t, f.client.Delete(t.Context(), inv[0].Name, metav1.DeleteOptions{}))
	again := gc.NewInventory(f.make(t, inv[0].Name, nil), inv[1], inv[2])
	stale := ask(again)
	require.True(t, stale.Stale, "not for a later namesake")
	require.ErrorContains(t, stale, "is for other deletions")
	require.Equal(t, 4, f.count(t))

	opts.Confirm = stale.Confirm
	res, err := f.pruner.Prune(t.Context(), again, opts)
	require.NoError(t, err)
	require.Len(t, res.Objects, 3)
	require.Equal(t, 1, f.count(t))
}

// What does not go does not count, or every second run would ask.
func TestGuardCountsWhatWouldGo(t *testing.T) {
	f := setup(t)
	stays := f.make(t, "stays", func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{gc.PruneAnnotation: "disabled"})
	})
	theirs := f.make(t, "theirs", func(u *unstructured.Unstructured) { u.SetLabels(nil) })
	absent := f.make(t, "absent", nil)
	require.NoError(t, f.client.Delete(t.Context(), "absent", metav1.DeleteOptions{}))
	going := f.make(t, "going", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/hold"}) })
	require.NoError(t, f.client.Delete(t.Context(), "going", metav1.DeleteOptions{}))
	opts := gc.PruneOptions{Owner: "mine", Set: gc.SetSize{Before: 4}, Timeout: 1, Guard: gc.Guard{Objects: -1, Share: -1}}
	res, err := f.pruner.Prune(t.Context(), gc.NewInventory(stays, theirs, absent), opts)
	require.NoError(t, err)
	require.Len(t, res.Objects, 3)
	_, err = f.pruner.Prune(t.Context(), gc.NewInventory(going), opts)
	require.NotErrorAs(t, err, new(*gc.GuardError))
	require.Error(t, err)
}

// The first thing that destroys clusters: a render that came out empty.
func TestReconcileOfAnEmptyRender(t *testing.T) {
	f := setup(t)
	inv := f.some(t, 2)
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), inv))
	empty := gc.Steps{
		Apply:        func(context.Context, gc.Inventory) (gc.Inventory, error) { return nil, nil },
		Pruner:       f.pruner,
		PruneOptions: gc.PruneOptions{Owner: "mine"},
	}
	rep, err := gc.Reconcile(t.Context(), store, empty)
	var refused *gc.GuardError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, inv, rep.Inventory, "nothing leaves the record")
	require.Equal(t, 2, f.count(t))

	empty.PruneOptions.Confirm = refused.Confirm
	rep, err = gc.Reconcile(t.Context(), store, empty)
	require.NoError(t, err)
	require.Empty(t, rep.Inventory)
	require.Zero(t, f.count(t))
}

func TestGuardAsksWhereAnObjectWantsIt(t *testing.T) {
	f := setup(t)
	inv := gc.NewInventory(f.make(t, "a", nil), f.make(t, "b", func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{gc.SyncOptionsAnnotation: "Prune=confirm"})
	}))
	opts := gc.PruneOptions{Owner: "mine", Set: gc.SetSize{Before: 100, After: 98}}
	_, err := f.pruner.Prune(t.Context(), inv, opts)
	var refused *gc.GuardError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "argocd.argoproj.io/sync-options: Prune=confirm")
	require.Equal(t, "b", refused.Objects[0].Name)
	require.Equal(t, 2, f.count(t))
	opts.Confirm = refused.Confirm
	_, err = f.pruner.Prune(t.Context(), inv, opts)
	require.NoError(t, err)
	require.Zero(t, f.count(t))
}

// What took the place of what left is on record when the next run begins. It must
// not make what would go look like a small share of a large set.
func TestGuardHoldsWhenItIsAskedAgain(t *testing.T) {
	f := setup(t)
	old := f.some(t, 6)
	renamed, more := f.named(t, "new", 6), f.named(t, "more", 30)
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), old))
	reconcile := func(ok bool, targets gc.Inventory, opts gc.PruneOptions) (gc.Report, error) {
		opts.Owner, opts.Guard = "mine", gc.Guard{Objects: 5}
		return gc.Reconcile(t.Context(), store, gc.Steps{
			Targets: targets,
			Apply: func(_ context.Context, previous gc.Inventory) (gc.Inventory, error) {
				for _, e := range previous {
					require.Zero(t, e.LeftOf)
				}
				if !ok {
					return nil, errors.New("a webhook refused it")
				}
				return targets, nil
			},
			Pruner: f.pruner, PruneOptions: opts,
		})
	}
	_, err := reconcile(false, renamed, gc.PruneOptions{})
	require.ErrorContains(t, err, "a webhook")
	var refused *gc.GuardError
	for _, targets := range []gc.Inventory{renamed, renamed, renamed.Union(more)} {
		_, err = reconcile(true, targets, gc.PruneOptions{})
		require.ErrorAs(t, err, &refused)
		require.Equal(t, []string{"6 of 6 objects would go"}, refused.Reasons)
	}
	// One comes back, and three others leave: that is of two sets.
	wanted := renamed[3:].Union(more).Union(old[:1])
	_, err = reconcile(true, wanted, gc.PruneOptions{})
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []string{"8 objects would go"}, refused.Reasons)

	rep, err := reconcile(true, wanted, gc.PruneOptions{Confirm: refused.Confirm})
	require.NoError(t, err)
	require.Equal(t, wanted, rep.Inventory)
	require.Equal(t, len(wanted), f.count(t))
}

// What one that cannot be deleted left long ago says nothing of the set of today.
func TestGuardMeasuresEachObjectByTheSetThatItLeft(t *testing.T) {
	f := setup(t)
	inv := f.some(t, 8)
	inv[0].LeftOf = 2
	opts := gc.PruneOptions{Owner: "mine", Set: gc.SetSize{Before: 1000, After: 992}, Guard: gc.Guard{Objects: 5}}
	_, err := f.pruner.Prune(t.Context(), inv[:7], opts)
	var refused *gc.GuardError
	require.ErrorAs(t, err, &refused, "half of the set of then, and a little of that of today")
	opts.Guard.Share = 0.6
	_, err = f.pruner.Prune(t.Context(), inv[:7], opts)
	require.NoError(t, err)
}

func TestPruneOptionsAreChecked(t *testing.T) {
	f := setup(t)
	inv := f.some(t, 1)
	_, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Propagation: "sideways"})
	require.ErrorContains(t, err, `"sideways"; it must be Background, Foreground or Orphan`)
	require.Equal(t, 1, f.count(t))
}
