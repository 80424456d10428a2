package ssa_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/ssa"
)

const dotted = `"a.b": one, a: two, "c.d": three`

func TestConflictsAreReported(t *testing.T) {
	f := setup(t)
	f.existing(t, "other \"tool\"", `"a.b": theirs, a: two`)
	objs := configMap(t, "gitopskit.dev/conflicts: report", dotted)
	res, err := f.applier.Apply(t.Context(), objs, f.options())
	var conflict *ssa.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, []ssa.Conflict{{Field: ".data.a.b", Manager: `other "tool"`}}, conflict.Fields)
	require.ErrorContains(t, err, "apply ConfigMap "+f.ns+"/x: others own fields")
	require.Equal(t, ssa.Failed, res.Changes[0].Action)
	require.False(t, terminal(err), "the other may let go")
	require.Equal(t, map[string]string{"a.b": "theirs", "a": "two"}, f.data(t))

	opts := f.options()
	opts.Conflicts = ssa.Report
	_, err = f.applier.Apply(t.Context(), configMap(t, "", dotted), opts)
	require.ErrorAs(t, err, &conflict, "the policy of the Apply")
	f.applier, err = ssa.New(f.cfg, ssa.Options{Manager: "kit", Conflicts: ssa.Report})
	require.NoError(t, err)
	_, err = f.applier.Apply(t.Context(), configMap(t, "", dotted), f.options())
	require.ErrorAs(t, err, &conflict, "the policy of the Applier")
	f.apply(t, configMap(t, "gitopskit.dev/conflicts: take-over", dotted), f.options())
	require.Equal(t, "one", f.data(t)["a.b"])
}

func TestConflictsAreLeft(t *testing.T) {
	f := setup(t)
	f.existing(t, "them", `"a.b": theirs, "c.d": theirs`)
	objs := configMap(t, "gitopskit.dev/conflicts: leave", dotted)
	res := f.apply(t, objs, f.options())
	require.Equal(t, ssa.Configured, res.Changes[0].Action)
	require.Equal(t, []ssa.Conflict{{".data.a.b", "them"}, {".data.c.d", "them"}}, res.Changes[0].Left)
	require.Equal(t, map[string]string{"a.b": "theirs", "a": "two", "c.d": "theirs"}, f.data(t))

	res, requests := f.again(t, objs, res)
	require.Equal(t, ssa.Unchanged, res.Changes[0].Action)
	require.EqualValues(t, 1, requests)

	f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"data":{"a.b":null,"a":"mine now"}}`)
	res, _ = f.again(t, objs, res)
	require.Equal(t, map[string]string{"a.b": "one", "a": "mine now", "c.d": "theirs"}, f.data(t), "what they gave up is ours")
	require.Equal(t, []ssa.Conflict{{".data.a", "them"}, {".data.c.d", "them"}}, res.Changes[0].Left)
}

func TestConflictsInListsAreLeft(t *testing.T) {
	f := setup(t)
	opts := f.options()
	opts.Conflicts = ssa.Leave
	objs := objects(t, app)
	prev := f.apply(t, objs, opts)
	f.patch(t, deployments, "web", "autoscaler", types.MergePatchType, `{"spec":{"replicas":5}}`, "scale")
	f.patch(t, deployments, "web", "updater", types.StrategicMergePatchType,
		`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example.com/web:2.0"}]}}}}`)
	f.patch(t, services, "web", "editor", types.JSONPatchType, `[{"op":"replace","path":"/spec/ports/0/targetPort","value":9090}]`)
	opts.Previous = prev.Entries
	res := f.apply(t, objs, opts)
	require.Equal(t, []ssa.Conflict{
		{".spec.replicas", "autoscaler"}, {`.spec.template.spec.containers[name="app"].image`, "updater"},
	}, res.Changes[4].Left)
	require.Equal(t, []ssa.Conflict{{`.spec.ports[port=80,protocol="TCP"].targetPort`, "editor"}}, res.Changes[3].Left)
	replicas, _, err := unstructured.NestedInt64(f.get(t, deployments, "web").Object, "spec", "replicas")
	require.NoError(t, err)
	require.EqualValues(t, 5, replicas)
	opts.Previous = res.Entries
	require.Equal(t, len(objs), f.apply(t, objs, opts).Count(ssa.Unchanged))
	require.Equal(t, objects(t, app), objs, "the caller's objects are as they were")
}

func TestAnotherConflictPolicyIsAnotherIntent(t *testing.T) {
	f := setup(t)
	f.existing(t, "them", `"a.b": theirs`)
	opts := f.options()
	opts.Conflicts = ssa.Leave
	res := f.apply(t, configMap(t, "", dotted), opts)
	opts.Conflicts, opts.Previous = ssa.TakeOver, res.Entries
	f.apply(t, configMap(t, "", dotted), opts)
	require.Equal(t, "one", f.data(t)["a.b"])
}
