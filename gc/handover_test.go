package gc_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// team is one set with its own record and its own field manager.
type team struct {
	f       *fixture
	owner   string
	applier *ssa.Applier
	store   *gc.MemoryStore
	opts    gc.PruneOptions
}

func (f *fixture) team(t *testing.T, owner string) *team {
	t.Helper()
	a, err := ssa.New(f.cfg, ssa.Options{Manager: "manager-" + owner})
	require.NoError(t, err)
	return &team{f: f, owner: owner, applier: a, store: &gc.MemoryStore{}, opts: gc.PruneOptions{Owner: owner, Manager: "manager-" + owner}}
}

func (s *team) reconcile(t *testing.T, names ...string) gc.Report {
	t.Helper()
	var objs []*unstructured.Unstructured
	for _, name := range names {
		objs = append(objs, configMapObject(s.f.ns, name, "same"))
	}
	opts := ssa.ApplyOptions{Owner: s.owner}
	targets, err := s.applier.Targets(t.Context(), objs, opts)
	require.NoError(t, err)
	rep, err := gc.Reconcile(t.Context(), s.store, gc.Steps{
		Targets: targets,
		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
			opts.Previous = previous
			res, err := s.applier.Apply(ctx, objs, opts)
			return res.Entries, err
		},
		Pruner: s.f.pruner, PruneOptions: s.opts,
	})
	require.NoError(t, err)
	require.Len(t, rep.Inventory, len(names))
	return rep
}

func (s *team) record(t *testing.T) gc.Inventory {
	t.Helper()
	inv, err := s.store.Load(t.Context())
	require.NoError(t, err)
	return inv
}

// neverDeleted returns what fails the test if a ConfigMap was deleted in between,
// if only to be made again.
func (f *fixture) neverDeleted(t *testing.T) func() {
	t.Helper()
	list, err := f.client.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	w, err := f.client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	require.NoError(t, err)
	const last = "the-last-event"
	return func() {
		defer w.Stop()
		f.make(t, last, nil)
		deadline := time.After(30 * time.Second)
		for {
			select {
			case <-deadline:
				require.Fail(t, "the watch did not see everything")
			case ev, ok := <-w.ResultChan():
				require.True(t, ok, "the watch ended too early")
				u, _ := ev.Object.(*unstructured.Unstructured)
				require.NotEqual(t, watch.Deleted, ev.Type, "%s", u.GetName())
				if u.GetName() == last {
					return
				}
			}
		}
	}
}

// An object moves from one set to another in either order, and is never deleted.
func TestHandOver(t *testing.T) {
	for name, move := range map[string]func(t *testing.T, from, to *team){
		"the new set takes it first": func(t *testing.T, from, to *team) {
			to.reconcile(t, "moves", "other")
			rep := from.reconcile(t, "stays")
			require.Equal(t, gc.Foreign, rep.Pruned.Objects[0].Outcome)
		},
		"the old set lets go first": func(t *testing.T, from, to *team) {
			moves := from.record(t).Minus(gc.NewInventory(gc.Entry{Key: from.f.key("stays")}))
			res, err := from.f.pruner.Release(t.Context(), moves, gc.ReleaseOptions{Owner: "from"})
			require.NoError(t, err)
			require.Equal(t, gc.Pruned{Key: from.f.key("moves"), Outcome: gc.HandedOver, Detail: "to nobody"}, res.Objects[0])
			from.reconcile(t, "stays")
			to.reconcile(t, "moves", "other")
		},
		"the old set names the new one": func(t *testing.T, from, to *team) {
			from.opts.Elsewhere = func(k gc.Key) string {
				if k.Name == "moves" {
					return "to"
				}
				return ""
			}
			rep := from.reconcile(t, "stays")
			require.Equal(t, gc.Pruned{Key: from.f.key("moves"), Outcome: gc.HandedOver, Detail: `to set "to"`}, rep.Pruned.Objects[0])
			from.reconcile(t, "stays")
			to.reconcile(t, "moves", "other")
		},
		"the last of a set moves": func(t *testing.T, from, to *team) {
			from.opts.Elsewhere = func(gc.Key) string { return "to" }
			from.reconcile(t) // no confirmation: nothing is deleted
			to.reconcile(t, "moves", "stays", "other")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			from, to := f.team(t, "from"), f.team(t, "to")
			from.reconcile(t, "moves", "stays")
			to.reconcile(t, "other")
			check := f.neverDeleted(t)
			move(t, from, to)
			check()
			u, err := f.client.Get(t.Context(), "moves", metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, "to", u.GetLabels()[gc.OwnerLabel])
			require.True(t, to.record(t).Has(f.key("moves")))
			require.False(t, from.record(t).Has(f.key("moves")))
			require.True(t, f.exists(t, "stays"))
		})
	}
}

