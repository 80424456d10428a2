package ssa_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// An object that nobody put on record says itself that it is to be left alone.
func TestFirstApplyKeepsHandsOff(t *testing.T) {
	for _, says := range []string{
		"annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}",
		"annotations: {kustomize.toolkit.fluxcd.io/ssa: Ignore}",
		"annotations: {gitopskit.dev/apply: ignore}",
		"labels: {kustomize.toolkit.fluxcd.io/reconcile: disabled}",
		"labels: {kustomize.toolkit.fluxcd.io/ssa: ignore}",
	} {
		t.Run(says, func(t *testing.T) {
			f := setup(t)
			theirs := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, "+says+"}\ndata: {a: theirs}")[0]
			_, err := f.others.Resource(configMaps).Namespace(f.ns).Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
			require.NoError(t, err)
			before := f.get(t, configMaps, "x")
			opts := f.options()
			for name, change := range map[string]func(){
				"nothing on record": func() {},
				"before the first apply was sent": func() {
					targets, err := f.applier.Targets(t.Context(), configMap(t, "", "a: ours"), opts)
					require.NoError(t, err)
					opts.Previous = targets
				},
				"in a full check":    func() { opts.Full = true },
				"with a dry run":     func() { opts.Validate = true },
				"fields to adopt":    func() { opts.Ignore = []ssa.IgnoreRule{{Pointers: []string{"/data/a"}, Mode: ssa.Adopt}} },
				"conflicts reported": func() { opts.Conflicts = ssa.Report },
			} {
				opts = f.options()
				change()
				res := f.apply(t, configMap(t, "", "a: ours"), opts)
				require.Equal(t, ssa.Ignored, res.Changes[0].Action, name)
				require.Equal(t, len(opts.Previous), len(res.Entries), name)
				require.Equal(t, before, f.get(t, configMaps, "x"), name)
			}
			plan, err := f.applier.Plan(t.Context(), configMap(t, "", "a: ours"), f.options())
			require.NoError(t, err)
			require.Equal(t, ssa.Ignored, plan.Changes[0].Action)
		})
	}
}

// What cannot be changed and is to be left alone does not fail a dry run.
func TestDryRunOfWhatIsLeftAlone(t *testing.T) {
	f := setup(t)
	theirs := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, annotations: {gitopskit.dev/apply: ignore}}\nimmutable: true\ndata: {a: theirs}")[0]
	_, err := f.others.Resource(configMaps).Namespace(f.ns).Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	opts := f.options()
	opts.Validate = true
	require.Equal(t, ssa.Ignored, f.apply(t, configMap(t, "", "a: ours"), opts).Changes[0].Action)
}

// Flux reads labels as well.
func TestLabelsOfTheSet(t *testing.T) {
	f := setup(t)
	objs := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}\ndata: {a: ours}")
	f.existing(t, "them", "a: theirs")
	require.Equal(t, ssa.Unchanged, f.apply(t, objs, f.options()).Changes[0].Action)
	require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
}

// The watch knows of objects that are not on record, too.
func TestFirstApplyKeepsHandsOffUnderAWatch(t *testing.T) {
	f := setup(t)
	stop, err := f.applier.Watch(t.Context(), ssa.WatchOptions{})
	require.NoError(t, err)
	defer stop()
	objs := many(t, 3)
	res, err := f.applier.Apply(t.Context(), objs, f.options())
	require.NoError(t, err)
	f.patch(t, configMaps, "cm-00", "them", types.MergePatchType, `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}},"data":{"a":"theirs"}}`)
	opts := f.options()
	opts.Previous = res.Entries.Minus(gc.Inventory{{Key: gc.Key{Kind: "ConfigMap", Namespace: f.ns, Name: "cm-00"}}})
	res = f.apply(t, objs, opts)
	require.Equal(t, ssa.Ignored, res.Changes[0].Action)
	require.Equal(t, 2, res.Count(ssa.Unchanged))
}

// What it costs to have no record.
func TestCostsWithoutARecord(t *testing.T) {
	for n, want := range map[int]struct{ create, exists int64 }{
		5:  {5, 15},      // a create that is refused, a look and an apply for each
		50: {51, 50 + 1}, // a list tells of all of them
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := setup(t)
			objs := many(t, n)
			_, err := f.applier.Targets(t.Context(), objs, f.options()) // learns the types
			require.NoError(t, err)
			none := &ssa.Result{}
			res, requests := f.again(t, objs, none)
			require.Equal(t, n, res.Count(ssa.Created))
			require.Equal(t, want.create, requests)
			res, requests = f.again(t, objs, none)
			require.Equal(t, n, res.Count(ssa.Configured), "nobody knows that nothing was written")
			require.Equal(t, want.exists, requests)
		})
	}
}

// A list that fails must not make Apply forget whom it leaves alone.
func TestHandsOffWhenTheListFails(t *testing.T) {
	f := setup(t)
	objs := append(many(t, 2), configMap(t, "", "a: ours")...)
	res := f.apply(t, objs, f.options())
	f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"metadata":{"annotations":{"gitopskit.dev/apply":"ignore"}},"data":{"a":"theirs"}}`)
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodGet && req.URL.Query().Get("labelSelector") != "" {
			return answer(req, 500, status(500, "InternalError", "trouble")), nil
		}
		return next.RoundTrip(req)
	})
	opts := f.options()
	opts.Previous = res.Entries
	changed := append(many(t, 2), configMap(t, "", "a: changed")...)
	res = f.apply(t, changed, opts)
	require.Equal(t, ssa.Ignored, res.Changes[2].Action)
	require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
}
