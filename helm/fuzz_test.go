package helm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm"
)

// Whatever a chart says of itself, the answer is a chart or an error that trying
// again does not cure.
func FuzzChartYAML(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", "a: &a [*a]", "name: ..", "apiVersion: v2\nname: demo\nversion: 1.0.0\n",
		"apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [null]", "apiVersion: v1\nname: demo\nversion: 1\nmaintainers: [null]",
		"apiVersion: v2\nname: sub\nversion: 1.0.0\ndependencies: [{name: sub, alias: a, version: '*', condition: 'a.b,,c', tags: [x], import-values: [x, {child: a, parent: .}, 1, null]}]",
		"apiVersion: v2\nname: demo\nversion: 1.0.0\nkubeVersion: '>= 1.0 || <'\ntype: library\n",
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, top, sub string) {
		loadAndRender(t, map[string]string{"chart/Chart.yaml": top, "chart/charts/sub/Chart.yaml": sub, "chart/templates/a.yaml": "kind: {{ .Chart.Name }}"}, nil)
	})
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", "a: 1", "a: {b: null}", "sub: 1", "sub: {global: 1}", "global: {a: {b: 1}}", "global: null", "tags: {x: 1}", "? [a]\n: b",
		"a: !!binary aGk=", "a: &a {b: *a}", "<<: {a: 1}", "a: 0x1F", "a: .nan", "other: {enabled: maybe}",
	} {
		f.Add(seed, seed, "{}")
	}
	f.Add("a: 1", "b: 2", `{"$ref": "#/x", "x": {"type": "object", "patternProperties": {"(": {}}}}`)
	f.Fuzz(func(t *testing.T, top, sub, schema string) {
		loadAndRender(t, map[string]string{
			"chart/Chart.yaml":            "apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [{name: sub, version: 1.x, alias: other, condition: other.enabled, tags: [x], import-values: [data]}]\n",
			"chart/values.yaml":           top,
			"chart/values.schema.json":    schema,
			"chart/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n", "chart/charts/sub/values.yaml": sub,
			"chart/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\ndata: {{ .Values | toJson }}",
		}, map[string]any{"sub": map[string]any{"a": 1}, "global": map[string]any{"b": map[string]any{"c": 2}}})
	})
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"", "---\n---", "kind: List\nitems: [1]", "apiVersion: v1\nkind: List\nitems: [{}]", "{{ . }}", "{{ range .Values }}{{ end }}", "{{ tpl . . }}", "a: {b: [", "- a\n---\nb",
		"{{ template \"x\" }}", "{{ define \"x\" }}{{ break }}{{ end }}", "apiVersion: v1\nkind: A\nmetadata: 1", "apiVersion: v1\nkind: A\nmetadata: {annotations: {helm.sh/hook: [1]}}",
		"{{ .Files.Glob \"[\" }}", "{{ .Release.Name.x }}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		loadAndRender(t, map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\n", "chart/templates/a.yaml": template}, nil)
	})
}

func FuzzArchive(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		loadAndRender(t, map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\n", "chart/charts/a.tgz": string(archive)}, nil)
	})
}

func loadAndRender(t *testing.T, files map[string]string, values map[string]any) {
	t.Helper()
	c, err := helm.Load(t.Context(), tree(files), "chart", helm.LoadOptions{Limits: helm.Limits{Output: 1 << 20, Bytes: 1 << 20}})
	if err == nil {
		_, err = c.Render(t.Context(), helm.RenderOptions{Values: values})
	}
	if err != nil && !terminal(err) {
		t.Fatalf("not terminal: %v", err)
	}
}

// Whatever an archive is, the answer is a chart or an error that trying again does
// not cure, and packing a chart does not change it.
func FuzzLoadArchive(f *testing.F) {
	good := packedChart(f, "demo", "1.2.3")
	f.Add(good)
	f.Add(good[:len(good)-20])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := helm.LoadArchive(t.Context(), data, helm.LoadOptions{})
		if err != nil {
			require.True(t, terminal(err), "%v", err)
			return
		}
		p, err := helm.PackArchive(t.Context(), data, helm.PackOptions{})
		require.NoError(t, err)
		again, err := helm.LoadArchive(t.Context(), p.Archive, helm.LoadOptions{})
		require.NoError(t, err)
		require.Equal(t, c.Name()+c.Version(), again.Name()+again.Version())
	})
}
