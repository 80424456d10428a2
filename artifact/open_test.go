package artifact_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

func open(t testing.TB, archive []byte, opts artifact.OpenOptions) fs.FS {
	t.Helper()
	tree, err := artifact.Open(t.Context(), bytes.NewReader(archive), opts)
	require.NoError(t, err)
	return tree
}

func TestOpen(t *testing.T) {
	want := small()
	archive, sum := pack(t, want, artifact.PackOptions{})
	tree := open(t, archive, artifact.OpenOptions{Digest: sum.Digest})
	for name, f := range want {
		info, err := fs.Lstat(tree, name)
		require.NoError(t, err)
		if f.Mode&fs.ModeSymlink != 0 {
			require.Equal(t, fs.ModeSymlink, info.Mode().Type())
			target, err := fs.ReadLink(tree, name)
			require.NoError(t, err)
			require.Equal(t, string(f.Data), target)
			continue
		}
		require.Equal(t, f.Mode&0o100 != 0, info.Mode()&0o100 != 0, name)
		data, err := fs.ReadFile(tree, name)
		require.NoError(t, err)
		require.Equal(t, string(f.Data), string(data))
	}
	again, _ := pack(t, tree, artifact.PackOptions{})
	require.True(t, bytes.Equal(archive, again))
}

func TestOpenedTreeIsAFileSystem(t *testing.T) {
	want := small()
	delete(want, "deploy/nothing") // a link to nothing cannot be opened, which is what the check tries
	archive, _ := pack(t, want, artifact.PackOptions{})
	var files []string
	for name := range want {
		files = append(files, name)
	}
	require.NoError(t, fstest.TestFS(open(t, archive, artifact.OpenOptions{}), files...))

	archive, _ = pack(t, fstest.MapFS{}, artifact.PackOptions{})
	require.NoError(t, fstest.TestFS(open(t, archive, artifact.OpenOptions{})))
}

func TestLinksInAnOpenedTree(t *testing.T) {
	archive, _ := pack(t, small(), artifact.PackOptions{})
	tree := open(t, archive, artifact.OpenOptions{})

	data, err := fs.ReadFile(tree, "latest/k.yaml")
	require.NoError(t, err, "through a linked directory")
	require.Equal(t, "kind: Kustomization\n", string(data))
	data, err = fs.ReadFile(tree, "deploy/overlays/up.yaml")
	require.NoError(t, err)
	require.Equal(t, "kind: Deployment\n", string(data))
	list, err := fs.ReadDir(tree, "latest")
	require.NoError(t, err)
	require.Len(t, list, 1)
	info, err := fs.Stat(tree, "latest")
	require.NoError(t, err)
	require.True(t, info.IsDir())
	require.Equal(t, "latest", info.Name())

	_, err = tree.Open("deploy/nothing")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fs.ReadLink(tree, "README.md")
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = fs.ReadFile(tree, "deploy")
	require.ErrorContains(t, err, "is a directory")
	_, err = fs.ReadDir(tree, "README.md")
	require.ErrorContains(t, err, "not a directory")

	circle, _ := pack(t, fstest.MapFS{
		"a": {Data: []byte("b"), Mode: fs.ModeSymlink}, "b": {Data: []byte("a"), Mode: fs.ModeSymlink},
	}, artifact.PackOptions{})
	_, err = open(t, circle, artifact.OpenOptions{}).Open("a")
	require.ErrorContains(t, err, "in a circle")
}

func TestReadFileGivesACopy(t *testing.T) {
	archive, _ := pack(t, small(), artifact.PackOptions{})
	tree := open(t, archive, artifact.OpenOptions{})
	one, err := fs.ReadFile(tree, "README.md")
	require.NoError(t, err)
	clear(one)
	two, err := fs.ReadFile(tree, "README.md")
	require.NoError(t, err)
	require.Equal(t, "# app\n", string(two))
}

func TestOpenedTreeIsSafeForConcurrentUse(t *testing.T) {
	archive, _ := pack(t, small(), artifact.PackOptions{})
	tree := open(t, archive, artifact.OpenOptions{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_ = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
				_, _ = fs.ReadFile(tree, name)
				_, _ = fs.Stat(tree, name)
				return err
			})
		})
	}
	wg.Wait()
}

