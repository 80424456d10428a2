package ssa_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/ssa"
)

func (f *fixture) replicas(t *testing.T) int64 {
	t.Helper()
	n, _, err := unstructured.NestedInt64(f.get(t, deployments, "web").Object, "spec", "replicas")
	require.NoError(t, err)
	return n
}

func rule(mode ssa.IgnoreMode, pointers ...string) []ssa.IgnoreRule {
	return []ssa.IgnoreRule{{Target: ssa.IgnoreTarget{Group: "apps", Kind: "Deployment", Name: "w*"}, Pointers: pointers, Mode: mode}}
}

func TestStrippedFieldsAreNeverSent(t *testing.T) {
	f := setup(t)
	opts := f.options()
	opts.Ignore = rule("", "/spec/replicas", "/spec/template/spec/containers/1", "/spec/no/such/field", "/spec/selector/matchLabels/app/deeper", "/spec/template/spec/containers/9")
	objs := objects(t, app)
	res := f.apply(t, objs, opts)
	require.EqualValues(t, 1, f.replicas(t), "the server's default")
	containers, _, err := unstructured.NestedSlice(f.get(t, deployments, "web").Object, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	require.Len(t, containers, 1)
	require.Equal(t, objects(t, app), objs)

	opts.Previous = res.Entries
	require.Equal(t, len(objs), f.apply(t, objs, opts).Count(ssa.Unchanged))
	opts.Ignore = nil
	require.Equal(t, ssa.Configured, actions(f.apply(t, objs, opts))["Deployment/web"], "another rule is another intent")
	require.EqualValues(t, 2, f.replicas(t))
}

func TestAdoptedFieldsAreSentOnce(t *testing.T) {
	f := setup(t)
	opts := f.options()
	opts.Ignore = rule(ssa.Adopt, "/spec/replicas", "/spec/template/spec/containers/1/image")
	objs := objects(t, app)
	res := f.apply(t, objs, opts)
	require.EqualValues(t, 2, f.replicas(t))
	opts.Previous = res.Entries
	require.Equal(t, len(objs), f.apply(t, objs, opts).Count(ssa.Unchanged))

	f.patch(t, deployments, "web", "autoscaler", types.MergePatchType, `{"spec":{"replicas":5}}`, "scale")
	f.patch(t, deployments, "web", "updater", types.StrategicMergePatchType,
		`{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"example.com/side:2.0"}]}}}}`)
	res = f.apply(t, objs, opts)
	require.Equal(t, ssa.Unchanged, actions(res)["Deployment/web"], "theirs, and nothing to write")
	require.EqualValues(t, 5, f.replicas(t))

	require.NoError(t, unstructured.SetNestedField(objs[4].Object, int64(9), "spec", "minReadySeconds"))
	require.NoError(t, unstructured.SetNestedField(objs[4].Object, int64(3), "spec", "replicas"))
	opts.Previous = res.Entries
	res = f.apply(t, objs, opts)
	require.Equal(t, ssa.Configured, actions(res)["Deployment/web"])
	require.Empty(t, res.Changes[4].Drift)
	live := f.get(t, deployments, "web")
	require.EqualValues(t, 5, f.replicas(t))
	containers, _, err := unstructured.NestedSlice(live.Object, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	require.Equal(t, "example.com/side:2.0", containers[1].(map[string]any)["image"])

	require.NoError(t, f.others.Resource(deployments).Namespace(f.ns).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	opts.Previous = res.Entries
	f.apply(t, objs, opts)
	require.EqualValues(t, 3, f.replicas(t), "created anew with all fields")
}

// Nobody else owns the field: it stays as it is, although the set says otherwise.
func TestAdoptedFieldsOfOursStay(t *testing.T) {
	f := setup(t)
	prev := f.apply(t, objects(t, app), f.options())
	objs := objects(t, app)
	require.NoError(t, unstructured.SetNestedField(objs[4].Object, int64(7), "spec", "replicas"))
	require.NoError(t, unstructured.SetNestedField(objs[4].Object, int64(9), "spec", "minReadySeconds"))
	for _, previous := range []*ssa.Result{prev, {}} {
		opts := f.options()
		opts.Ignore, opts.Previous = rule(ssa.Adopt, "/spec/replicas"), previous.Entries
		f.apply(t, objs, opts)
		require.EqualValues(t, 2, f.replicas(t))
	}
}

func TestIgnoreTargets(t *testing.T) {
	for name, tt := range map[string]struct {
		target ssa.IgnoreTarget
		hit    bool
	}{
		"everything":        {ssa.IgnoreTarget{}, true},
		"core group":        {ssa.IgnoreTarget{Group: "core"}, true},
		"another group":     {ssa.IgnoreTarget{Group: "apps"}, false},
		"kind":              {ssa.IgnoreTarget{Kind: "ConfigMap"}, true},
		"another kind":      {ssa.IgnoreTarget{Kind: "Secret"}, false},
		"labels":            {ssa.IgnoreTarget{Labels: "app in (web, api)"}, true},
		"other labels":      {ssa.IgnoreTarget{Labels: "app!=web"}, false},
		"pattern":           {ssa.IgnoreTarget{Name: "sett?ngs*", Namespace: "t-*"}, true},
		"another name":      {ssa.IgnoreTarget{Name: "settings-"}, false},
		"another namespace": {ssa.IgnoreTarget{Namespace: "default"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			opts := f.options()
			opts.Ignore = []ssa.IgnoreRule{{Target: tt.target, Pointers: []string{"/data/colour"}}}
			f.apply(t, objects(t, app)[:1], opts)
			data, _, err := unstructured.NestedStringMap(f.get(t, configMaps, "settings").Object, "data")
			require.NoError(t, err)
			require.Equal(t, tt.hit, data["colour"] == "")
		})
	}
}

func TestMalformedIgnoreRules(t *testing.T) {
	f := setup(t)
	many := make([]ssa.IgnoreRule, 101)
	for i := range many {
		many[i] = ssa.IgnoreRule{Pointers: []string{"/a"}}
	}
	for says, rules := range map[string][]ssa.IgnoreRule{
		`pointer "spec": it must begin with a slash`: rule("", "/a", "spec"),
		`pointer "/a~2": a ~ must be written`:        rule("", "/a~2"),
		"it is longer than 1024 bytes":               rule("", "/"+strings.Repeat("a", 1024)),
		"it has 101 pointers":                        rule("", strings.Split(strings.Repeat("/a ", 101), " ")[:101]...),
		"it has 0 pointers":                          rule(""),
		"there are 101 rules":                        many,
		`its mode is "x"`:                            rule("x", "/a"),
		"its label selector is malformed":            {{Target: ssa.IgnoreTarget{Labels: "a in"}, Pointers: []string{"/a"}}},
		"its pattern":                                {{Target: ssa.IgnoreTarget{Name: "[a"}, Pointers: []string{"/a"}}},
		`pointer "/metadata/name"`:                   rule("", "/metadata/name"),
		`pointer "/kind"`:                            rule("", "/kind"),
		`pointer "/metadata"`:                        rule("", "/metadata"),
		`pointer "/metadata/labels"`:                 rule("", "/metadata/labels"),
		`pointer "/metadata/labels/gitopskit.dev~1owner": the field says which object it is`: rule("", "/metadata/labels/gitopskit.dev~1owner"),
		`pointer "": it must`: rule("", ""),
	} {
		opts := f.options()
		opts.Ignore = rules
		_, err := f.applier.Apply(t.Context(), objects(t, app), opts)
		var malformed *ssa.IgnoreRuleError
		if says == `pointer "": it must` {
			require.ErrorAs(t, err, &malformed)
			continue
		}
		require.ErrorAs(t, err, &malformed, says)
		require.ErrorContains(t, err, says)
		require.True(t, terminal(err))
		require.Less(t, len(err.Error()), 500)
	}
}
