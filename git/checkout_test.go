package git_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

// onDisk is a directory that a tree is written to, beside one that must stay as
// it is.
type onDisk struct {
	*os.Root
	t       *testing.T
	dir     string // that is written to
	outside string // that is not
}

func newOnDisk(t *testing.T) *onDisk {
	t.Helper()
	top := t.TempDir()
	d := &onDisk{t: t, dir: filepath.Join(top, "root"), outside: filepath.Join(top, "outside")}
	require.NoError(t, os.Mkdir(d.dir, 0o755))
	require.NoError(t, os.Mkdir(d.outside, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(d.outside, "file"), []byte("untouched"), 0o600))
	var err error
	d.Root, err = os.OpenRoot(d.dir)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, d.Close())
		entries, err := os.ReadDir(top)
		require.NoError(t, err)
		require.Len(t, entries, 2, "nothing is written beside the directory")
		entries, err = os.ReadDir(d.outside)
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing is written outside")
		content, err := os.ReadFile(filepath.Join(d.outside, "file"))
		require.NoError(t, err)
		require.Equal(t, "untouched", string(content))
	})
	return d
}

// list is what is on the disk: "path mode content" for each.
func (d *onDisk) list() []string {
	d.t.Helper()
	var lines []string
	require.NoError(d.t, fs.WalkDir(d.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		line := name
		info, err := e.Info()
		require.NoError(d.t, err)
		switch {
		case e.IsDir():
			line += "/"
		case e.Type() == fs.ModeSymlink:
			target, err := d.Readlink(name)
			require.NoError(d.t, err)
			line += " -> " + target
		default:
			content, err := d.ReadFile(name)
			require.NoError(d.t, err)
			line += " " + info.Mode().String() + " " + string(content)
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

func TestCheckout(t *testing.T) {
	f := newFixture(t)
	tree := files("a", "1\n", "dir/deep/b", "2\n", "dir/c", "", "dir.txt", "3\n")
	tree["run"] = &fstest.MapFile{Data: []byte("#!/bin/sh\n"), Mode: 0o755}
	tree["dir/up"] = link("../a")
	tree["dir/deep/root"] = link("../..")
	tree["nowhere"] = link("dir/none/at/all")
	tree["through"] = link("dir/up")
	f.commit("main", tree, nil)
	s := snapshot(t, f.remote(), git.Ref{})

	d := newOnDisk(t)
	want := []string{
		"a -rw-r--r-- 1\n", "dir/", "dir/c -rw-r--r-- ", "dir/deep/", "dir/deep/b -rw-r--r-- 2\n", "dir/deep/root -> ../..",
		"dir/up -> ../a", "dir.txt -rw-r--r-- 3\n", "nowhere -> dir/none/at/all", "run -rwxr-xr-x #!/bin/sh\n", "through -> dir/up",
	}
	require.NoError(t, s.Checkout(t.Context(), d.Root, git.CheckoutOptions{}))
	require.Equal(t, want, d.list())
	info, err := d.Stat("dir")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode().Perm())

	err = s.Checkout(t.Context(), d.Root, git.CheckoutOptions{})
	require.ErrorContains(t, err, "not empty")
	require.ErrorContains(t, err, "CheckoutOptions.Replace")
	require.NoError(t, d.WriteFile("dir/more", nil, 0o600))
	require.NoError(t, d.WriteFile(".hidden", nil, 0o600))
	require.NoError(t, s.Checkout(t.Context(), d.Root, git.CheckoutOptions{Replace: true}))
	require.Equal(t, want, d.list(), "exactly the tree")
}

func TestAttackCheckoutLinks(t *testing.T) {
	for name, tree := range map[string]fstest.MapFS{
		"absolute":         {"x": link("/etc/passwd")},
		"parent":           {"x": link("../outside/file")},
		"chain of parents": {"x": link("d/../../outside"), "d/f": {}},
		"in a directory":   {"d/x": link("../../outside")},
		// Read as text it stays inside; followed, it does not.
		"through a link":   {"d/e/f": {}, "l": link("d/e"), "x": link("l/../../../outside")},
		"to one that does": {"out": link("../outside"), "x": link("out/file")},
		"to itself":        {"x": link("x")},
		"in a circle":      {"x": link("y"), "y": link("x/z")},
		"empty":            {"x": link("")},
		"very long":        {"x": link(strings.Repeat("a/", 3000) + "a")},
		"a zero byte":      {"x": link("a\x00b")},
	} {
		t.Run(name, func(t *testing.T) {
			tree["file"] = &fstest.MapFile{Data: []byte("1"), Mode: 0o644}
			d := newOnDisk(t)
			err := git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{})
			require.ErrorIs(t, err, git.ErrLink)
			require.ErrorContains(t, err, "CheckoutOptions.SkipLinks")
			require.True(t, terminal(t, err))

			require.NoError(t, git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{Replace: true, SkipLinks: true}))
			_, err = d.Lstat("x")
			require.True(t, errors.Is(err, fs.ErrNotExist) || name == "in a directory", err)
			content, err := d.ReadFile("file")
			require.NoError(t, err)
			require.Equal(t, "1", string(content))
			for _, line := range d.list() {
				require.NotContains(t, line, "outside")
			}
		})
	}
}

// Links that were on the disk before are neither followed nor kept.
func TestAttackCheckoutOverLinks(t *testing.T) {
	tree := files("a/b", "new", "c", "new")
	d := newOnDisk(t)
	require.NoError(t, os.Symlink(d.outside, filepath.Join(d.dir, "a")))
	require.NoError(t, os.Symlink(filepath.Join(d.outside, "file"), filepath.Join(d.dir, "c")))
	err := git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{})
	require.ErrorContains(t, err, "not empty")

	require.NoError(t, git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{Replace: true}))
	require.Equal(t, []string{"a/", "a/b -rw-r--r-- new", "c -rw-r--r-- new"}, d.list())
}