func TestOpenChecksTheDigest(t *testing.T) {
	archive, sum := pack(t, small(), artifact.PackOptions{})
	for _, d := range []digest.Digest{
		sum.Digest,
		digest.SHA512.FromBytes(archive),
		digest.SHA384.FromBytes(archive),
		digest.NewDigestFromBytes(digest.SHA512, func() []byte { s := sha512.Sum512(archive); return s[:] }()),
	} {
		open(t, archive, artifact.OpenOptions{Digest: d})
	}

	other := digest.FromString("other")
	for name, bytes := range map[string]io.Reader{
		"another archive": bytes.NewReader(archive),
		"one bit":         bytes.NewReader(flip(archive, len(archive)/2)),
		"cut short":       bytes.NewReader(archive[:len(archive)-5]),
		"longer":          bytes.NewReader(append(slices.Clone(archive), 0)),
		"nothing":         bytes.NewReader(nil),
		"a page":          strings.NewReader("<html>502 Bad Gateway</html>"),
	} {
		t.Run(name, func(t *testing.T) {
			want := sum.Digest
			if name == "another archive" {
				want = other
			}
			_, err := artifact.Open(t.Context(), bytes, artifact.OpenOptions{Digest: want})
			digestErr, ok := errors.AsType[*artifact.DigestError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, want, digestErr.Want)
			require.NotEqual(t, want, digestErr.Got)
		})
	}
	for _, bad := range []digest.Digest{"sha256", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../../x", "sha256:ABC"} {
		_, err := artifact.Open(t.Context(), bytes.NewReader(archive), artifact.OpenOptions{Digest: bad})
		require.ErrorContains(t, err, string(bad))
	}
}

func flip(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

func TestOpenWithoutDigestKnowsAWholeArchive(t *testing.T) {
	// Every way to cut it, above all between two members, must be noticed.
	archive, _ := pack(t, fstest.MapFS{
		"a": {Data: bytes.Repeat([]byte("0123456789abcdef"), 300<<10)}, "b": {Data: make([]byte, 4096)}, "c": {},
	}, artifact.PackOptions{})
	members := pieces(archive)
	require.GreaterOrEqual(t, len(members), 3)
	for i := range members {
		cut := bytes.Join(members[:i], nil)
		_, err := artifact.Open(t.Context(), bytes.NewReader(cut), artifact.OpenOptions{})
		require.ErrorIs(t, err, artifact.ErrFormat, "%d of %d members", i, len(members))
	}
	for i := 1; i < len(archive); i += max(1, len(archive)/200) {
		_, err := artifact.Open(t.Context(), bytes.NewReader(archive[:i]), artifact.OpenOptions{})
		require.ErrorIs(t, err, artifact.ErrFormat)
	}
	for name, b := range map[string][]byte{
		"bytes behind the end":    append(slices.Clone(archive), "more"...),
		"an archive behind it":    append(slices.Clone(archive), archive...),
		"not gzip":                []byte("PK\x03\x04 and then some more"),
		"gzip of something else":  zip([]byte("hello")),
		"bad checksum of content": flip(archive, len(archive)-6),
	} {
		_, err := artifact.Open(t.Context(), bytes.NewReader(b), artifact.OpenOptions{})
		require.ErrorIs(t, err, artifact.ErrFormat, name)
	}
}

func zip(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b)
	_ = w.Close()
	return buf.Bytes()
}

func TestOpenPassesErrorsOn(t *testing.T) {
	archive, sum := pack(t, large(), artifact.PackOptions{})
	lost := errors.New("connection lost")
	r := io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), failing{lost})
	_, err := artifact.Open(t.Context(), r, artifact.OpenOptions{Digest: sum.Digest})
	require.ErrorIs(t, err, lost)

	ctx, cancel := context.WithCancel(t.Context())
	r = io.MultiReader(bytes.NewReader(archive[:1000]), calling{cancel}, bytes.NewReader(archive[1000:]))
	_, err = artifact.Open(ctx, r, artifact.OpenOptions{Digest: sum.Digest})
	require.ErrorIs(t, err, context.Canceled)
}

// calling calls a function when it is read, and is empty.
type calling struct{ f func() }

func (c calling) Read([]byte) (int, error) { c.f(); return 0, io.EOF }

func TestOpenInSmallReads(t *testing.T) {
	archive, sum := pack(t, small(), artifact.PackOptions{})
	for _, r := range []io.Reader{
		iotest.OneByteReader(bytes.NewReader(archive)), iotest.DataErrReader(bytes.NewReader(archive)), iotest.HalfReader(bytes.NewReader(archive)),
	} {
		_, err := artifact.Open(t.Context(), r, artifact.OpenOptions{Digest: sum.Digest})
		require.NoError(t, err)
	}
}

// tarball packs headers as another tool would.
func tarball(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		body := "content"
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(body))
		}
		require.NoError(t, w.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, body)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return zip(buf.Bytes())
}

