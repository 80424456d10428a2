package kustomize_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

func BenchmarkSmall(b *testing.B) {
	fsys := tree(map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap})
	b.ReportAllocs()
	for b.Loop() {
		_, err := kustomize.Build(b.Context(), fsys, ".", kustomize.Options{})
		require.NoError(b, err)
	}
}

func BenchmarkOverlay(b *testing.B) {
	fsys := os.DirFS(corpus)
	for _, dir := range []string{"patches", "everything", "openapi"} {
		b.Run(dir, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := kustomize.Build(b.Context(), fsys, dir, kustomize.Options{})
				require.NoError(b, err)
			}
		})
	}
}
