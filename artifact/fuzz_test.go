package artifact_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// FuzzOpen reads any tar stream: no crash, and a tree that packs and opens again
// to itself, inside of its bounds.
func FuzzOpen(f *testing.F) {
	archive, _ := pack(f, small(), artifact.PackOptions{})
	f.Add(unzip(f, archive))
	for _, headers := range [][]*tar.Header{
		{{Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../a"}, {Name: "a"}},
		{{Name: "x", Typeflag: tar.TypeLink, Linkname: "y"}},
		{{Name: "../x"}, {Name: "/y"}},
	} {
		f.Add(unzip(f, tarball(f, headers...)))
	}
	f.Add(block("sparse", tar.TypeGNUSparse, "00000000000", nil))
	limits := artifact.Limits{Bytes: 1 << 20, Entries: 200}
	f.Fuzz(func(t *testing.T, raw []byte) {
		zipped := zip(raw)
		tree, err := artifact.Open(t.Context(), bytes.NewReader(zipped), artifact.OpenOptions{Limits: limits})
		if err != nil {
			require.Nil(t, tree)
			return
		}
		one, sum := pack(t, tree, artifact.PackOptions{})
		again, err := artifact.Open(t.Context(), bytes.NewReader(one), artifact.OpenOptions{Digest: sum.Digest})
		require.NoError(t, err)
		two, sum2 := pack(t, again, artifact.PackOptions{})
		require.Equal(t, sum, sum2)
		require.True(t, bytes.Equal(one, two))
		require.NoError(t, fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			require.True(t, fs.ValidPath(name))
			return err
		}))
	})
}

// FuzzOpenCompressed starts one layer further out.
func FuzzOpenCompressed(f *testing.F) {
	archive, _ := pack(f, small(), artifact.PackOptions{})
	f.Add(archive)
	f.Add(zip(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = artifact.Open(t.Context(), bytes.NewReader(raw), artifact.OpenOptions{Limits: artifact.Limits{Bytes: 4 << 20}})
	})
}

func unzip(t testing.TB, archive []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	return raw
}