func (f *fixture) key(name string) gc.Key {
	return gc.Key{Kind: "ConfigMap", Namespace: f.ns, Name: name}
}

func TestRelease(t *testing.T) {
	f := setup(t)
	absent := f.make(t, "absent", nil)
	require.NoError(t, f.client.Delete(t.Context(), "absent", metav1.DeleteOptions{}))
	inv := gc.NewInventory(absent,
		f.make(t, "kept", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{gc.PruneAnnotation: "disabled"})
		}),
		f.make(t, "theirs", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{gc.OwnerLabel: "theirs"}) }))
	var seen []gc.Pruned
	res, err := f.pruner.Release(t.Context(), inv, gc.ReleaseOptions{Owner: "mine", To: "new", Progress: func(p gc.Pruned) { seen = append(seen, p) }})
	require.NoError(t, err)
	require.Len(t, seen, 3)
	require.Empty(t, res.Kept)
	require.Equal(t, gc.Absent, res.Objects[0].Outcome)
	require.Equal(t, gc.HandedOver, res.Objects[1].Outcome)
	require.Equal(t, gc.Foreign, res.Objects[2].Outcome)
	u, err := f.client.Get(t.Context(), "kept", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "new", u.GetLabels()[gc.OwnerLabel])

	for _, opts := range []gc.ReleaseOptions{{}, {Owner: "mine", To: "mine"}, {Owner: "mine", To: "not a label"}} {
		res, err := f.pruner.Release(t.Context(), inv, opts)
		require.Error(t, err)
		require.Equal(t, inv, res.Kept)
	}
	for _, to := range []string{"mine", "not a label"} {
		e := f.make(t, "x", nil)
		_, err = f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Elsewhere: func(gc.Key) string { return to }})
		require.ErrorContains(t, err, "PruneOptions.Elsewhere")
		require.NoError(t, f.client.Delete(t.Context(), "x", metav1.DeleteOptions{}), "it is still there")
	}
}

// What another set took in between is not taken back, and an answer that is lost
// leaves nothing open.
func TestAttackBetweenLookAndRelease(t *testing.T) {
	for name, lost := range map[string]bool{"another set takes it": false, "the answer is lost": true} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			e := f.make(t, "x", nil)
			first := true
			p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.Method != http.MethodPatch || !first {
					return next.RoundTrip(req)
				}
				first = false
				if !lost {
					f.patch(t, "x", `{"metadata":{"labels":{"`+gc.OwnerLabel+`":"quick"}}}`)
					return next.RoundTrip(req)
				}
				resp, err := next.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}
				return nil, errors.New("the connection was reset")
			})
			res, err := p.Release(t.Context(), gc.NewInventory(e), gc.ReleaseOptions{Owner: "mine", To: "slow"})
			require.NoError(t, err)
			require.Empty(t, res.Kept)
			require.Equal(t, gc.Foreign, res.Objects[0].Outcome)
			u, err := f.client.Get(t.Context(), "x", metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, map[bool]string{false: "quick", true: "slow"}[lost], u.GetLabels()[gc.OwnerLabel])
		})
	}
}
