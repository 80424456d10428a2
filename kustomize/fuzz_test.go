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

// FuzzOptions builds with any options: no crash, no hang, nothing from outside of
// the tree; and what was built is known again.
func FuzzOptions(f *testing.F) {
	f.Add("ns", "p-", "-s", "nginx", "2", "sha256:aa", `[{"op": "add", "path": "/spec/replicas", "value": 2}]`, "Deployment", "", "../one", "team", "a")
	f.Add("", "", "", "(", "", "", configMap, "", "a in (b)", "../../x", "a/b", "\xff")
	f.Add("", "", "", "a*", "x y", "", bomb(), ".*", "", "https://example.com", "", "")
	f.Add("", "", "", "", "", "", "$patch: delete\n"+deployment("{name: a}"), "(", "!x", "sub", "k", "v")
	f.Add("", "", "", "", "", "", repeated(40, `{"op": "copy", "from": "/spec", "path": "/spec/x%d"}`, ","), "", "", "", "", "")
	fsys := tree(app(""))
	f.Fuzz(func(t *testing.T, namespace, prefix, suffix, image, tag, digest, patch, kind, selector, component, key, value string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		opts := kustomize.Options{
			TargetNamespace: namespace, NamePrefix: prefix, NameSuffix: suffix,
			Images:         []kustomize.Image{{Name: image, NewTag: tag, Digest: digest}},
			Patches:        []kustomize.Patch{{Patch: patch, Target: &kustomize.Selector{Kind: kind, LabelSelector: selector}}, {Patch: patch}},
			Components:     []string{component},
			CommonMetadata: kustomize.CommonMetadata{Labels: map[string]string{key: value}, Annotations: map[string]string{key: value}},
			BuildMetadata:  []string{"originAnnotations"},
			Limits:         kustomize.Limits{Objects: 50, Nodes: 5000, Reads: 300},
		}
		// Each alone as well, because mostly one of them is at fault.
		for _, o := range []kustomize.Options{opts, {NamePrefix: prefix}, {Images: opts.Images}, {Patches: opts.Patches[:1]}, {Patches: opts.Patches[1:]}, {Components: opts.Components, IgnoreMissingComponents: true}} {
			res, err := kustomize.Build(ctx, fsys, "app", o)
			require.NoError(t, ctx.Err(), "it took too long")
			if err != nil {
				require.NotContains(t, err.Error(), "@tree")
				continue
			}
			same, err := res.Inputs.Unchanged(ctx, fsys, "app", o)
			require.NoError(t, err)
			require.True(t, same)
		}
	})
}

// FuzzInputs reads any text as inputs: no crash, and what can be read is written
// as it was.
func FuzzInputs(f *testing.F) {
	for _, dir := range []string{"chain/c", "everything"} {
		res, err := kustomize.Build(f.Context(), os.DirFS(corpus), dir, kustomize.Options{})
		require.NoError(f, err)
		text, err := res.Inputs.MarshalJSON()
		require.NoError(f, err)
		f.Add(text)
	}
	fsys := loaded(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		var in, again kustomize.Inputs
		if in.UnmarshalJSON(text) != nil {
			return
		}
		form, err := in.MarshalJSON()
		require.NoError(t, err)
		require.NoError(t, again.UnmarshalJSON(form))
		require.Equal(t, in.Digest(), again.Digest())
		require.Equal(t, in.All(), again.All())
		_, err = in.Unchanged(t.Context(), fsys, "everything", kustomize.Options{})
		require.NoError(t, err)
	})
}
