package kustomize_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/kustomize"
)

// app is a directory with a kustomization, plain one without, and two components.
func app(kustomization string) map[string]string {
	manifests := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {team: a}}\n" +
		"spec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n" +
		"    spec:\n      containers: [{name: web, image: 'nginx:1.0'}, {name: log, image: fluent}]\n      volumes: [{name: c, configMap: {name: settings}}]\n"
	component := "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
	return map[string]string{
		"app/kustomization.yaml":       "resources: [web.yaml]\nconfigMapGenerator: [{name: settings, literals: [a=b]}]\n" + kustomization,
		"app/web.yaml":                 manifests,
		"plain/web.yaml":               manifests,
		"one/kustomization.yaml":       component + "commonAnnotations: {one: 'yes'}\n",
		"two/kustomization.yaml":       component + "commonAnnotations: {two: 'yes'}\n",
		"empty/nothing.txt":            "",
		"app/sub/kustomization.yaml":   component + "nameSuffix: -sub\n",
		"only/added/kustomization.yml": component + "configMapGenerator: [{name: x, literals: [a=b]}]\n",
	}
}

func built(t testing.TB, fsys fs.FS, dir string, opts kustomize.Options) []*unstructured.Unstructured {
	t.Helper()
	res, err := kustomize.Build(t.Context(), fsys, dir, opts)
	require.NoError(t, err)
	return res.Objects
}

// field returns a field of the first object; a number in a path is an index.
func field(t testing.TB, objects []*unstructured.Unstructured, at ...any) any {
	t.Helper()
	var v any = objects[0].Object
	for _, part := range at {
		switch part := part.(type) {
		case int:
			v = v.([]any)[part]
		case string:
			v = v.(map[string]any)[part]
		}
	}
	return v
}

func image(t testing.TB, objects []*unstructured.Unstructured, container int) any {
	t.Helper()
	return field(t, objects, "spec", "template", "spec", "containers", container, "image")
}

