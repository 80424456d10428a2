package kustomize_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

// Whatever the fast engine builds is what kustomize builds: the objects, their
// order, the types of their numbers, and the files that were read.
func TestEnginesAgree(t *testing.T) {
	root, err := os.OpenRoot(corpus)
	require.NoError(t, err)
	defer root.Close()
	fast := 0
	for _, dir := range overlays(t) {
		for _, opts := range []kustomize.Options{{}, {TargetNamespace: "moved"}} {
			got, err := kustomize.BuildFast(t.Context(), root.FS(), dir, opts)
			if err != nil {
				t.Log(dir, err)
				continue
			}
			fast++
			want, err := kustomize.BuildReference(t.Context(), root.FS(), dir, opts)
			require.NoError(t, err, dir)
			require.Equal(t, want, got, dir)
		}
	}
	require.Greater(t, fast, 20)
}

// The same for trees that nobody would write: names that refer to each other
// across namespaces, layers that rename, move, patch and generate.
func TestEnginesAgreeOnRandomTrees(t *testing.T) {
	const trees = 400
	fast, slow := 0, 0
	for seed := range uint64(trees) {
		switch sameFromBoth(t, newMaker(seed).tree()) {
		case byFast:
			fast++
		case byKustomize:
			slow++
		}
	}
	require.Greater(t, fast, trees/3, "a test of next to nothing")
	require.Less(t, slow, trees/100, "the fast engine gives up too often")
}

func FuzzEngines(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { sameFromBoth(t, newMaker(seed).tree()) })
}

// Who can build a tree: the fast engine too, or kustomize alone, or nobody.
const (
	byFast = iota
	byKustomize
	byNobody
)

func sameFromBoth(t *testing.T, files map[string]string) int {
	fsys := tree(files)
	want, wantErr := kustomize.BuildReference(t.Context(), fsys, "top", kustomize.Options{})
	got, err := kustomize.BuildFast(t.Context(), fsys, "top", kustomize.Options{})
	switch {
	case err != nil && wantErr != nil:
		return byNobody
	case err != nil:
		return byKustomize
	}
	require.NoError(t, wantErr, show(files))
	require.Equal(t, want, got, show(files))
	return byFast
}

// What the fast engine must leave to kustomize, and what comes of it.
func TestFastEngineGivesUp(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"unknown field":        {"kustomization.yaml": "resources: [cm.yaml]\nsortOptions: {order: fifo}"},
		"empty list":           {"kustomization.yaml": "resources: [cm.yaml]\ncrds: []"},
		"component alone":      {"kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources: [cm.yaml]"},
		"list of objects":      {"kustomization.yaml": "resources: [x.yaml]", "x.yaml": "kind: List\napiVersion: v1\nitems: [{kind: ConfigMap, apiVersion: v1, metadata: {name: x}}]"},
		"annotation, number":   {"kustomization.yaml": "resources: [x.yaml]", "x.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x, annotations: {a: 1}}"},
		"annotation, reserved": {"kustomization.yaml": "resources: [x.yaml]", "x.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x, annotations: {internal.config.kubernetes.io/previousNames: y}}"},
		"name, number":         {"kustomization.yaml": "resources: [x.yaml]", "x.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: 1}"},
		"label that is a bool": {"kustomization.yaml": "resources: [cm.yaml]\nlabels: [{pairs: {a: \"yes\"}}]\nbuildMetadata: [managedByLabel]"},
	} {
		t.Run(name, func(t *testing.T) {
			files["cm.yaml"] = configMap
			_, err := kustomize.BuildFast(t.Context(), tree(files), ".", kustomize.Options{})
			require.Error(t, err)
			want, err := kustomize.BuildReference(t.Context(), tree(files), ".", kustomize.Options{})
			require.NoError(t, err)
			got, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{})
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

// Errors are those of kustomize, and what the fast engine read before it gave up
// counts for no limit.
func TestErrorsAreThoseOfKustomize(t *testing.T) {
	for seed := range uint64(150) {
		fsys := tree(newMaker(seed).tree())
		for _, lim := range []kustomize.Limits{{}, {Reads: 40}, {Objects: 10}} {
			opts := kustomize.Options{Limits: lim}
			want, wantErr := kustomize.BuildReference(t.Context(), fsys, "top", opts)
			got, err := kustomize.Build(t.Context(), fsys, "top", opts)
			if wantErr == nil {
				require.NoError(t, err)
				require.Equal(t, want, got)
				continue
			}
			if err == nil && errors.As(wantErr, new(*kustomize.LimitError)) {
				continue // the fast engine looks at fewer files
			}
			require.Error(t, err)
			if strings.Contains(err.Error(), "updating name reference") {
				continue // the first of several, in the random order of a map
			}
			require.Equal(t, "kustomize: "+pointers.ReplaceAllString(wantErr.Error(), ""), pointers.ReplaceAllString(err.Error(), ""))
		}
	}
}

// pointers are what kustomize prints of some objects.
var pointers = regexp.MustCompile(`0x[0-9a-f]+`)

func show(files map[string]string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&out, "# %s\n%s\n", name, files[name])
	}
	return out.String()
}
