package kustomize_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/gitopskit/gitopskit/kustomize"
)

// FuzzBuild builds any kustomization over any resource: no crash, no hang, and
// objects that are what their JSON decodes to.
func FuzzBuild(f *testing.F) {
	for _, dir := range overlays(f) {
		text, err := os.ReadFile(filepath.Join(corpus, dir, kustomizationOf(f, os.DirFS(corpus), dir)))
		require.NoError(f, err)
		f.Add(string(text), configMap)
	}
	for _, text := range pathFields() {
		f.Add(strings.ReplaceAll(text, "%s", "x.yaml"), deployment("{name: a}"))
	}
	for _, files := range fatal() {
		f.Add(files["kustomization.yaml"], files["cm.yaml"])
	}
	odd, err := os.ReadFile(filepath.Join(corpus, "scalars/odd.yaml"))
	require.NoError(f, err)
	f.Add("resources: [x.yaml]", string(odd))
	f.Add("resources: [x.yaml]", bomb())
	f.Add("resources: [cm.yaml]\npatches: [{path: cm.yaml}]\nopenapi: {path: schema.json}", foreignSchema)
	f.Add("resources: [cm.yaml]\ncrds: [x.yaml]", multiplying(30))
	f.Fuzz(func(t *testing.T, kustomization, resource string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		fsys := fstest.MapFS{
			"kustomization.yaml": {Data: []byte(kustomization)},
			"x.yaml":             {Data: []byte(resource)},
			"cm.yaml":            {Data: []byte(resource)},
			"schema.json":        {Data: []byte(resource)},
		}
		res, err := kustomize.Build(ctx, fsys, ".", kustomize.Options{Limits: kustomize.Limits{Objects: 50, Nodes: 5000, Reads: 300}})
		require.NoError(t, ctx.Err(), "it took too long")
		if err != nil {
			require.NotContains(t, err.Error(), "@tree")
			return
		}
		for _, o := range res.Objects {
			text, err := o.MarshalJSON()
			require.NoError(t, err)
			var again map[string]any
			require.NoError(t, json.Unmarshal(text, &again))
			require.Equal(t, again, o.Object)
		}
	})
}
