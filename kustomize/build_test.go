package kustomize_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/kustomize"
)

const corpus = "testdata/corpus"

// upstream builds with kustomize itself, on the disk, and decodes its text.
func upstream(t testing.TB, dir string) []*unstructured.Unstructured {
	t.Helper()
	var m resmap.ResMap
	require.NoError(t, kustomize.Alone(t.Context(), func() (err error) {
		m, err = krusty.MakeKustomizer(&krusty.Options{
			Reorder:          krusty.ReorderOptionNone,
			LoadRestrictions: types.LoadRestrictionsNone,
			PluginConfig:     types.DisabledPluginConfig(),
		}).Run(filesys.MakeFsOnDisk(), dir)
		return err
	}))
	var objects []*unstructured.Unstructured
	for _, r := range m.Resources() {
		text, err := r.AsYAML()
		require.NoError(t, err)
		asJSON, err := yaml.YAMLToJSON(text)
		require.NoError(t, err)
		var object map[string]any
		require.NoError(t, json.Unmarshal(asJSON, &object))
		objects = append(objects, &unstructured.Unstructured{Object: object})
	}
	return objects
}

// overlays lists the directories of the corpus that can be built by themselves.
func overlays(t testing.TB) []string {
	t.Helper()
	var dirs []string
	require.NoError(t, filepath.WalkDir(corpus, func(name string, d fs.DirEntry, err error) error {
		switch filepath.Base(name) {
		case "kustomization.yaml", "kustomization.yml", "Kustomization":
			if strings.HasSuffix(name, "components/ha/kustomization.yaml") {
				return err // a component that patches what others bring
			}
			rel, relErr := filepath.Rel(corpus, filepath.Dir(name))
			require.NoError(t, relErr)
			dirs = append(dirs, filepath.ToSlash(rel))
		}
		return err
	}))
	require.Greater(t, len(dirs), 25)
	return dirs
}

func TestSameAsKustomize(t *testing.T) {
	root, err := os.OpenRoot(corpus)
	require.NoError(t, err)
	defer root.Close()
	for _, dir := range overlays(t) {
		t.Run(dir, func(t *testing.T) {
			res, err := kustomize.Build(t.Context(), root.FS(), dir, kustomize.Options{})
			require.NoError(t, err)
			require.Equal(t, upstream(t, filepath.Join(corpus, dir)), res.Objects)
			require.Contains(t, res.Inputs.Files(), path.Join(dir, kustomizationOf(t, root.FS(), dir)))
		})
	}
}

func kustomizationOf(t testing.TB, fsys fs.FS, dir string) string {
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		if _, err := fs.Stat(fsys, path.Join(dir, name)); err == nil {
			return name
		}
	}
	t.Fatal("no kustomization in " + dir)
	return ""
}

// tree makes a tree of the given files.
func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func TestGenerated(t *testing.T) {
	cm := func(name string) string { return strings.ReplaceAll(configMap, "settings", name) }
	fsys := tree(map[string]string{
		"app/a.yaml":                    cm("a"),
		"app/b.yml":                     cm("b"),
		"app/notes.txt":                 "not YAML: [",
		"app/values.json":               "{}",
		"app/.github/workflows/ci.yaml": "on: push",
		"app/.sops.yaml":                "creation_rules: []",
		"app/sub/deep/c.yaml":           cm("c"),
		"app/sub/empty.txt":             "",
		"app/over/kustomization.yml":    "namePrefix: over-\nresources: [../../base]",
		"app/over/ignored.yaml":         cm("ignored"),
		"app/github.com/x/d.yaml":       cm("d"),
		"base/kustomization.yaml":       "resources: [base.yaml]",
		"base/base.yaml":                cm("base"),
		"shared/e.yaml":                 cm("e"),
	})
	fsys["app/link.yaml"] = &fstest.MapFile{Data: []byte("../shared/e.yaml"), Mode: fs.ModeSymlink}
	fsys["app/twice.yaml"] = &fstest.MapFile{Data: []byte("a.yaml"), Mode: fs.ModeSymlink}
	res, err := kustomize.Build(t.Context(), fsys, "app", kustomize.Options{})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b", "c", "over-base", "d", "e"}, names(res))
	require.NotContains(t, res.Inputs.Files(), "app/kustomization.yaml", "it does not exist")
	require.Contains(t, res.Inputs.Files(), "base/base.yaml")

	again, err := kustomize.Build(t.Context(), fsys, "./app/", kustomize.Options{TargetNamespace: "prod"})
	require.NoError(t, err)
	require.Equal(t, names(res), names(again))
	for _, o := range again.Objects {
		require.Equal(t, "prod", o.GetNamespace())
	}
}

