package ssa_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// configMap is a manifest with annotations, given as "key: value, key: value".
func configMap(t *testing.T, annotations, data string) []*unstructured.Unstructured {
	t.Helper()
	return objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, annotations: {"+annotations+"}}\ndata: {"+data+"}")
}

func (f *fixture) data(t *testing.T) map[string]string {
	t.Helper()
	m, _, err := unstructured.NestedStringMap(f.get(t, configMaps, "x").Object, "data")
	require.NoError(t, err)
	return m
}

// existing is somebody else's object of the name that configMap uses.
func (f *fixture) existing(t *testing.T, manager, data string) {
	t.Helper()
	_, err := f.others.Resource(configMaps).Namespace(f.ns).Create(t.Context(), configMap(t, "", data)[0], metav1.CreateOptions{FieldManager: manager})
	require.NoError(t, err)
}

func TestIfNotPresent(t *testing.T) {
	for _, annotation := range []string{"gitopskit.dev/apply: If-Not-Present", "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"} {
		t.Run(annotation, func(t *testing.T) {
			f := setup(t)
			first := f.apply(t, configMap(t, annotation, "a: ours"), f.options())
			require.Equal(t, ssa.Created, first.Changes[0].Action)
			f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"data":{"a":"theirs"}}`)
			res, requests := f.again(t, configMap(t, annotation, "a: changed"), first)
			require.Equal(t, ssa.Unchanged, res.Changes[0].Action)
			require.EqualValues(t, 1, requests, "one look")
			require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
			opts := f.options()
			opts.Previous, opts.Full = res.Entries, true
			require.Equal(t, ssa.Unchanged, f.apply(t, configMap(t, annotation, "a: ours"), opts).Changes[0].Action)
			require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))

			require.NoError(t, f.others.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "x", metav1.DeleteOptions{}))
			res, _ = f.again(t, configMap(t, annotation, "a: again"), res)
			require.Equal(t, ssa.Created, res.Changes[0].Action)
			require.True(t, res.Changes[0].Recreated)
			require.Equal(t, map[string]string{"a": "again"}, f.data(t))
		})
	}
	t.Run("never ours", func(t *testing.T) {
		f := setup(t)
		f.existing(t, "them", "a: theirs")
		objs := configMap(t, "gitopskit.dev/apply: if-not-present", "a: ours")
		res := f.apply(t, objs, f.options())
		require.Equal(t, ssa.Unchanged, res.Changes[0].Action)
		require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
		require.NotContains(t, f.get(t, configMaps, "x").GetLabels(), gc.OwnerLabel, "so that it is not pruned")
	})
}

func TestIgnoredObjects(t *testing.T) {
	f := setup(t)
	first := f.apply(t, configMap(t, "a: b", "a: ours"), f.options())
	for _, annotation := range []string{"gitopskit.dev/apply: ignore", "kustomize.toolkit.fluxcd.io/ssa: Ignore", "kustomize.toolkit.fluxcd.io/reconcile: Disabled"} {
		t.Run(annotation, func(t *testing.T) {
			res, requests := f.again(t, configMap(t, annotation, "a: changed"), first)
			require.Equal(t, ssa.Ignored, res.Changes[0].Action)
			require.Zero(t, requests)
			require.Equal(t, first.Entries, res.Entries, "it stays on record")
			require.Equal(t, map[string]string{"a": "ours"}, f.data(t))
			require.Empty(t, f.apply(t, configMap(t, annotation, "a: b"), f.options()).Entries, "and is not put there")
		})
	}
}

func TestAnnotationInTheClusterKeepsHandsOff(t *testing.T) {
	for _, annotation := range []string{"kustomize.toolkit.fluxcd.io/reconcile", "kustomize.toolkit.fluxcd.io/ssa", "gitopskit.dev/apply"} {
		t.Run(annotation, func(t *testing.T) {
			value := map[bool]string{true: "disabled", false: "ignore"}[strings.HasSuffix(annotation, "reconcile")]
			f := setup(t)
			prev := f.apply(t, configMap(t, "", "a: ours"), f.options())
			f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"metadata":{"annotations":{"`+annotation+`":"`+value+`"}},"data":{"a":"theirs"}}`)
			for _, full := range []bool{false, true} {
				for _, data := range []string{"a: ours", "a: changed"} {
					opts := f.options()
					opts.Previous, opts.Full = prev.Entries, full
					res := f.apply(t, configMap(t, "", data), opts)
					require.Equal(t, ssa.Ignored, res.Changes[0].Action, "%v %s", full, data)
					require.Len(t, res.Entries, 1)
					require.Equal(t, prev.Entries[0].ResourceVersion, res.Entries[0].ResourceVersion, "it stays on record as it was")
					require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
				}
			}
			f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"metadata":{"annotations":null}}`)
			res, _ := f.again(t, configMap(t, "", "a: ours"), prev)
			require.Equal(t, ssa.Configured, res.Changes[0].Action)
			require.Equal(t, map[string]string{"a": "ours"}, f.data(t))
		})
	}
}

func TestPolicyOfTheSet(t *testing.T) {
	f := setup(t)
	f.existing(t, "them", "a: theirs")
	opts := f.options()
	opts.Policy = ssa.IfNotPresent
	f.apply(t, configMap(t, "", "a: ours"), opts)
	require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
	f.apply(t, configMap(t, "gitopskit.dev/apply: override, kustomize.toolkit.fluxcd.io/ssa: Ignore", "a: ours"), opts)
	require.Equal(t, map[string]string{"a": "ours"}, f.data(t), "the object's own word counts, and our annotation before Flux's")
}

func TestUnknownPolicies(t *testing.T) {
	f := setup(t)
	for _, annotation := range []string{"gitopskit.dev/apply: ignored", "gitopskit.dev/apply: ''", "kustomize.toolkit.fluxcd.io/ssa: sometimes", "gitopskit.dev/conflicts: win"} {
		_, err := f.applier.Apply(t.Context(), configMap(t, annotation, "a: b"), f.options())
		var invalid *ssa.InvalidSetError
		require.ErrorAs(t, err, &invalid, annotation)
		require.ErrorContains(t, err, "apply ConfigMap "+f.ns+"/x: annotation "+strings.SplitN(annotation, ":", 2)[0])
		require.True(t, terminal(err))
	}
	for _, annotation := range []string{"kustomize.toolkit.fluxcd.io/force: disabled", "kustomize.toolkit.fluxcd.io/reconcile: enabled"} {
		f.apply(t, configMap(t, annotation, "a: b"), f.options())
	}
	var option *ssa.OptionError
	opts := f.options()
	opts.Policy = "x"
	_, err := f.applier.Apply(t.Context(), configMap(t, "", "a: b"), opts)
	require.ErrorAs(t, err, &option)
	opts = f.options()
	opts.Conflicts = "x"
	_, err = f.applier.Apply(t.Context(), configMap(t, "", "a: b"), opts)
	require.ErrorAs(t, err, &option)
	_, err = ssa.New(f.cfg, ssa.Options{Conflicts: "x"})
	require.ErrorAs(t, err, &option)
}