// planting is a tree in which someone else puts a link on the disk while it is
// being written.
type planting struct {
	fstest.MapFS
	plant func()
}

func (p planting) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := p.MapFS.ReadDir(name)
	if name == "." {
		p.plant()
	}
	return entries, err
}

func TestAttackCheckoutPlantedLink(t *testing.T) {
	for _, name := range []string{"a", "c"} { // in place of a directory, of a file
		d := newOnDisk(t)
		for _, target := range []string{d.outside, filepath.Join(d.outside, "file"), "z", "../root/z"} {
			tree := planting{files("a/b", "new", "c", "new"), func() {
				require.NoError(t, os.Symlink(target, filepath.Join(d.dir, name)))
			}}
			err := git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{Replace: true})
			require.ErrorIs(t, err, fs.ErrExist)
			require.ErrorContains(t, err, `checkout of "`+name)
		}
	}
}

// Two names that are one on the disk, as on one that does not regard case: the
// tree cannot have them, so a name stands in twice.
type twice struct{ fstest.MapFS }

func (t twice) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := t.MapFS.ReadDir(name)
	if name == "." {
		entries = append(entries, entries...)
	}
	return entries, err
}

func TestAttackCheckoutNamesThatClash(t *testing.T) {
	for _, tree := range []fstest.MapFS{files("a", "1"), files("a/b", "1"), {"a": link("b")}} {
		d := newOnDisk(t)
		err := git.Checkout(t.Context(), twice{tree}, d.Root, git.CheckoutOptions{})
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, `checkout of "a"`)
	}
}

func TestAttackCheckoutOddEntries(t *testing.T) {
	d := newOnDisk(t)
	tree := fstest.MapFS{"pipe": {Mode: fs.ModeNamedPipe | 0o644}}
	require.ErrorContains(t, git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{}), "neither a file")
	require.Empty(t, d.list())
}

// endlessFile is a file that never ends, and calls back while it is read.
type endlessFile struct {
	fs.File
	reading func()
}

func (e endlessFile) Read(p []byte) (int, error) {
	e.reading()
	clear(p)
	return len(p), nil
}

func (e endlessFile) WriteTo(io.Writer) (int64, error) {
	return 0, errors.New("the copy was taken over")
}

type endlessFS struct {
	fstest.MapFS
	reading func()
}

func (e endlessFS) Open(name string) (fs.File, error) {
	f, err := e.MapFS.Open(name)
	if name != "endless" || err != nil {
		return f, err
	}
	return endlessFile{f, e.reading}, nil
}

func TestCheckoutIsCancelled(t *testing.T) {
	why := errors.New("enough")
	d := newOnDisk(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	tree := endlessFS{files("a", "1", "endless", "", "z", "1"), func() { cancel(why) }}
	err := git.Checkout(ctx, tree, d.Root, git.CheckoutOptions{})
	require.ErrorIs(t, err, why)
	require.ErrorContains(t, err, `"endless"`)
	_, err = d.Lstat("z")
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing more is written")

	err = git.Checkout(ctx, files("a", "1"), d.Root, git.CheckoutOptions{Replace: true})
	require.ErrorIs(t, err, why)
	require.Empty(t, d.list())
}

func TestCheckoutOfLargeFilesStreams(t *testing.T) {
	const size = 64 << 20
	d := newOnDisk(t)
	var left int64 = size
	tree := streamFS{files("large", ""), func(p []byte) (int, error) {
		n := min(int64(len(p)), left)
		left -= n
		if n == 0 {
			return 0, io.EOF
		}
		return int(n), nil
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, git.Checkout(t.Context(), tree, d.Root, git.CheckoutOptions{}))
	runtime.ReadMemStats(&after)
	info, err := d.Stat("large")
	require.NoError(t, err)
	require.EqualValues(t, size, info.Size())
	require.Less(t, after.HeapSys-before.HeapSys, uint64(size/2))
}

type streamFS struct {
	fstest.MapFS
	read func([]byte) (int, error)
}

func (s streamFS) Open(name string) (fs.File, error) {
	f, err := s.MapFS.Open(name)
	if name != "large" || err != nil {
		return f, err
	}
	return stream{f, s.read}, nil
}

type stream struct {
	fs.File
	read func([]byte) (int, error)
}

func (s stream) Read(p []byte) (int, error) { return s.read(p) }
