package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// fetchTwice reads an archive in both ways, and returns what came out of each.
func fetchTwice(t *testing.T, archive []byte, lim artifact.Limits) (opened fs.FS, unpacked fs.FS) {
	t.Helper()
	opened = open(t, archive, artifact.OpenOptions{Limits: lim})
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	sum, err := artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: "tree", Limits: lim})
	require.NoError(t, err)
	unpacked = os.DirFS(filepath.Join(dir, "tree"))
	// Both are the same tree.
	one, sum1 := pack(t, opened, artifact.PackOptions{Limits: lim})
	two, _ := pack(t, unpacked, artifact.PackOptions{Limits: lim})
	require.True(t, bytes.Equal(one, two))
	require.Equal(t, sum1.ContentDigest, sum.ContentDigest)
	return opened, unpacked
}

// Tarballs of source-controller: directories have entries, nobody else may read,
// and there are no links.
func TestReadArchiveOfSourceController(t *testing.T) {
	var raw bytes.Buffer
	z := gzip.NewWriter(&raw) // the standard library's, in one member
	w := tar.NewWriter(z)
	for _, h := range []tar.Header{
		{Name: "deploy", Typeflag: tar.TypeDir, Mode: 0o750},
		{Name: "deploy/app.yaml", Typeflag: tar.TypeReg, Mode: 0o600, Size: 4},
		{Name: "deploy/empty", Typeflag: tar.TypeReg, Mode: 0o600},
		{Name: "run.sh", Typeflag: tar.TypeReg, Mode: 0o700, Size: 4},
		{Name: "vacant", Typeflag: tar.TypeDir, Mode: 0o750},
	} {
		h.ModTime, h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}, time.Time{}
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write([]byte("text")[:h.Size])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	opened, unpacked := fetchTwice(t, raw.Bytes(), artifact.Limits{})
	for _, tree := range []fs.FS{opened, unpacked} {
		require.NoError(t, fstest.TestFS(tree, "deploy/app.yaml", "deploy/empty", "run.sh", "vacant"))
		info, err := fs.Stat(tree, "run.sh")
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&0o100)
		info, err = fs.Stat(tree, "deploy/app.yaml")
		require.NoError(t, err)
		require.Zero(t, info.Mode()&0o111)
	}
}

// Packages of npm and charts of Helm: everything below one directory that has no
// entry of its own.
func TestReadArchivesOfPackageManagers(t *testing.T) {
	for name, headers := range map[string][]*tar.Header{
		"npm": {
			{Name: "package/package.json", Mode: 0o644, ModTime: time.Date(1985, 10, 26, 8, 15, 0, 0, time.UTC), Format: tar.FormatPAX},
			{Name: "package/bin/run", Mode: 0o755, ModTime: time.Unix(1, 5), Format: tar.FormatPAX},
		},
		"helm": {
			{Name: "chart/Chart.yaml", Mode: 0o644, ModTime: time.Unix(1700000000, 0)},
			{Name: "chart/templates/_helpers.tpl", Mode: 0o644},
			{Name: "chart/charts/sub/" + strings.Repeat("long/", 50) + "Chart.yaml", Mode: 0o644},
		},
	} {
		t.Run(name, func(t *testing.T) {
			opened, unpacked := fetchTwice(t, tarball(t, headers...), artifact.Limits{})
			for _, h := range headers {
				for _, tree := range []fs.FS{opened, unpacked} {
					data, err := fs.ReadFile(tree, h.Name)
					require.NoError(t, err)
					require.Equal(t, "content", string(data))
				}
			}
		})
	}
}

