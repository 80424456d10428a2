package ssa_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// What a set of ten thousand objects costs that nobody touched.
func BenchmarkApplyUnchanged(b *testing.B) {
	plane := testplane.Small(b)
	var m meter.Meter
	cfg := plane.Config()
	cfg.Wrap(m.Wrap)
	applier, err := ssa.New(cfg, ssa.Options{Manager: "kit", Concurrency: 32})
	require.NoError(b, err)
	opts := ssa.ApplyOptions{Owner: "bench", Namespace: testplane.Namespace(b, plane)}
	objs := configMapsOf(10_000)
	first, err := applier.Apply(b.Context(), objs, opts)
	require.NoError(b, err)
	opts.Previous = first.Entries

	before := m.Count()
	b.ReportAllocs()
	for b.Loop() {
		res, err := applier.Apply(b.Context(), objs, opts)
		require.NoError(b, err)
		require.Equal(b, len(objs), res.Count(ssa.Unchanged))
	}
	b.ReportMetric(float64(m.Count().Sub(before).Requests)/float64(b.N), "requests/op")
}

// configMapsOf makes n ConfigMaps of some 700 bytes each.
func configMapsOf(n int) []*unstructured.Unstructured {
	objs := make([]*unstructured.Unstructured, 0, n)
	for i := range n {
		data := map[string]any{}
		for j := range 10 {
			data[fmt.Sprintf("setting-%02d", j)] = fmt.Sprintf("the value of setting %d of object %d, as long as most", j, i)
		}
		objs = append(objs, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   map[string]any{"name": fmt.Sprintf("cm-%05d", i), "labels": map[string]any{"app": "bench"}},
			"data":       data,
		}})
	}
	return objs
}

// What a validation before the first change adds to a set of a thousand new objects.
func BenchmarkApplyNew(b *testing.B) {
	plane := testplane.Small(b)
	for _, validate := range []bool{false, true} {
		b.Run(fmt.Sprintf("validate=%t", validate), func(b *testing.B) {
			applier, err := ssa.New(plane.Config(), ssa.Options{Manager: "kit"})
			require.NoError(b, err)
			objs := configMapsOf(1000)
			for b.Loop() {
				opts := ssa.ApplyOptions{Owner: "bench", Namespace: testplane.Namespace(b, plane), Validate: validate}
				_, err := applier.Apply(b.Context(), objs, opts)
				require.NoError(b, err)
			}
		})
	}
}
