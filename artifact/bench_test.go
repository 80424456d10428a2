package artifact_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

func BenchmarkPack(b *testing.B) {
	tree := large()
	_, sum := pack(b, tree, artifact.PackOptions{})
	b.SetBytes(sum.ContentSize)
	b.ReportAllocs()
	for b.Loop() {
		_, err := artifact.Pack(b.Context(), io.Discard, tree, artifact.PackOptions{})
		require.NoError(b, err)
	}
}

func BenchmarkOpen(b *testing.B) {
	archive, sum := pack(b, large(), artifact.PackOptions{})
	b.SetBytes(sum.ContentSize)
	b.ReportAllocs()
	for b.Loop() {
		_, err := artifact.Open(b.Context(), bytes.NewReader(archive), artifact.OpenOptions{Digest: sum.Digest})
		require.NoError(b, err)
	}
}
