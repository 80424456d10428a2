package kustomize_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

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
	require.Greater(t, len(dirs), 15)
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
			require.Contains(t, res.Inputs, path.Join(dir, kustomizationOf(t, root.FS(), dir)))
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