func TestNothingToBuild(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no YAML":      {"README.md": "x"},
		"no resources": {"kustomization.yaml": "namespace: x"},
		"empty file":   {"empty.yaml": "# nothing\n---\n"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := kustomize.Build(t.Context(), tree(files), "", kustomize.Options{TargetNamespace: "x"})
			require.NoError(t, err)
			require.Empty(t, res.Objects)
		})
	}
}

func TestTargetNamespace(t *testing.T) {
	root, err := os.OpenRoot(corpus)
	require.NoError(t, err)
	defer root.Close()
	clusterWide := []string{"Namespace", "ClusterRoleBinding", "ValidatingWebhookConfiguration", "CustomResourceDefinition", "APIService", "PersistentVolume"}
	for _, dir := range overlays(t) {
		t.Run(dir, func(t *testing.T) {
			plain, err := kustomize.Build(t.Context(), root.FS(), dir, kustomize.Options{})
			require.NoError(t, err)
			moved, err := kustomize.Build(t.Context(), root.FS(), dir, kustomize.Options{TargetNamespace: "moved"})
			require.NoError(t, err)
			require.Equal(t, plain.Inputs.All(), moved.Inputs.All())
			require.Len(t, moved.Objects, len(plain.Objects))
			for i, o := range moved.Objects {
				require.Equal(t, plain.Objects[i].GetKind(), o.GetKind(), "the order must not change")
				if slices.Contains(clusterWide, o.GetKind()) {
					require.Empty(t, o.GetNamespace())
				} else {
					require.Equal(t, "moved", o.GetNamespace(), o.GetKind())
				}
			}
		})
	}
}

// A broken overlay is one clear sentence that names the file.
func TestBroken(t *testing.T) {
	base := map[string]string{"base/kustomization.yaml": "resources: [cm.yaml]", "base/cm.yaml": configMap}
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"missing directory": {nil, "kustomize: app: the tree has no such directory; check the path: file does not exist"},
		"file as directory": {map[string]string{"app": "x"}, "kustomize: app: a build needs a directory, and this is a file"},
		"missing file": {
			map[string]string{"app/kustomization.yaml": "resources: [nope.yaml]"},
			`kustomize: app/kustomization.yaml: resources[0]: "nope.yaml" does not exist`,
		},
		"missing patch in a base": {
			map[string]string{"app/kustomization.yaml": "resources: [../mid]", "mid/kustomization.yaml": "resources: [../base]\npatches: [{path: nope.yaml}]"},
			`kustomize: mid/kustomization.yaml: patches[0].path: "nope.yaml" does not exist`,
		},
		"missing generator source": {
			map[string]string{"app/kustomization.yaml": "configMapGenerator: [{name: x, files: [k=nope.txt]}]"},
			`kustomize: app/kustomization.yaml: configMapGenerator[0].files[0]: "nope.txt" does not exist`,
		},
		"directory without kustomization": {
			map[string]string{"app/kustomization.yaml": "resources: [../dir]", "dir/x.txt": ""},
			"kustomize: build app: couldn't make target for path 'dir': unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory 'dir' (the last file read was app/kustomization.yaml)",
		},
		"not YAML": {
			map[string]string{"app/kustomization.yaml": "resources: [x.yaml]", "app/x.yaml": "a: [b\nc: d"},
			"kustomize: app/x.yaml: yaml: line 1: did not find expected ',' or ']'",
		},
		"kustomization is not YAML": {
			map[string]string{"app/kustomization.yaml": "resources: [x"},
			"kustomize: build app: invalid Kustomization: yaml: line 1: did not find expected ',' or ']' (the last file read was app/kustomization.yaml)",
		},
		"unknown field": {
			map[string]string{"app/kustomization.yaml": "resource: [x]"},
			`kustomize: build app: invalid Kustomization: json: unknown field "resource" (the last file read was app/kustomization.yaml)`,
		},
		"not an object": {
			map[string]string{"app/values.yaml": "replicas: 3\n"},
			"kustomize: app/values.yaml: document 1: it is not a Kubernetes object: it has no kind",
		},
		"no name": {
			map[string]string{"app/x.yaml": configMap + "---\nkind: Pod\napiVersion: v1\n"},
			"kustomize: app/x.yaml: document 2: the Pod has no metadata.name",
		},
		"patch without target": {
			map[string]string{"app/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]", "app/p.yaml": strings.ReplaceAll(configMap, "settings", "other")},
			`kustomize: build app: no resource matches strategic merge patch "ConfigMap.v1.[noGrp]/other.[noNs]": no matches for Id ConfigMap.v1.[noGrp]/other.[noNs]; failed to find unique target for patch ConfigMap.v1.[noGrp]/other.[noNs] (the last file read was app/p.yaml)`,
		},
		"same object twice": {
			map[string]string{"app/a.yaml": configMap, "app/b.yaml": configMap},
			"kustomize: build app: merging resources from './b.yaml': may not add resource with an already registered id: ConfigMap.v1.[noGrp]/settings.[noNs] (the last file read was app/b.yaml)",
		},
		"key twice": {
			map[string]string{"app/x.yaml": configMap + "kind: Pod\n"},
			`kustomize: app/x.yaml: document 1: line 5: key "kind" is there twice`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := tree(base)
			maps.Copy(fsys, tree(tt.files))
			_, err := kustomize.Build(t.Context(), fsys, "app", kustomize.Options{})
			require.EqualError(t, err, tt.want)
			require.NotContains(t, err.Error(), "@tree")
			terminal, ok := errors.AsType[interface {
				error
				Terminal() bool
			}](err)
			require.True(t, ok && terminal.Terminal())
		})
	}
}