// Options are what the same fields of the kustomization would be.
func TestOptionsAreFieldsOfTheKustomization(t *testing.T) {
	merge := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n"
	for name, tt := range map[string]struct {
		before, after string // kustomization without the options, and with what they mean
		opts          kustomize.Options
	}{
		"namespace": {"namespace: old", "namespace: new", kustomize.Options{TargetNamespace: "new"}},
		"prefix":    {"namePrefix: old-", "namePrefix: new-", kustomize.Options{NamePrefix: "new-"}},
		"suffix":    {"", "nameSuffix: -new", kustomize.Options{NameSuffix: "-new"}},
		"prefix stays": {
			"namePrefix: old-", "namePrefix: old-\nnamespace: x", kustomize.Options{TargetNamespace: "x"},
		},
		"merge patch": {
			"namePrefix: p-", "namePrefix: p-\npatches: [{patch: '" + "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3}}" + "'}]",
			kustomize.Options{Patches: []kustomize.Patch{{Patch: merge}}},
		},
		"patches after its own": {
			"patches: [{patch: '[{\"op\": \"add\", \"path\": \"/spec/replicas\", \"value\": 1}]', target: {kind: Deployment}}]",
			"patches: [{patch: '[{\"op\": \"add\", \"path\": \"/spec/replicas\", \"value\": 2}]', target: {kind: Deployment}}]",
			kustomize.Options{Patches: []kustomize.Patch{{
				Patch:  `[{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2}]`,
				Target: &kustomize.Selector{Group: "app.*", Version: "v1", Kind: "Deploy.*", Name: "w[ae]b", LabelSelector: "team in (a,b)", AnnotationSelector: "!x"},
			}}},
		},
		"patch of what is not there": {
			"", "",
			kustomize.Options{Patches: []kustomize.Patch{{Patch: merge, Target: &kustomize.Selector{Kind: "Deployment", Namespace: "other"}}}},
		},
		"image absent": {"", "images: [{name: nginx, newTag: '2'}]", kustomize.Options{Images: []kustomize.Image{{Name: "nginx", NewTag: "2"}}}},
		"image merged": {
			"images: [{name: nginx, newTag: '2'}, {name: fluent, newTag: '9'}]",
			"images: [{name: nginx, newName: ghcr.io/nginx, newTag: '2'}, {name: fluent, newTag: '9'}]",
			kustomize.Options{Images: []kustomize.Image{{Name: "nginx", NewName: "ghcr.io/nginx"}}},
		},
		"tag clears digest": {
			"images: [{name: nginx, newName: x, digest: 'sha256:aa'}]", "images: [{name: nginx, newName: x, newTag: '3'}]",
			kustomize.Options{Images: []kustomize.Image{{Name: "nginx", NewTag: "3"}}},
		},
		"digest clears tag": {
			"images: [{name: nginx, newName: x, newTag: '3'}]", "images: [{name: nginx, newName: x, digest: 'sha256:aa'}]",
			kustomize.Options{Images: []kustomize.Image{{Name: "nginx", Digest: "sha256:aa"}}},
		},
		"image by name alone": {
			"images: [{name: nginx, newTag: '3'}]", "images: [{name: nginx, newTag: '3'}]",
			kustomize.Options{Images: []kustomize.Image{{Name: "nginx"}, {Name: "fluent"}}},
		},
		"components after its own": {
			"components: [../one]", "components: [../one, ../two, sub]",
			kustomize.Options{Components: []string{"../two", "./sub"}},
		},
		"components that are missing": {
			"", "components: [../two]",
			kustomize.Options{Components: []string{"../three", "../two", "none/at/all"}, IgnoreMissingComponents: true},
		},
		"build metadata": {
			"buildMetadata: [managedByLabel]", "buildMetadata: [originAnnotations, transformerAnnotations]",
			kustomize.Options{BuildMetadata: []string{"originAnnotations", "transformerAnnotations"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := built(t, tree(app(tt.after)), "app", kustomize.Options{})
			require.Equal(t, want, built(t, tree(app(tt.before)), "app", tt.opts))
		})
	}
}

// The same without a kustomization, which is then made with the options in it.
func TestOptionsWithoutAKustomization(t *testing.T) {
	fsys := tree(app(""))
	objects := built(t, fsys, "plain", kustomize.Options{
		TargetNamespace: "ns", NamePrefix: "a-", NameSuffix: "-z",
		Patches:    []kustomize.Patch{{Patch: "- {op: add, path: /spec/replicas, value: 4}", Target: &kustomize.Selector{Kind: "Deployment"}}},
		Images:     []kustomize.Image{{Name: "nginx", NewTag: "2"}},
		Components: []string{"../one"},
	})
	require.Len(t, objects, 1)
	require.Equal(t, "a-web-z", objects[0].GetName())
	require.Equal(t, "ns", objects[0].GetNamespace())
	require.Equal(t, int64(4), field(t, objects, "spec", "replicas"))
	require.Equal(t, "nginx:2", image(t, objects, 0))
	require.Equal(t, "yes", objects[0].GetAnnotations()["one"])

	require.Empty(t, built(t, fsys, "empty", kustomize.Options{TargetNamespace: "x", NamePrefix: "x"}))
	require.Len(t, built(t, fsys, "empty", kustomize.Options{Components: []string{"../only/added"}}), 1)
}

// An option that changes nothing leaves every overlay as it is, though its
// kustomization is written anew.
func TestOptionsLeaveTheRest(t *testing.T) {
	root, err := os.OpenRoot(corpus)
	require.NoError(t, err)
	defer root.Close()
	for _, dir := range overlays(t) {
		t.Run(dir, func(t *testing.T) {
			want := upstream(t, filepath.Join(corpus, dir))
			got := built(t, root.FS(), dir, kustomize.Options{Images: []kustomize.Image{{Name: "of-nobody"}}})
			for _, o := range slices.Concat(want, got) { // which names all transformers
				unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "alpha.config.kubernetes.io/transformations")
			}
			require.Equal(t, want, got)
		})
	}
}

func TestCommonMetadata(t *testing.T) {
	objects := built(t, tree(app("commonLabels: {team: b}")), "app", kustomize.Options{CommonMetadata: kustomize.CommonMetadata{
		Labels:      map[string]string{"team": "c", "owner": "me"},
		Annotations: map[string]string{"example.com/Note": "of any kind: \n"},
	}})
	require.Len(t, objects, 2)
	for _, o := range objects {
		require.Equal(t, map[string]string{"team": "c", "owner": "me"}, o.GetLabels())
		require.Equal(t, "of any kind: \n", o.GetAnnotations()["example.com/Note"])
	}
	require.Equal(t, map[string]any{"app": "web", "team": "b"}, field(t, objects, "spec", "selector", "matchLabels"))
	require.Equal(t, map[string]any{"app": "web", "team": "b"}, field(t, objects, "spec", "template", "metadata", "labels"))

	bare := built(t, tree(map[string]string{"cm.yaml": configMap}), ".", kustomize.Options{})
	require.NotContains(t, field(t, bare, "metadata"), "labels", "no metadata, no fields")
}

