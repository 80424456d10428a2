package gc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// The watch of an applier also tells of what Prune deleted, let go or is waiting
// for. The run that follows finds nothing to do and wakes nobody: a controller that
// runs whenever it is told comes to rest.
func TestPruneWakesAControllerNotForEver(t *testing.T) {
	w := newWorld(t)
	var m meter.Meter
	w.cfg.Wrap(m.Wrap)
	applier, err := ssa.New(w.cfg, ssa.Options{})
	require.NoError(t, err)
	pruner, err := gc.NewPruner(w.cfg)
	require.NoError(t, err)
	store, err := gc.NewConfigMapStore(w.cfg, w.ns, "inventory", gc.StoreOptions{})
	require.NoError(t, err)
	woken := make(chan gc.Key, 1000)
	stop, err := applier.Watch(t.Context(), ssa.WatchOptions{OnChange: func(_ string, k gc.Key) { woken <- k }})
	require.NoError(t, err)
	t.Cleanup(stop)

	objs := w.objects("a", "b", "c", "d")
	reconcile := func() (gc.Report, error) {
		opts := ssa.ApplyOptions{Owner: "mine"}
		targets, err := applier.Targets(t.Context(), objs, opts)
		require.NoError(t, err)
		return gc.Reconcile(t.Context(), store, gc.Steps{
			Targets: targets,
			Apply:   ssaApply(applier, objs, opts),
			Pruner:  pruner,
			PruneOptions: gc.PruneOptions{
				Owner: "mine", Manager: ssa.DefaultManager, Timeout: 300 * time.Millisecond,
				Elsewhere: func(k gc.Key) string { return map[string]string{"c": "another"}[k.Name] },
			},
		})
	}
	for range 3 {
		_, err = reconcile()
		require.NoError(t, err)
	}
	f := &fixture{cfg: w.cfg, ns: w.ns, client: w.all.Resource(configMaps).Namespace(w.ns)}
	f.patch(t, "d", `{"metadata":{"finalizers":["example.com/hold"]}}`)

	objs = w.objects("a")
	rep, err := reconcile()
	require.ErrorContains(t, err, "example.com/hold")
	require.Len(t, rep.Pruned.Objects, 3)
	for end := time.After(time.Minute); ; {
		select {
		case k := <-woken:
			require.NotEqual(t, "a", k.Name, "nobody touched it")
			rep, err = reconcile()
			require.ErrorContains(t, err, "example.com/hold")
			require.Zero(t, rep.Writes)
			continue
		case <-time.After(time.Second):
		case <-end:
			t.Fatal("it wakes itself")
		}
		break
	}
	f.patch(t, "d", `{"metadata":{"finalizers":null}}`)
	require.Equal(t, "d", (<-woken).Name, "what holds it no more can go")
	rep, err = reconcile()
	require.NoError(t, err)
	require.Len(t, rep.Inventory, 1)

	before := m.Count()
	_, err = reconcile()
	require.NoError(t, err)
	require.EqualValues(t, 1, m.Count().Sub(before).Requests, "the inventory's")
}
