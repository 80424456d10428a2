package helm_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/helm"
)

func kinds(objects []*unstructured.Unstructured) []string {
	var list []string
	for _, o := range objects {
		list = append(list, o.GetKind()+" "+o.GetName())
	}
	return list
}

func TestRenderSortsObjectsHooksAndCRDs(t *testing.T) {
	c := load(t, with(map[string]string{
		"chart/crds/b.yaml":         "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: b}\n",
		"chart/crds/a.yaml":         "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n---\n",
		"chart/templates/NOTES.txt": "Hello {{ .Release.Name }}\n",
		"chart/templates/a.yaml": `
# only a comment
---
apiVersion: example.test/v1
kind: Widget
metadata: {name: w}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c2}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c1}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ns}
`,
		"chart/templates/hooks.yaml": `
apiVersion: batch/v1
kind: Job
metadata: {name: late, annotations: {helm.sh/hook: "pre-install, post-upgrade", helm.sh/hook-weight: "5"}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: early, annotations: {helm.sh/hook: test, helm.sh/hook-weight: "-5"}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: dropped, annotations: {helm.sh/hook: crd-install}}
`,
		"chart/templates/tests/empty.yaml": "{{ if false }}x{{ end }}\n",
	}))
	r, err := c.Render(t.Context(), helm.RenderOptions{ReleaseName: "rel"})
	require.NoError(t, err)
	require.Equal(t, []string{"Namespace ns", "ConfigMap c2", "ConfigMap c1", "Deployment d", "Widget w"}, kinds(r.Objects))
	require.Equal(t, []string{"Job early", "Job late"}, kinds(r.Hooks))
	require.Equal(t, []string{"CustomResourceDefinition a", "CustomResourceDefinition b"}, kinds(r.CRDs))
	require.Equal(t, "Hello rel\n", r.Notes)
	require.Empty(t, r.Objects[1].GetNamespace(), "the namespace is the applier's to give")
}

func TestRenderOptionsReachTemplates(t *testing.T) {
	const template = `
apiVersion: v1
kind: ConfigMap
data:
  v: '{{ .Release.Name }} {{ .Release.Namespace }} {{ .Release.IsInstall }} {{ .Release.IsUpgrade }} {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.APIVersions.Has "apps/v1" }} {{ .Capabilities.APIVersions.Has "example.test/v1" }} {{ .Values.a }} {{ .Chart.Version }}'
`
	for want, opts := range map[string]helm.RenderOptions{
		"demo default true false v1.37.0 true false  1.2.3": {},
		"rel prod false true v1.30.1 true true x 1.2.3": {
			ReleaseName: "rel", Namespace: "prod", IsUpgrade: true, KubeVersion: "v1.30.1",
			APIVersions: []string{"example.test/v1"}, Values: map[string]any{"a": "x"},
		},
	} {
		r, err := render(t, template, opts)
		require.NoError(t, err)
		require.Equal(t, want, r.Objects[0].Object["data"].(map[string]any)["v"])
	}
}

func TestRenderErrorsNameChartFileAndCause(t *testing.T) {
	for name, tc := range map[string]struct {
		template string
		opts     helm.RenderOptions
		want     string
	}{
		"syntax":         {"{{ if }}", helm.RenderOptions{}, "chart demo: demo/templates/a.yaml: demo/templates/a.yaml:1: missing value for if"},
		"unknown":        {"{{ nope }}", helm.RenderOptions{}, `function "nope" not defined`},
		"nil":            {"x:\n  {{ .Values.a.b }}", helm.RenderOptions{}, "demo/templates/a.yaml:2"},
		"fail":           {`{{ fail "set a" }}`, helm.RenderOptions{}, "chart demo: demo/templates/a.yaml: set a"},
		"required":       {`{{ required "set a" .Values.a }}`, helm.RenderOptions{}, "chart demo: demo/templates/a.yaml: set a"},
		"fail in tpl":    {`{{ tpl "{{ fail \"set a\" }}" . }}`, helm.RenderOptions{}, "chart demo: demo/templates/a.yaml: set a"},
		"not YAML":       {"a: [", helm.RenderOptions{}, "chart demo: demo/templates/a.yaml: document 1: it is not YAML"},
		"not an object":  {"a: 1\n---\n- a", helm.RenderOptions{}, "document 1: it has no kind"},
		"a list":         {"- a", helm.RenderOptions{}, "document 1: it is not an object"},
		"no apiVersion":  {"kind: ConfigMap", helm.RenderOptions{}, "document 1: the ConfigMap has no apiVersion"},
		"bad item":       {"apiVersion: v1\nkind: List\nitems: [{kind: A}]", helm.RenderOptions{}, "no apiVersion or no kind"},
		"bad name":       {"", helm.RenderOptions{ReleaseName: "Bad_Name"}, `release name "Bad_Name"`},
		"bad version":    {"", helm.RenderOptions{KubeVersion: "one"}, `Kubernetes version "one"`},
		"values in list": {"", helm.RenderOptions{Values: map[string]any{"a": func() {}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, tc.template, tc.opts)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "enter", "the guards do not show")
			require.True(t, terminal(err))
		})
	}
}

