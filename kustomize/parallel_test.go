package kustomize_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/kustomize"
)

// The schema says that containers are one value, so that a patch replaces the
// list. In a build without it, a patch merges them by name.
const foreignSchema = `{"definitions": {
 "io.k8s.api.apps.v1.Deployment": {"type": "object",
  "properties": {"spec": {"$ref": "#/definitions/mine"}},
  "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Deployment"}]},
 "mine": {"type": "object", "properties": {"template": {"type": "object"}}}}}`

func polluting(field string) map[string]string {
	return map[string]string{
		"kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n" + field,
		"d.yaml":             deployment("{name: a, image: a}, {name: b, image: b}"),
		"p.yaml":             deployment("{name: b, image: patched}"),
		"schema.json":        foreignSchema,
	}
}

func deployment(containers string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers: [" + containers + "]\n"
}

func containers(t testing.TB, res *kustomize.Result) int {
	list, found, err := unstructured.NestedSlice(res.Objects[0].Object, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	require.True(t, found)
	return len(list)
}

func TestAttackSchemaOfAnotherBuild(t *testing.T) {
	build := func(files map[string]string) int {
		res, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{})
		require.NoError(t, err)
		return containers(t, res)
	}
	require.Equal(t, 2, build(polluting("")))
	require.Equal(t, 1, build(polluting("openapi: {path: schema.json}")), "the schema must matter, or this test shows nothing")
	require.Equal(t, 2, build(polluting("")))
	require.Equal(t, 2, build(polluting("openapi: {version: v1.21.2}")))
	require.Equal(t, 2, build(polluting("")))

	nested := map[string]string{"kustomization.yaml": "resources: [base]"}
	for name, content := range polluting(`"open\u0061pi": {path: schema.json}`) {
		nested["base/"+name] = content
	}
	require.Equal(t, 1, build(nested))
	require.Equal(t, 2, build(polluting("")))

	// A build that fails while the schema is foreign must not leave it behind.
	broken := polluting("openapi: {path: schema.json}\nnameSuffix: x")
	broken["p.yaml"] = deployment("{name: b}") + "---\n" + configMap
	_, err := kustomize.Build(t.Context(), tree(broken), ".", kustomize.Options{})
	require.Error(t, err)
	require.Equal(t, 2, build(polluting("")))
}

func TestManyBuildsAtOnce(t *testing.T) {
	root, err := os.OpenRoot(corpus)
	require.NoError(t, err)
	defer root.Close()
	want := map[string][]*unstructured.Unstructured{}
	for _, dir := range overlays(t) {
		want[dir] = upstream(t, filepath.Join(corpus, dir))
	}
	plain, withSchema := tree(polluting("")), tree(polluting("openapi: {path: schema.json}"))
	group, ctx := errgroup.WithContext(t.Context())
	const rounds = 6
	for dir, objects := range want {
		group.Go(func() error {
			for range rounds {
				res, err := kustomize.Build(ctx, root.FS(), dir, kustomize.Options{})
				if err != nil {
					return err
				}
				if err := same(objects, res.Objects); err != nil {
					return fmt.Errorf("%s: %w", dir, err)
				}
			}
			return nil
		})
	}
	for range 4 {
		group.Go(func() error {
			for range rounds {
				res, err := kustomize.Build(ctx, plain, ".", kustomize.Options{})
				if err != nil {
					return err
				}
				if n := containers(t, res); n != 2 {
					return fmt.Errorf("%d containers: the schema of another build leaked", n)
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for range 3 * rounds {
			if _, err := kustomize.Build(ctx, withSchema, ".", kustomize.Options{}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, group.Wait())
}

func same(want, got []*unstructured.Unstructured) error {
	if len(want) != len(got) {
		return fmt.Errorf("%d objects, not %d", len(got), len(want))
	}
	for i := range want {
		if fmt.Sprint(want[i].Object) != fmt.Sprint(got[i].Object) {
			return fmt.Errorf("object %d differs:\n%v\n%v", i, got[i].Object, want[i].Object)
		}
	}
	return nil
}