func TestInvalidOptions(t *testing.T) {
	long := strings.Repeat("x", 300)
	patch := func(text string, target *kustomize.Selector) kustomize.Options {
		return kustomize.Options{Patches: []kustomize.Patch{{Patch: "{apiVersion: v1, kind: X, metadata: {name: x}}"}, {Patch: text, Target: target}}}
	}
	with := func(labels, annotations map[string]string) kustomize.Options {
		return kustomize.Options{CommonMetadata: kustomize.CommonMetadata{Labels: labels, Annotations: annotations}}
	}
	images := func(i kustomize.Image) kustomize.Options { return kustomize.Options{Images: []kustomize.Image{i}} }
	for name, tt := range map[string]struct {
		opts  kustomize.Options
		field string
	}{
		"namespace":               {kustomize.Options{TargetNamespace: "Upper"}, "TargetNamespace"},
		"namespace with a slash":  {kustomize.Options{TargetNamespace: "a/b"}, "TargetNamespace"},
		"namespace with a line":   {kustomize.Options{TargetNamespace: "a\nb: c"}, "TargetNamespace"},
		"namespace too long":      {kustomize.Options{TargetNamespace: long}, "TargetNamespace"},
		"prefix too long":         {kustomize.Options{NamePrefix: long}, "NamePrefix"},
		"prefix with a slash":     {kustomize.Options{NamePrefix: "a/"}, "NamePrefix"},
		"suffix with a line":      {kustomize.Options{NameSuffix: "a\n"}, "NameSuffix"},
		"suffix of other letters": {kustomize.Options{NameSuffix: "ü"}, "NameSuffix"},
		"label key":               {with(map[string]string{"a b": "c"}, nil), "CommonMetadata.Labels"},
		"label value":             {with(map[string]string{"a": "b c"}, nil), "CommonMetadata.Labels[a]"},
		"annotation key":          {with(nil, map[string]string{"/": "c"}), "CommonMetadata.Annotations"},
		"annotation bytes":        {with(nil, map[string]string{"a": "\xff"}), "CommonMetadata.Annotations[a]"},
		"annotations too long":    {with(nil, map[string]string{"a": strings.Repeat("x", 300_000)}), "CommonMetadata.Annotations"},
		"no patch":                {patch(" \n", nil), "Patches[1].Patch"},
		"patch not YAML":          {patch("{", nil), "Patches[1].Patch"},
		"patch no object":         {patch("just text", nil), "Patches[1].Patch"},
		"JSON that is none":       {patch("[{op: remove, path: /x}]", &kustomize.Selector{}), "Patches[1].Patch"},
		"JSON patch for nobody":   {patch("- {op: remove, path: /x}", nil), "Patches[1].Target"},
		"JSON patch, empty key":   {patch("- {op: add, path: /data/, value: x}", &kustomize.Selector{}), "Patches[1].Patch"},
		"not a regular expression": {
			patch("- {op: remove, path: /x}", &kustomize.Selector{Name: "("}), "Patches[1].Target",
		},
		"not a selector":       {patch("- {op: remove, path: /x}", &kustomize.Selector{LabelSelector: "a in"}), "Patches[1].Target.LabelSelector"},
		"image without a name": {images(kustomize.Image{NewTag: "1"}), "Images[0].Name"},
		"image expression":     {images(kustomize.Image{Name: "("}), "Images[0].Name"},
		"tag with a space":     {images(kustomize.Image{Name: "a", NewTag: "1 2"}), "Images[0].NewTag"},
		"component empty":      {kustomize.Options{Components: []string{"../one", ""}}, "Components[1]"},
		"component absolute":   {kustomize.Options{Components: []string{"/one"}}, "Components[0]"},
		"component remote":     {kustomize.Options{Components: []string{"https://example.com/x"}}, "Components[0]"},
		"component outside":    {kustomize.Options{Components: []string{"../../one"}}, "Components[0]"},
		"component ignored":    {kustomize.Options{Components: []string{"../../../one"}, IgnoreMissingComponents: true}, "Components[0]"},
		"build metadata":       {kustomize.Options{BuildMetadata: []string{"originAnnotations", "x"}}, "BuildMetadata[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := onOpen{tree(app("")), func(name string) { t.Error("a tree need not be read for that: " + name) }}
			_, err := kustomize.Build(t.Context(), fsys, "app", tt.opts)
			require.ErrorAs(t, err, new(*kustomize.OptionError))
			bad := err.(interface{ Unwrap() error }).Unwrap().(*kustomize.OptionError)
			require.Equal(t, tt.field, bad.Field)
			require.True(t, bad.Terminal())
			require.Contains(t, err.Error(), "Options."+tt.field)
			require.Less(t, len(err.Error()), 700)
		})
	}
}