// Archives of the sources that people have today: with entries for directories,
// other modes, and a first entry for the root.
func TestOpenArchivesOfOthers(t *testing.T) {
	archive := tarball(t,
		&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "0123456789"}},
		&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o750},
		&tar.Header{Typeflag: tar.TypeDir, Name: "./dir/", Mode: 0o750},
		&tar.Header{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o750},
		&tar.Header{Name: "./dir/file", Mode: 0o600, Uid: 1000, Uname: "me"},
		&tar.Header{Name: "dir/run", Mode: 0o4700},
		&tar.Header{Typeflag: tar.TypeDir, Name: "dir/empty/", Mode: 0o750},
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "dir/file", Mode: 0o777},
	)
	tree := open(t, archive, artifact.OpenOptions{})
	require.NoError(t, fstest.TestFS(tree, "dir/file", "dir/run", "dir/empty", "link"))
	info, err := fs.Stat(tree, "dir/run")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode(), "no more than the right to execute is kept")
}

func TestOpenArchiveOfGNUTar(t *testing.T) {
	tarTool, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("there is no tar to cross-check with")
	}
	dir := t.TempDir()
	writeTree(t, dir, small())
	for _, format := range []string{"gnu", "pax", "ustar", "v7"} {
		t.Run(format, func(t *testing.T) {
			args := []string{"-czf", "-", "--format=" + format, "-C", dir}
			if format == "v7" || format == "ustar" {
				args = append(args, "--exclude=*long*") // they cannot hold that name
			}
			out, err := exec.CommandContext(t.Context(), tarTool, append(args, ".")...).Output()
			require.NoError(t, err)
			tree := open(t, out, artifact.OpenOptions{})
			data, err := fs.ReadFile(tree, "deploy/app.yaml")
			require.NoError(t, err)
			require.Equal(t, "kind: Deployment\n", string(data))
		})
	}
}

func TestUnpack(t *testing.T) {
	archive, sum := pack(t, small(), artifact.PackOptions{})
	for _, dir := range []string{"", ".", "tree", "some/where/else"} {
		t.Run(dir, func(t *testing.T) {
			at := t.TempDir()
			root, err := os.OpenRoot(at)
			require.NoError(t, err)
			defer root.Close()
			got, err := artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: dir, Digest: sum.Digest})
			require.NoError(t, err)
			require.Equal(t, sum, got)
			again, _ := pack(t, os.DirFS(filepath.Join(at, dir)), artifact.PackOptions{})
			require.True(t, bytes.Equal(archive, again))

			_, err = artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: dir})
			require.ErrorIs(t, err, fs.ErrExist)
			again, _ = pack(t, os.DirFS(filepath.Join(at, dir)), artifact.PackOptions{})
			require.True(t, bytes.Equal(archive, again), "what was there is as it was, and nothing is left beside it")
		})
	}
}

// Nothing is to be seen before all of it was checked, and nothing is left behind.
func TestUnpackShowsNothingEarly(t *testing.T) {
	archive, sum := pack(t, large(), artifact.PackOptions{})
	for name, tt := range map[string]struct {
		archive []byte
		then    error
		want    digest.Digest
	}{
		"wrong digest": {archive, io.EOF, digest.FromString("x")},
		"cut short":    {archive[:len(archive)-100], io.EOF, sum.Digest},
		"lost":         {archive[:len(archive)/2], errors.New("lost"), ""},
	} {
		for _, dir := range []string{".", "tree"} {
			t.Run(name+" into "+dir, func(t *testing.T) {
				at := t.TempDir()
				root, err := os.OpenRoot(at)
				require.NoError(t, err)
				defer root.Close()
				seen := 0
				r := io.TeeReader(io.MultiReader(bytes.NewReader(tt.archive), failing{tt.then}), checking(func() {
					seen++
					list, err := os.ReadDir(at)
					require.NoError(t, err)
					for _, d := range list {
						require.True(t, strings.HasPrefix(d.Name(), ".unpack-"), d.Name())
						info, err := d.Info()
						require.NoError(t, err)
						require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
					}
				}))
				_, err = artifact.Unpack(t.Context(), r, root, artifact.UnpackOptions{Dir: dir, Digest: tt.want})
				require.Error(t, err)
				require.Greater(t, seen, 10)
				list, err := os.ReadDir(at)
				require.NoError(t, err)
				require.Empty(t, list)
			})
		}
	}
}

// checking calls a function for each write.
type checking func()

func (c checking) Write(b []byte) (int, error) { c(); return len(b), nil }

func TestUnpackRefusesDirectories(t *testing.T) {
	archive, _ := pack(t, small(), artifact.PackOptions{})
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	for _, dir := range []string{"..", "../x", "/x", "a/../../x", "a//b"} {
		_, err := artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: dir})
		require.ErrorContains(t, err, fmt.Sprintf("%q", dir))
	}
}
