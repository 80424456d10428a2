package ssa_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// once is a process that applies a stored set and ends. It reports whether it asked
// for every object, and whether it wrote the inventory.
func (f *fixture) once(t *testing.T, store gc.Store, objs []*unstructured.Unstructured, change func(*ssa.Options, *ssa.ApplyOptions)) (full, saved bool) {
	t.Helper()
	options, opts := ssa.Options{Manager: "kit"}, f.options()
	if change != nil {
		change(&options, &opts)
	}
	var err error
	f.applier, err = ssa.New(f.cfg, options)
	require.NoError(t, err)
	opts.Previous, err = store.Load(t.Context())
	require.NoError(t, err)
	_, err = f.applier.Targets(t.Context(), objs, opts) // learns the types
	require.NoError(t, err)
	before := f.meter.Count()
	res := f.apply(t, objs, opts)
	requests := f.meter.Count().Sub(before).Requests
	if saved = !res.Entries.Equal(opts.Previous); saved {
		require.NoError(t, store.Save(t.Context(), res.Entries))
	}
	return requests >= int64(2*len(objs)), saved
}

func age(t *testing.T, store gc.Store, by time.Duration) {
	t.Helper()
	inv, err := store.Load(t.Context())
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), ssa.Aged(inv, by)))
}

// A program that applies once and ends, as a command or a CronJob does, gets the
// periodic check as well: when, is in the inventory.
func TestFullCheckOfShortProcesses(t *testing.T) {
	f := setup(t)
	f.cfg.Wrap(f.meter.Wrap)
	store, err := gc.NewConfigMapStore(f.cfg, f.ns, "inventory", gc.StoreOptions{})
	require.NoError(t, err)
	objs := many(t, 3)
	f.once(t, store, objs, nil)
	for range 3 {
		for range 3 {
			full, saved := f.once(t, store, objs, nil)
			require.False(t, full)
			require.False(t, saved, "what does not change is not saved")
		}
		age(t, store, 2*time.Hour)
		full, saved := f.once(t, store, objs, nil)
		require.True(t, full, "it is time")
		require.True(t, saved, "and the next check is an hour away")
	}

	// The time stays known when objects come, change and go.
	sets := [][]*unstructured.Unstructured{many(t, 4), many(t, 4)[1:], append(many(t, 4)[1:], configMap(t, "", "a: b")...)}
	for i, set := range sets {
		_, saved := f.once(t, store, set, nil)
		require.True(t, saved, i)
	}
	full, _ := f.once(t, store, sets[2], nil)
	require.False(t, full)
	age(t, store, 2*time.Hour)
	full, _ = f.once(t, store, sets[2], nil)
	require.True(t, full)
}

func TestFullCheckOnRequest(t *testing.T) {
	f := setup(t)
	f.cfg.Wrap(f.meter.Wrap)
	store, objs := &gc.MemoryStore{}, many(t, 3)
	asking := func(_ *ssa.Options, o *ssa.ApplyOptions) { o.Full = true }
	f.once(t, store, objs, asking)
	full, saved := f.once(t, store, objs, asking)
	require.True(t, full)
	require.False(t, saved, "one that was made just before")
	age(t, store, 50*time.Minute)
	full, _ = f.once(t, store, objs, asking)
	require.True(t, full)
	age(t, store, 50*time.Minute)
	full, _ = f.once(t, store, objs, nil)
	require.False(t, full, "the hour began when it was asked for")
}

// What somebody wrote into the inventory, or a clock that was wrong, does not put
// the check off for longer than a new set waits.
func TestAttackFullCheckThatNeverComes(t *testing.T) {
	f := setup(t)
	f.cfg.Wrap(f.meter.Wrap)
	store, objs := &gc.MemoryStore{}, many(t, 3)
	f.once(t, store, objs, nil)
	age(t, store, -1000*time.Hour)
	_, saved := f.once(t, store, objs, nil)
	require.True(t, saved)
	age(t, store, 2*time.Hour)
	full, _ := f.once(t, store, objs, nil)
	require.True(t, full)

	never := func(o *ssa.Options, _ *ssa.ApplyOptions) { o.FullInterval = -1 }
	f.once(t, store, objs, never)
	age(t, store, 2*time.Hour)
	full, _ = f.once(t, store, objs, never)
	require.False(t, full)
}