func TestMissingComponent(t *testing.T) {
	for component, want := range map[string]string{
		"../three": "kustomize: three: wanted by Options.Components[1]: the tree has no such directory; check the path: file does not exist",
		"web.yaml": "kustomize: app/web.yaml: wanted by Options.Components[1]: a component is a directory, and this is a file",
	} {
		_, err := kustomize.Build(t.Context(), tree(app("")), "app", kustomize.Options{Components: []string{"../one", component}})
		require.EqualError(t, err, want)
		require.ErrorAs(t, err, new(*kustomize.InputError))
	}
}

// Two kustomizations in a directory are a mistake, with options as without.
func TestOptionsOfTwoKustomizations(t *testing.T) {
	files := app("")
	files["app/Kustomization"] = "resources: [web.yaml]"
	for _, opts := range []kustomize.Options{{}, {NamePrefix: "x-"}} {
		_, err := kustomize.Build(t.Context(), tree(files), "app", opts)
		require.ErrorContains(t, err, "Found multiple kustomization files")
	}
}

// What options bring is measured as what files bring.
func TestAttackOptions(t *testing.T) {
	fsys := tree(app(""))
	for name, opts := range map[string]kustomize.Options{
		"bomb":  {Patches: []kustomize.Patch{{Patch: bomb(), Target: &kustomize.Selector{Kind: "Deployment"}}}},
		"depth": {Patches: []kustomize.Patch{{Patch: "kind: X\nmetadata: {name: x}\na: " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)}}},
		"bytes": {
			Patches: slices.Repeat([]kustomize.Patch{{Patch: "kind: X\nmetadata: {name: x}\na: " + strings.Repeat("x", 1000)}}, 1000),
			Limits:  kustomize.Limits{FileBytes: 100_000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			heap(t, 100<<20, func() {
				_, err := kustomize.Build(t.Context(), fsys, "app", opts)
				require.ErrorAs(t, err, new(*kustomize.LimitError))
			})
		})
	}
}

func TestAttackComponentLinks(t *testing.T) {
	dir := t.TempDir()
	for name, content := range app("") {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "kustomization.yaml"), []byte(app("")["one/kustomization.yaml"]), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "app/out")))
	require.NoError(t, os.Symlink("../one", filepath.Join(dir, "app/in")))
	for _, ignore := range []bool{false, true} {
		_, err := kustomize.Build(t.Context(), os.DirFS(dir), "app", kustomize.Options{Components: []string{"out"}, IgnoreMissingComponents: ignore})
		require.ErrorAs(t, err, new(*kustomize.RefusedError))
	}
	require.Len(t, built(t, os.DirFS(dir), "app", kustomize.Options{Components: []string{"in"}}), 2)
}

// Neither the options nor what they hold is changed by a build.
func TestOptionsAreNotChanged(t *testing.T) {
	metadata := kustomize.CommonMetadata{Labels: map[string]string{"a": "b"}}
	opts := kustomize.Options{
		Components: append(make([]string, 0, 8), "../one"), Images: append(make([]kustomize.Image, 0, 8), kustomize.Image{Name: "nginx", NewTag: "2"}),
		CommonMetadata: metadata, BuildMetadata: append(make([]string, 0, 8), "originAnnotations"),
	}
	want := maps.Clone(metadata.Labels)
	objects := built(t, tree(app("components: [../two]")), "app", opts)
	objects[0].SetLabels(map[string]string{"c": "d"})
	require.Equal(t, want, metadata.Labels)
	require.Equal(t, []string{"../one"}, opts.Components)
	require.Empty(t, opts.Components[:8][1])
}