func TestReadArchivesOfTarAndGit(t *testing.T) {
	for _, tool := range []string{"tar", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s to cross-check with", tool)
		}
	}
	dir := t.TempDir()
	want := small()
	long := strings.Repeat("a-long-name/", 12) + strings.Repeat("x", 120)
	want[long] = &fstest.MapFile{Data: []byte("long\n"), Mode: 0o644}
	want["long-link"] = &fstest.MapFile{Data: []byte(long), Mode: fs.ModeSymlink | 0o777}
	writeTree(t, dir, want)
	command := func(name string, args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "LC_ALL=C",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a")
		out, err := cmd.Output()
		require.NoError(t, err, "%s %v", name, args)
		return out
	}
	for name, args := range map[string][]string{
		"GNU":                {"tar", "-czf", "-", "--format=gnu", "--exclude=.git", "."},
		"PAX":                {"tar", "-czf", "-", "--format=posix", "--exclude=.git", "."},
		"large blocks":       {"tar", "-czf", "-", "--blocking-factor=512", "--exclude=.git", "."},
		"of git's commit":    {"git", "archive", "--format=tar.gz", "HEAD"},
		"of git's directory": {"git", "archive", "--format=tar.gz", "HEAD:deploy"},
	} {
		t.Run(name, func(t *testing.T) {
			if args[0] == "git" && !dirExists(filepath.Join(dir, ".git")) {
				command("git", "init", "--quiet")
				command("git", "add", "--all", ".")
				command("git", "commit", "--quiet", "--message", "x")
			}
			opened, unpacked := fetchTwice(t, command(args[0], args[1:]...), artifact.Limits{})
			for _, tree := range []fs.FS{opened, unpacked} {
				if strings.Contains(name, "directory") {
					data, err := fs.ReadFile(tree, "app.yaml")
					require.NoError(t, err)
					require.Equal(t, "kind: Deployment\n", string(data))
					continue
				}
				for _, file := range []string{long, "long-link"} {
					data, err := fs.ReadFile(tree, file)
					require.NoError(t, err)
					require.Equal(t, "long\n", string(data))
				}
				target, err := fs.ReadLink(tree, "long-link")
				require.NoError(t, err)
				require.Equal(t, long, target)
			}
		})
	}
	t.Run("hard links", func(t *testing.T) {
		require.NoError(t, os.Link(filepath.Join(dir, "README.md"), filepath.Join(dir, "README.too")))
		both(t, command("tar", "-czf", "-", "README.md", "README.too"), func(t *testing.T, err error) {
			require.ErrorContains(t, err, "hard links are not taken")
		})
	})
}

func dirExists(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// Each limit, at what it allows and at one more.
func TestReadLimits(t *testing.T) {
	file := func(name string) *tar.Header { return &tar.Header{Name: name, Mode: 0o644} }
	three := tarball(t, file("a"), file("d/b"))
	raw := int64(len(unzip(t, three)))
	deep := tarball(t, file("1/2/3/4"))
	long := tarball(t, file(strings.Repeat("n", 40)))
	target := tarball(t, &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("t", 40)})
	bomb := zeros(t, 60<<20)
	expanded := int64(len(unzip(t, bomb)))
	ratio := (expanded - 32<<20) / int64(len(bomb)) // rounded down
	for name, tt := range map[string]struct {
		archive  []byte
		ok, over artifact.Limits
		limit    string
	}{
		"archive": {three, artifact.Limits{ArchiveBytes: int64(len(three))}, artifact.Limits{ArchiveBytes: int64(len(three)) - 1}, "ArchiveBytes"},
		"bytes":   {three, artifact.Limits{Bytes: raw}, artifact.Limits{Bytes: raw - 1}, "Bytes"},
		"entries": {three, artifact.Limits{Entries: 3}, artifact.Limits{Entries: 2}, "Entries"},
		"depth":   {deep, artifact.Limits{Depth: 4}, artifact.Limits{Depth: 3}, "Depth"},
		"name":    {long, artifact.Limits{NameLength: 40}, artifact.Limits{NameLength: 39}, "NameLength"},
		"target":  {target, artifact.Limits{NameLength: 40}, artifact.Limits{NameLength: 39}, "NameLength"},
		"ratio":   {bomb, artifact.Limits{Ratio: ratio + 1}, artifact.Limits{Ratio: ratio}, "Ratio"},
	} {
		t.Run(name, func(t *testing.T) {
			open(t, tt.archive, artifact.OpenOptions{Limits: tt.ok})
			root, err := os.OpenRoot(t.TempDir())
			require.NoError(t, err)
			defer root.Close()
			_, err = artifact.Unpack(t.Context(), bytes.NewReader(tt.archive), root, artifact.UnpackOptions{Dir: "ok", Limits: tt.ok})
			require.NoError(t, err)

			_, err = artifact.Open(t.Context(), bytes.NewReader(tt.archive), artifact.OpenOptions{Limits: tt.over})
			limit(t, err, tt.limit)
			_, err = artifact.Unpack(t.Context(), bytes.NewReader(tt.archive), root, artifact.UnpackOptions{Dir: "over", Limits: tt.over})
			limit(t, err, tt.limit)
		})
	}
}