func TestRenderNeedsAFittingCluster(t *testing.T) {
	c := load(t, with(map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\nkubeVersion: '>=1.40.0-0'\n"}))
	_, err := c.Render(t.Context(), helm.RenderOptions{})
	require.ErrorContains(t, err, "it needs Kubernetes >=1.40.0-0, and this is v1.37.0")
	_, err = c.Render(t.Context(), helm.RenderOptions{KubeVersion: "1.41.0"})
	require.NoError(t, err)
}

func TestSchemaViolationsNameThePlaceAndHideTheValue(t *testing.T) {
	c := load(t, with(map[string]string{
		"chart/values.schema.json": `{"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
			"a": {"type": "string", "pattern": "^x"}, "b": {"type": "object", "properties": {"c": {"type": "integer"}}}, "sub": {}, "global": {}}}`,
		"chart/charts/sub/Chart.yaml":         "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
		"chart/charts/sub/values.schema.json": `{"$defs": {"n": {"type": "number"}}, "properties": {"n": {"$ref": "#/$defs/n"}}}`,
	}))
	_, err := c.Render(t.Context(), helm.RenderOptions{Values: map[string]any{"a": "x1", "b": map[string]any{"c": 1}, "sub": map[string]any{"n": 1.5}}})
	require.NoError(t, err)

	_, err = c.Render(t.Context(), helm.RenderOptions{Values: map[string]any{"a": "hunter2", "b": map[string]any{"c": "hunter2"}, "d": "hunter2"}})
	require.ErrorIs(t, err, helm.ErrValues)
	var invalid *helm.ValuesError
	require.ErrorAs(t, err, &invalid)
	require.ElementsMatch(t, []string{"/: unknown d", "/a: violates pattern", "/b/c: got string, want integer"}, invalid.Violations)
	require.NotContains(t, err.Error(), "hunter2")
	require.True(t, terminal(err))

	_, err = c.Render(t.Context(), helm.RenderOptions{Values: map[string]any{"a": "x", "sub": map[string]any{"n": "one"}}})
	require.ErrorContains(t, err, "the values of chart demo/charts/sub violate its schema at /n: got string, want number")
}

// One chart serves many releases at once, and its and the caller's values stay.
func TestRenderIsConcurrentAndChangesNothing(t *testing.T) {
	c := load(t, with(map[string]string{
		"chart/Chart.yaml":                  "apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [{name: sub, version: 1.x, alias: other, condition: other.on, import-values: [{child: x, parent: imported}]}]\n",
		"chart/values.yaml":                 "a: {b: 1}\n",
		"chart/charts/sub/Chart.yaml":       "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
		"chart/charts/sub/values.yaml":      "x: {z: from-sub}\n",
		"chart/charts/sub/templates/s.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\n",
		"chart/templates/a.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {{ set .Values.a \"c\" (.Values.imported | default dict).z | toJson }}\n",
	}))
	values := map[string]any{"other": map[string]any{"on": false}}
	first, err := c.Render(t.Context(), helm.RenderOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"ConfigMap sub", "ConfigMap demo"}, kinds(first.Objects))
	require.Equal(t, map[string]any{"b": int64(1), "c": "from-sub"}, first.Objects[1].Object["data"])

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, err := c.Render(t.Context(), helm.RenderOptions{})
			if err != nil || len(again.Objects) != 2 {
				t.Errorf("%v, %v", err, again)
			}
			without, err := c.Render(t.Context(), helm.RenderOptions{Values: values})
			if err != nil || len(without.Objects) != 1 {
				t.Errorf("%v, %v", err, without)
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[string]any{"other": map[string]any{"on": false}}, values)
	require.Equal(t, "sub", c.Dependencies()[0].Name, "the alias is for the templates only")
}

func TestRenderEndsWithItsContext(t *testing.T) {
	c := load(t, with(nil))
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	_, err := c.Render(ctx, helm.RenderOptions{})
	require.ErrorIs(t, err, stop)
	require.False(t, terminal(err))
}

func TestChartAsHelmKeepsIt(t *testing.T) {
	tree := fstest.MapFS{
		"Chart.yaml":               {Data: []byte("apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- {name: sub, version: 1.0.0}\n")},
		"values.yaml":              {Data: []byte("count: 1\n")},
		"values.schema.json":       {Data: []byte(`{"properties": {"count": {"type": "integer"}}}`)},
		"charts/sub/Chart.yaml":    {Data: []byte("apiVersion: v2\nname: sub\nversion: 1.0.0\n")},
		"templates/configmap.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {revision: \"{{ .Release.Revision }}\"}\n")},
	}
	load := func() *helm.Chart {
		c, err := helm.Load(t.Context(), tree, ".", helm.LoadOptions{})
		require.NoError(t, err)
		return c
	}
	c := load()
	require.Equal(t, c.Digest(), load().Digest())
	text, err := c.MarshalJSON()
	require.NoError(t, err)
	var kept struct {
		Metadata  struct{ Name string }
		Templates []struct{ Name string }
		Values    map[string]any
	}
	require.NoError(t, json.Unmarshal(text, &kept))
	require.Equal(t, "shop", kept.Metadata.Name)
	require.Equal(t, "templates/configmap.yaml", kept.Templates[0].Name)

	rendered, err := c.Render(t.Context(), helm.RenderOptions{Revision: 7, SkipSchema: true, Values: map[string]any{"count": "many"}})
	require.NoError(t, err)
	require.Equal(t, "shop/templates/configmap.yaml", rendered.Source(rendered.Objects[0]))
	require.Empty(t, rendered.Source(rendered.Objects[0].DeepCopy()))
	require.Equal(t, "7", rendered.Objects[0].Object["data"].(map[string]any)["revision"])
	_, err = c.Render(t.Context(), helm.RenderOptions{Values: map[string]any{"count": "many"}})
	require.ErrorIs(t, err, helm.ErrValues)

	tree["charts/sub/values.yaml"] = &fstest.MapFile{Data: []byte("a: b\n")}
	require.NotEqual(t, c.Digest(), load().Digest(), "a subchart is part of it")
}
