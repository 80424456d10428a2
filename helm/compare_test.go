package helm_test

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/helm"
)

// wide is a chart that uses much of what Helm has.
func wide(t *testing.T) map[string]string {
	library := map[string]string{
		"lib/Chart.yaml":           "apiVersion: v2\nname: lib\nversion: 0.1.0\ntype: library\n",
		"lib/values.yaml":          "unused: true\n",
		"lib/templates/_names.tpl": `{{ define "lib.name" }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 }}{{ end }}`,
		"lib/templates/never.yaml": "{{ fail \"a library renders nothing\" }}",
	}
	return map[string]string{
		"chart/Chart.yaml": `
apiVersion: v2
name: wide
version: 1.0.0-rc.1+build
appVersion: "1.0"
kubeVersion: ">=1.20.0-0"
dependencies:
- {name: lib, version: 0.x}
- {name: sub, version: ^1.0.0, alias: first, condition: first.enabled, tags: [all], import-values: [{child: exported, parent: imported}, data]}
- {name: sub, version: ^1.0.0, alias: second, condition: "nothing,second.enabled"}
- {name: tagged, version: "*", tags: [off]}
`,
		"chart/values.yaml": `
global: {region: eu, nested: {a: 1}}
image: {tag: null, name: app}
list: [1, 2.5, "3", true]
gone: {a: 1, b: 2}
tags: {off: false, all: true}
second: {enabled: true, size: 7}
first: {nullified: null}
template: "{{ .Release.Name }}-{{ include \"lib.name\" . }}"
big: 12345678901
`,
		"chart/values.schema.json":             `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"list": {"type": "array"}}}`,
		"chart/.helmignore":                    "*.orig\n/ignored\n",
		"chart/ignored/x":                      "x",
		"chart/templates/cm.yaml.orig":         "{{ broken",
		"chart/files/a.txt":                    "one\ntwo\n",
		"chart/files/sub/b.bin":                "\x00\x01binary",
		"chart/crds/crd.yaml":                  "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.test}\n",
		"chart/charts/lib-0.1.0.tgz":           packed(t, library),
		"chart/charts/sub/Chart.yaml":          "apiVersion: v2\nname: sub\nversion: 1.2.0\n",
		"chart/charts/sub/values.yaml":         "size: 1\nnullified: here\nexported: {color: blue}\nexports: {data: {shape: round}}\n",
		"chart/charts/sub/crds/crd.yaml":       "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.test}\n",
		"chart/charts/sub/templates/all.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include \"lib.name\" . }}}\ndata:\n  v: {{ .Values | toJson | quote }}\n  root: {{ .Chart.IsRoot | quote }}\n  path: {{ .Template.Name }} {{ .Template.BasePath }}\n",
		"chart/charts/sub/templates/NOTES.txt": "not shown",
		"chart/charts/tagged/Chart.yaml":       "apiVersion: v1\nname: tagged\nversion: 0.1.0\n",
		"chart/charts/tagged/templates/x.yaml": "{{ fail \"switched off\" }}",
		"chart/templates/_helpers.tpl":         `{{- define "labels" -}}app: {{ .Chart.Name }}{{ "\n" }}version: {{ .Chart.Version | replace "+" "_" }}{{- end -}}`,
		"chart/templates/NOTES.txt":            "{{ .Release.Name }} in {{ .Release.Namespace }}: {{ .Values.missing }}\n",
		"chart/templates/a-deploy.yaml": `
{{- range $i, $name := list "web" "api" }}
---
# {{ $name }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "lib.name" $ }}-{{ $name }}
  labels: {{- include "labels" $ | nindent 4 }}
spec:
  replicas: {{ add $i 1 }}
  template: {metadata: {annotations: {sum: {{ $.Files.Get "files/a.txt" | sha256sum }}}}}
{{- end }}
`,
		"chart/templates/b-config.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data:
{{ (.Files.Glob "files/*.txt").AsConfig | indent 2 }}
  lines: {{ .Files.Lines "files/a.txt" | join "," }}
  tpl: {{ tpl .Values.template . }}
  values: {{ .Values | toJson | quote }}
  imported: {{ .Values.imported.color }} {{ .Values.shape }}
  missing: "{{ .Values.nothing }}{{ .Values.image.tag }}"
  yaml: {{ toYaml .Values.list | quote }}
  pretty: {{ toYamlPretty .Values.global | quote }}
  toml: {{ toToml .Values.global | quote }}
  from: {{ list (fromYaml "a: [1") (fromYaml "a: 1") (fromJsonArray "[1") (fromJson "{}") (fromToml "a = 1") (fromYamlArray "- 1") | toJson | quote }}
  caps: {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.APIVersions.Has "example.test/v1" }} {{ .Capabilities.HelmVersion.Version }}
  release: {{ .Release | toJson | quote }}
  sub: {{ .Subcharts.second.Values.size }} {{ .Values.second.size }}
  lookup: {{ (lookup "v1" "Secret" "a" "b") | default "none" }}{{ getHostByName "localhost" }}
  loop: "{{ range until 10 }}{{ if eq . 5 }}{{ continue }}{{ end }}{{ if gt . 7 }}{{ break }}{{ end }}{{ . }}{{ else }}empty{{ end }}{{ range list }}{{ else }}empty{{ end }}"
  sized: {{ list (seq 1 2 7) (untilStep 10 0 -3) (repeat 3 "ab") (until -3) ("a\nb" | indent 2) ("a\nb" | nindent 2) (replace "a" "bb" "banana") | toJson | quote }}
  number: {{ .Values.big }} {{ .Values.big | int64 }}
  kinds: {{ kindOf .Values }} {{ typeOf .Values }} {{ kindOf .Values.list }} {{ typeOf .Chart.Metadata }} {{ typeOf .Template }}
  required: {{ required "no" .Values.image.name }}
  defined: {{ tpl "{{ define \"inner\" }}in{{ end }}{{ include \"inner\" . }}" . }}
---
apiVersion: v1
kind: Secret
metadata: {name: binary}
data:
{{ (.Files.Glob "files/**.bin").AsSecrets | indent 2 }}
`,
		"chart/templates/c-others.yaml": `
apiVersion: example.test/v1
kind: Widget
metadata: {name: w, namespace: elsewhere}
spec: {big: 12345678901, float: 1.50, octal: 0o17, on: yes, date: 2020-01-01}
---
{{ if .Capabilities.APIVersions.Has "nothing/v1" }}
apiVersion: v1
kind: Never
{{ end }}
---
apiVersion: v1
kind: Namespace
metadata: {name: extra}
`,
		"chart/templates/hooks/job.yaml": `
apiVersion: batch/v1
kind: Job
metadata: {name: b, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: "2"}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: a, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "2"}}
---
apiVersion: v1
kind: Pod
metadata: {name: first, annotations: {helm.sh/hook: test, helm.sh/hook-weight: "-1"}}
---
apiVersion: v1
kind: Pod
metadata: {name: unknown, annotations: {helm.sh/hook: someday}}
`,
	}
}

// Our own engine stands beside Helm's: what an installation would send is what
// is rendered.
func TestRendersWhatHelmInstalls(t *testing.T) {
	created := filepath.Join(t.TempDir(), "created")
	require.NoError(t, os.MkdirAll(created, 0o755))
	_, err := chartutil.Create("chart", created)
	require.NoError(t, err)

	wideDir := t.TempDir()
	require.NoError(t, os.CopyFS(wideDir, tree(wide(t))))

	for name, tc := range map[string]struct {
		dir  string
		opts helm.RenderOptions
	}{
		"helm create":         {created, helm.RenderOptions{ReleaseName: "rel", Namespace: "prod"}},
		"helm create, values": {created, helm.RenderOptions{ReleaseName: "rel", Namespace: "prod", Values: map[string]any{"ingress": map[string]any{"enabled": true}, "autoscaling": map[string]any{"enabled": true}}}},
		"wide":                {wideDir, helm.RenderOptions{ReleaseName: "rel", Namespace: "prod", KubeVersion: "1.36.1", APIVersions: []string{"example.test/v1"}}},
		"wide, upgrade": {wideDir, helm.RenderOptions{ReleaseName: "rel", Namespace: "prod", IsUpgrade: true, Values: map[string]any{
			"gone": nil, "image": map[string]any{"name": "other"}, "list": []any{"x"}, "first": map[string]any{"enabled": false},
			"global": map[string]any{"region": nil, "nested": map[string]any{"b": 2}}, "second": map[string]any{"size": 9, "new": map[string]any{"k": nil}},
			"imported": map[string]any{"color": "mine"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := helm.Load(t.Context(), os.DirFS(tc.dir), "chart", helm.LoadOptions{})
			require.NoError(t, err)
			ours, err := c.Render(t.Context(), tc.opts)
			require.NoError(t, err)
			theirs := install(t, filepath.Join(tc.dir, "chart"), tc.opts)
			require.Equal(t, contents(theirs.Objects), contents(ours.Objects))
			require.Equal(t, contents(theirs.Hooks), contents(ours.Hooks))
			require.ElementsMatch(t, contents(theirs.CRDs), contents(ours.CRDs))
			require.Equal(t, theirs.Notes, ours.Notes)
			require.NotEmpty(t, ours.Objects)
		})
	}
}

// install does what Helm's install does for a dry run without a cluster, with
// the same public packages. (Its action package would bring the modules of
// kubectl into go.mod.)
func install(t *testing.T, dir string, opts helm.RenderOptions) helm.Rendered {
	t.Helper()
	c, err := loader.LoadDir(dir)
	require.NoError(t, err)
	values := opts.Values
	if values == nil {
		values = map[string]any{}
	}
	require.NoError(t, chartutil.ProcessDependenciesWithMerge(c, values))

	capabilities := chartutil.DefaultCapabilities.Copy()
	version := opts.KubeVersion
	if version == "" {
		version = helm.DefaultKubeVersion
	}
	kube, err := chartutil.ParseKubeVersion(version)
	require.NoError(t, err)
	capabilities.KubeVersion = *kube
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), opts.APIVersions...)
	top, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{
		Name: opts.ReleaseName, Namespace: opts.Namespace, Revision: 1, IsInstall: !opts.IsUpgrade, IsUpgrade: opts.IsUpgrade,
	}, capabilities)
	require.NoError(t, err)
	files, err := engine.Render(c, top)
	require.NoError(t, err)

	rendered := helm.Rendered{Notes: files[c.Name()+"/templates/NOTES.txt"]}
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, "NOTES.txt") })
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	require.NoError(t, err)
	for _, m := range manifests {
		rendered.Objects = append(rendered.Objects, split(t, m.Content)...)
	}
	// The order in which Helm runs them.
	slices.SortStableFunc(hooks, func(a, b *release.Hook) int {
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Name, b.Name))
	})
	for _, hook := range hooks {
		rendered.Hooks = append(rendered.Hooks, split(t, hook.Manifest)...)
	}
	for _, crd := range c.CRDObjects() {
		rendered.CRDs = append(rendered.CRDs, split(t, string(crd.File.Data))...)
	}
	return rendered
}

func split(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	docs := releaseutil.SplitManifests(text)
	names := releaseutil.BySplitManifestsOrder(slices.Collect(maps.Keys(docs)))
	sort.Sort(names)
	var list []*unstructured.Unstructured
	for _, name := range names {
		data, err := yaml.YAMLToJSON([]byte(docs[name]))
		require.NoError(t, err)
		if string(data) == "null" {
			continue
		}
		u := &unstructured.Unstructured{}
		require.NoError(t, u.UnmarshalJSON(data))
		list = append(list, u)
	}
	return list
}

func contents(list []*unstructured.Unstructured) []string {
	var all []string
	for _, u := range list {
		data, err := yaml.Marshal(u.Object)
		if err != nil {
			data = []byte(err.Error())
		}
		all = append(all, strings.TrimSpace(string(data)))
	}
	return all
}