func TestReadNamesThatDifferInCase(t *testing.T) {
	archive := tarball(t, &tar.Header{Name: "a/x", Mode: 0o644}, &tar.Header{Name: "A/x", Mode: 0o644}, &tar.Header{Name: "a/X", Mode: 0o644})
	require.NoError(t, fstest.TestFS(open(t, archive, artifact.OpenOptions{}), "a/x", "A/x", "a/X"))

	// Where something appears under a name before it is written, as on a disk that
	// ignores case, that is an error and not one file in the place of two.
	for _, name := range []string{"A", "a/X"} {
		root, err := os.OpenRoot(t.TempDir())
		require.NoError(t, err)
		defer root.Close()
		data := &tar.Header{Name: "a/first", Mode: 0o644}
		filler := &tar.Header{Name: "a/filler", Mode: 0o644}
		gate := tarball(t, data, filler, &tar.Header{Name: "A/x", Mode: 0o644}, &tar.Header{Name: "a/X", Mode: 0o644})
		r := io.MultiReader(calling{func() {
			found, err := fs.Glob(root.FS(), ".unpack-*/tree")
			require.NoError(t, err)
			require.Len(t, found, 1)
			at := found[0] + "/" + name
			require.NoError(t, root.MkdirAll(filepath.Dir(at), 0o755))
			require.NoError(t, root.WriteFile(at, nil, 0o600))
		}}, bytes.NewReader(gate))
		_, err = artifact.Unpack(t.Context(), r, root, artifact.UnpackOptions{Dir: "x"})
		require.ErrorAs(t, err, new(*artifact.EntryError), name)
		left, err := fs.ReadDir(root.FS(), ".")
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

func TestUnpackWritesManyFiles(t *testing.T) {
	want := fstest.MapFS{"big": {Data: bytes.Repeat([]byte("0123456789abcdef"), 3<<16), Mode: 0o644}, "big.too": {Data: make([]byte, 1<<20), Mode: 0o755}}
	for i := range 500 {
		want[fmt.Sprintf("d%d/e%d/f%d", i%7, i%3, i)] = &fstest.MapFile{Data: bytes.Repeat([]byte{byte(i)}, i*37), Mode: 0o644}
	}
	archive, sum := pack(t, want, artifact.PackOptions{})
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	got, err := artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: "x"})
	require.NoError(t, err)
	require.Equal(t, sum, got)
	for name, f := range want {
		data, err := root.ReadFile("x/" + name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(f.Data, data), name)
	}
}

func TestSpill(t *testing.T) {
	want := large()
	archive, sum := pack(t, want, artifact.PackOptions{})
	for _, memory := range []int64{1, 100 << 10, 0} {
		dir := t.TempDir()
		tree := open(t, archive, artifact.OpenOptions{Digest: sum.Digest, SpillDir: dir, Memory: memory})
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "nobody finds it by a name")
		again, _ := pack(t, tree, artifact.PackOptions{})
		require.True(t, bytes.Equal(archive, again))
		closer, ok := tree.(io.Closer)
		require.True(t, ok)
		require.NoError(t, closer.Close())
		require.NoError(t, closer.Close())
		if memory == 1 {
			for name, f := range want {
				if f.Mode.IsRegular() && len(f.Data) > 1 {
					_, err = fs.ReadFile(tree, name)
					require.ErrorIs(t, err, fs.ErrClosed)
					break
				}
			}
		}
	}
	small := small()
	delete(small, "deploy/nothing")
	archive, _ = pack(t, small, artifact.PackOptions{})
	var names []string
	for name := range small {
		names = append(names, name)
	}
	tree := open(t, archive, artifact.OpenOptions{SpillDir: t.TempDir(), Memory: 1})
	require.NoError(t, fstest.TestFS(tree, names...))
	require.NoError(t, tree.(io.Closer).Close())
	_, ok := open(t, archive, artifact.OpenOptions{}).(io.Closer)
	require.False(t, ok, "in memory there is nothing to close")

	_, err := artifact.Open(t.Context(), bytes.NewReader(archive), artifact.OpenOptions{SpillDir: filepath.Join(t.TempDir(), "none"), Memory: 1})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Whatever is wrong with an archive, no content stays on the disk.
func TestSpillOfBadArchives(t *testing.T) {
	archive, _ := pack(t, large(), artifact.PackOptions{})
	lost := errors.New("lost")
	dir := t.TempDir()
	for _, r := range []io.Reader{bytes.NewReader(archive[:len(archive)-9]), io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), failing{lost})} {
		tree, err := artifact.Open(t.Context(), r, artifact.OpenOptions{SpillDir: dir, Memory: 1})
		require.Error(t, err)
		require.Nil(t, tree)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	heap(t, 24<<20, func() {
		bomb := zeros(t, 200<<20)
		tree, err := artifact.Open(t.Context(), bytes.NewReader(bomb), artifact.OpenOptions{SpillDir: dir, Memory: 1, Limits: artifact.Limits{Ratio: 1e6}})
		require.NoError(t, err)
		require.NoError(t, tree.(io.Closer).Close())
	})
}

// A header for all entries may rename them for one tool and not for another.
func TestAttackGlobalHeader(t *testing.T) {
	for record, value := range map[string]string{"path": "../evil", "linkpath": "/etc", "size": "5", "GNU.sparse.name": "x"} {
		archive := tarball(t,
			&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x", record: value}},
			&tar.Header{Name: "a", Mode: 0o644})
		both(t, archive, func(t *testing.T, err error) {
			require.ErrorAs(t, err, new(*artifact.EntryError))
			require.ErrorContains(t, err, record)
		})
	}
}