func TestErrorsOfTheTreeAreNotTerminal(t *testing.T) {
	broken := errors.New("connection lost")
	files := tree(map[string]string{"kustomization.yaml": "resources: [cm.yaml, base]", "cm.yaml": configMap, "base/kustomization.yaml": "namespace: x"})
	for _, name := range []string{"kustomization.yaml", "cm.yaml", "base/kustomization.yaml"} {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.Build(t.Context(), failing{files, name, broken}, ".", kustomize.Options{})
			require.ErrorIs(t, err, broken)
			_, terminal := errors.AsType[interface {
				error
				Terminal() bool
			}](err)
			require.False(t, terminal, "%v", err)
		})
	}
}

// failing cannot read one of its files.
type failing struct {
	fstest.MapFS
	name string
	err  error
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, f.err
	}
	return f.MapFS.Open(name)
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := kustomize.Build(ctx, tree(map[string]string{"cm.yaml": configMap}), ".", kustomize.Options{})
	require.ErrorIs(t, err, context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	fsys := tree(map[string]string{"kustomization.yaml": "resources: [a.yaml, b.yaml]", "a.yaml": configMap, "b.yaml": configMap})
	_, err = kustomize.Build(ctx, onOpen{fsys, func(name string) {
		if name == "a.yaml" {
			cancel()
		}
	}}, ".", kustomize.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

// onOpen calls f with the name of each file that is opened.
type onOpen struct {
	fstest.MapFS
	f func(name string)
}

func (o onOpen) Open(name string) (fs.File, error) {
	o.f(name)
	return o.MapFS.Open(name)
}

// Waiting for the gate ends with the context.
func TestContextWhileWaiting(t *testing.T) {
	err := kustomize.Alone(t.Context(), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := kustomize.Build(ctx, tree(map[string]string{"cm.yaml": configMap}), ".", kustomize.Options{})
		return err
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// What a build returns must be the caller's own.
func TestResultsShareNothing(t *testing.T) {
	fsys := tree(map[string]string{"cm.yaml": configMap})
	one, err := kustomize.Build(t.Context(), fsys, ".", kustomize.Options{})
	require.NoError(t, err)
	one.Objects[0].SetLabels(map[string]string{"a": "b"})
	two, err := kustomize.Build(t.Context(), fsys, ".", kustomize.Options{})
	require.NoError(t, err)
	require.Empty(t, two.Objects[0].GetLabels())
}
