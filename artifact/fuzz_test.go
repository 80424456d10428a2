package artifact_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
		{{Name: "g", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}, {Name: "a"}},
		{{Name: "d", Typeflag: tar.TypeDir}, {Name: "d/a"}, {Name: "D/a"}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d/../l"}},
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

// FuzzUnpack holds that both ways to read an archive, and memory and disk, take
// the same archives for the same trees, and that nothing is written elsewhere.
func FuzzUnpack(f *testing.F) {
	archive, _ := pack(f, small(), artifact.PackOptions{})
	f.Add(unzip(f, archive))
	f.Add(unzip(f, tarball(f, &tar.Header{Name: "d/", Typeflag: tar.TypeDir}, &tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../a"}, &tar.Header{Name: "a"})))
	limits := artifact.Limits{Bytes: 1 << 20, Entries: 50, NameLength: 200, Depth: 10}
	f.Fuzz(func(t *testing.T, raw []byte) {
		zipped := zip(raw)
		top := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(top, "root"), 0o700))
		root, err := os.OpenRoot(filepath.Join(top, "root"))
		require.NoError(t, err)
		defer root.Close()
		tree, openErr := artifact.Open(t.Context(), bytes.NewReader(zipped), artifact.OpenOptions{Limits: limits, SpillDir: top, Memory: 1})
		sum, err := artifact.Unpack(t.Context(), bytes.NewReader(zipped), root, artifact.UnpackOptions{Dir: "x", Limits: limits})
		outside, readErr := os.ReadDir(top)
		require.NoError(t, readErr)
		require.Len(t, outside, 1)
		if errors.Is(err, syscall.ENAMETOOLONG) {
			return // a name that memory can hold
		}
		require.Equal(t, openErr == nil, err == nil, "%v and %v", openErr, err)
		inside, readErr := fs.ReadDir(root.FS(), ".")
		require.NoError(t, readErr)
		if err != nil {
			require.Empty(t, inside)
			return
		}
		require.Len(t, inside, 1)
		_, packed := pack(t, tree, artifact.PackOptions{})
		require.Equal(t, packed.ContentDigest, sum.ContentDigest)
		require.NoError(t, tree.(io.Closer).Close())
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
