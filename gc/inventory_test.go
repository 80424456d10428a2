package gc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
)

func entry(kind, name, uid string) gc.Entry {
	return gc.Entry{Key: gc.Key{Kind: kind, Namespace: "default", Name: name}, Version: "v1", Resource: "things", UID: types.UID(uid)}
}

func TestKeysAreNotConfused(t *testing.T) {
	inv := gc.NewInventory(
		gc.Entry{Key: gc.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "a:b"}},
		gc.Entry{Key: gc.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "a__b"}},
		gc.Entry{Key: gc.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "a_b"}},
	)
	require.Len(t, inv, 3)
}

func TestKeyForPeople(t *testing.T) {
	require.Equal(t, "Deployment.apps default/web", gc.Key{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "web"}.String())
	require.Equal(t, "Namespace web", gc.Key{Kind: "Namespace", Name: "web"}.String())
}

func TestSetOperations(t *testing.T) {
	a, b, c := entry("A", "a", "1"), entry("B", "b", "2"), entry("C", "c", "3")
	newer := a
	newer.UID = "newer"
	left, right := gc.NewInventory(b, a), gc.NewInventory(newer, c)

	require.Equal(t, gc.Inventory{newer, b, c}, left.Union(right))
	require.Equal(t, gc.Inventory{b}, left.Minus(right))
	require.Equal(t, gc.Inventory{a}, left.Intersect(right))
	require.Equal(t, gc.Inventory{a, b}, left, "operands stay as they were")
	require.True(t, left.Has(a.Key))
	require.False(t, left.Has(c.Key))
	require.Empty(t, gc.Inventory(nil).Union(nil))
	require.Equal(t, left, left.Minus(nil))
	require.True(t, left.Equal(gc.NewInventory(a, b)))
	require.False(t, left.Equal(gc.NewInventory(newer, b)))
}

// cluster is a model of one: what is there, by key.
type cluster map[gc.Key]bool

var errInjected = errors.New("injected")

// faultyStore fails where it is told to, before or after it wrote.
type faultyStore struct {
	gc.MemoryStore
	fail func() (before, after bool)
}

func (s *faultyStore) Save(ctx context.Context, inv gc.Inventory) error {
	before, after := s.fail()
	if before {
		return errInjected
	}
	if err := s.MemoryStore.Save(ctx, inv); err != nil {
		return err
	}
	if after {
		return errInjected
	}
	return nil
}

// Over random histories in which everything fails now and then, before or after
// it took effect: what is in the cluster is always in the inventory or wanted
// never to have been, and nothing is deleted that the set still wants.
func TestReconcileNeverLosesAndNeverOverreaches(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		chance := func() bool { return rnd.IntN(8) == 0 }
		store := &faultyStore{fail: func() (bool, bool) { return chance(), chance() }}
		there := cluster{}
		for step := range 12 {
			var want gc.Inventory
			for i := range 6 {
				if rnd.IntN(2) == 0 {
					want = want.Union([]gc.Entry{entry("ConfigMap", fmt.Sprint("cm-", i), "")})
				}
			}
			clean := step == 11
			if clean {
				store.fail = func() (bool, bool) { return false, false }
			}
			_, err := gc.Reconcile(t.Context(), store, steps(t, want, there, func() bool { return !clean && chance() }))
			stored, loadErr := store.Load(t.Context())
			require.NoError(t, loadErr)
			for key := range there {
				require.True(t, stored.Has(key), "seed %d step %d: %s is in the cluster and not in the inventory", seed, step, key)
			}
			if err == nil {
				require.Len(t, there, len(want), "seed %d step %d", seed, step)
				require.Len(t, stored, len(want))
			}
		}
	}
}

func steps(t *testing.T, want gc.Inventory, there cluster, fails func() bool) gc.Steps {
	return gc.Steps{
		Targets: want,
		Apply: func(_ context.Context, _ gc.Inventory) (gc.Inventory, error) {
			var done gc.Inventory
			for _, e := range want {
				if fails() {
					return done, errInjected
				}
				there[e.Key] = true
				if fails() { // carried out, and the answer was lost
					return done, errInjected
				}
				e.UID = "applied"
				done = done.Union([]gc.Entry{e})
			}
			return done, nil
		},
		Prune: func(_ context.Context, gone gc.Inventory) (gc.PruneResult, error) {
			var res gc.PruneResult
			var err error
			for _, e := range gone {
				if want.Has(e.Key) {
					t.Errorf("asked to delete %s, which the set wants", e.Key)
				}
				if fails() {
					res.Kept, err = append(res.Kept, e), errInjected
					continue
				}
				delete(there, e.Key)
			}
			return res, err
		},
	}
}

func TestReconcileWritesOnlyWhatChanged(t *testing.T) {
	store := &gc.MemoryStore{}
	there := cluster{}
	never := func() bool { return false }
	want := gc.NewInventory(entry("A", "a", ""), entry("B", "b", ""))

	rep, err := gc.Reconcile(t.Context(), store, steps(t, want, there, never))
	require.NoError(t, err)
	require.Equal(t, 2, rep.Writes, "the union before, the answers after")

	rep, err = gc.Reconcile(t.Context(), store, steps(t, want, there, never))
	require.NoError(t, err)
	require.Zero(t, rep.Writes)

	rep, err = gc.Reconcile(t.Context(), store, steps(t, want[:1], there, never))
	require.NoError(t, err)
	require.Equal(t, 1, rep.Writes)
	require.Equal(t, cluster{want[0].Key: true}, there)
}

func TestReconcileDoesNotPruneAfterAFailedApply(t *testing.T) {
	store := &gc.MemoryStore{}
	old := entry("A", "old", "1")
	require.NoError(t, store.Save(t.Context(), gc.NewInventory(old)))
	s := gc.Steps{
		Targets: gc.NewInventory(entry("A", "new", "")),
		Apply: func(context.Context, gc.Inventory) (gc.Inventory, error) {
			return nil, errInjected
		},
		Prune: func(context.Context, gc.Inventory) (gc.PruneResult, error) {
			t.Fatal("pruned although the apply failed")
			return gc.PruneResult{}, nil
		},
	}
	rep, err := gc.Reconcile(t.Context(), store, s)
	require.ErrorIs(t, err, errInjected)
	require.Len(t, rep.Inventory, 2, "the old object, and the one that may have been made")
	require.True(t, rep.Inventory.Has(old.Key))
}

func TestReconcileWithoutPruneKeeps(t *testing.T) {
	store := &gc.MemoryStore{}
	old := entry("A", "old", "1")
	require.NoError(t, store.Save(t.Context(), gc.NewInventory(old)))
	rep, err := gc.Reconcile(t.Context(), store, gc.Steps{
		Apply: func(context.Context, gc.Inventory) (gc.Inventory, error) { return nil, nil },
	})
	require.NoError(t, err)
	require.Equal(t, gc.NewInventory(old), rep.Inventory)
}
