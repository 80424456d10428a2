package ssa_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/ssa"
)

const metadata = `{name: NAME, labels: {a: b}, annotations: {c: d}, finalizers: [example.com/a, example.com/b],
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: 0f1e2d3c-0000-4000-8000-000000000001}]}`

// Whatever of our metadata is gone or changed is drift, for kinds with a
// generation and without one.
func TestMetadataOfOursIsRestored(t *testing.T) {
	kinds := []struct {
		name string
		gvr  schema.GroupVersionResource
		text string
	}{
		{"without a generation", configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: " + metadata},
		{"with a generation", deployments, "apiVersion: apps/v1\nkind: Deployment\nmetadata: " + metadata + `
spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}`},
	}
	patches := map[string]string{
		"a label removed":                `{"metadata":{"labels":{"a":null}}}`,
		"a label changed":                `{"metadata":{"labels":{"a":"x"}}}`,
		"all labels removed":             `{"metadata":{"labels":null}}`,
		"the owner label changed":        `{"metadata":{"labels":{"gitopskit.dev/owner":"thief"}}}`,
		"an annotation removed":          `{"metadata":{"annotations":{"c":null}}}`,
		"an annotation changed":          `{"metadata":{"annotations":{"c":"x"}}}`,
		"a finalizer removed":            `{"metadata":{"finalizers":["example.com/b"]}}`,
		"all finalizers removed":         `{"metadata":{"finalizers":null}}`,
		"finalizers reordered":           `{"metadata":{"finalizers":["example.com/b","example.com/a"]}}`,
		"an owner reference removed":     `{"metadata":{"ownerReferences":null}}`,
		"an owner reference changed":     `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"thief","uid":"0f1e2d3c-0000-4000-8000-000000000001"}]}}`,
		"an owner that now controls":     `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"other","uid":"0f1e2d3c-0000-4000-8000-000000000002","controller":true}]}}`,
		"our entry in managedFields off": `{"metadata":{"managedFields":[{}]}}`,
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			f := setup(t)
			objs := objects(t, strings.ReplaceAll(kind.text, "NAME", "x"))
			prev := f.apply(t, objs, f.options())
			defer f.patch(t, kind.gvr, "x", "cleanup", types.MergePatchType, `{"metadata":{"finalizers":null}}`)
			want := f.get(t, kind.gvr, "x")
			for name, patch := range patches {
				f.patch(t, kind.gvr, "x", "somebody", types.MergePatchType, patch)
				res, _ := f.again(t, objs, prev)
				require.Equal(t, ssa.Configured, res.Changes[0].Action, name)
				if !strings.Contains(name, "managedFields") && !strings.Contains(name, "controls") {
					require.NotEmpty(t, res.Changes[0].Drift, name)
				}
				got := f.get(t, kind.gvr, "x")
				for _, field := range []string{"labels", "annotations", "finalizers"} {
					w, _, _ := unstructured.NestedFieldNoCopy(want.Object, "metadata", field)
					g, _, _ := unstructured.NestedFieldNoCopy(got.Object, "metadata", field)
					require.Equal(t, w, g, name)
				}
				require.Contains(t, got.GetOwnerReferences(), want.GetOwnerReferences()[0], name)
				prev, _ = f.again(t, objs, res)
				require.Equal(t, ssa.Unchanged, prev.Changes[0].Action, name)
			}
		})
	}
}
