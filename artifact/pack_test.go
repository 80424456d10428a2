package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// small has one of each thing that an archive keeps.
func small() fstest.MapFS {
	return fstest.MapFS{
		"README.md":                {Data: []byte("# app\n")},
		"deploy/app.yaml":          {Data: []byte("kind: Deployment\n")},
		"deploy/overlays/p/k.yaml": {Data: []byte("kind: Kustomization\n")},
		"deploy.d/z":               {Data: []byte("after deploy/\n")},
		"deploy-1":                 {Data: []byte("before deploy/\n")},
		"empty":                    {},
		"hack/run.sh":              {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"latest":                   {Data: []byte("deploy/overlays/p"), Mode: fs.ModeSymlink},
		"deploy/overlays/up.yaml":  {Data: []byte("../app.yaml"), Mode: fs.ModeSymlink},
		"deploy/nothing":           {Data: []byte("not-there"), Mode: fs.ModeSymlink},
		"ünï/" + strings.Repeat("long/", 40) + "name": {Data: []byte("PAX\n")},
	}
}

// large is big enough for many pieces, and has files longer than a piece.
func large() fstest.MapFS {
	tree := fstest.MapFS{}
	for name, f := range largeOnce() {
		tree[name] = new(*f)
	}
	return tree
}

var largeOnce = sync.OnceValue(func() fstest.MapFS {
	r := rand.New(rand.NewPCG(1, 2))
	tree := fstest.MapFS{}
	for i := range 1500 {
		data := make([]byte, r.IntN(16<<10))
		for j := range data {
			data[j] = "kind: Deployment\n"[r.IntN(17)]
		}
		tree[fmt.Sprintf("dir%02d/file%04d.yaml", i%40, i)] = &fstest.MapFile{Data: data}
	}
	big := make([]byte, 9<<20+123)
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	tree["dir07/big.bin"] = &fstest.MapFile{Data: big}
	tree["dir07/exact.bin"] = &fstest.MapFile{Data: big[:4<<20-512]}
	return tree
})

func pack(t testing.TB, fsys fs.FS, opts artifact.PackOptions) ([]byte, artifact.Summary) {
	t.Helper()
	var buf bytes.Buffer
	sum, err := artifact.Pack(t.Context(), &buf, fsys, opts)
	require.NoError(t, err)
	require.EqualValues(t, buf.Len(), sum.Size)
	require.Equal(t, digest.FromBytes(buf.Bytes()), sum.Digest)
	return buf.Bytes(), sum
}

// A changed digest here means that every archive of every user changes with the
// release: that is a decision, not something that an update of a module may do.
func TestGoldenDigests(t *testing.T) {
	for _, tt := range []struct {
		name            string
		tree            fs.FS
		digest, content digest.Digest
	}{
		{"nothing", fstest.MapFS{}, "sha256:8a86ef015d8a121c9688c6ad2b9c61a06fd835ba1d9ddc89f842a0b87c9631af", "sha256:6e5a3a19ddf2ebd877aee9f6533d7407bd959702fb459f0675dc11f2ea2604ff"},
		{"small", small(), "sha256:03ebf35cb5470484abcea3321b9daf84938a5e1160042fa8852a63c0bb85fef1", "sha256:55295466f67a2e73e2daad4c793962e845378a57961b68d78fdafeeb39aa4e6b"},
		{"large", large(), "sha256:83c8a713a314aeb59d29c6faee5b5f7e99d9af94d0a55fd72b486e253091228c", "sha256:b45d5c57e796ab7657986ffe62c28ec8064bdd1f9fb240d599dcd112d4f38040"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, sum := pack(t, tt.tree, artifact.PackOptions{})
			assert.Equal(t, tt.digest, sum.Digest)
			assert.Equal(t, tt.content, sum.ContentDigest)
		})
	}
}

func TestSameTreeSameBytes(t *testing.T) {
	want, wantSum := pack(t, small(), artifact.PackOptions{})

	later := small()
	for _, f := range later {
		f.ModTime = time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
		f.Sys = "another owner"
		if f.Mode.IsRegular() {
			f.Mode |= 0o066 // what a umask would not have let through
		}
	}
	later["an/empty/dir"] = &fstest.MapFile{Mode: fs.ModeDir | 0o700}

	disk := t.TempDir()
	writeTree(t, disk, small())
	root, err := os.OpenRoot(disk)
	require.NoError(t, err)
	defer root.Close()

	opened, err := artifact.Open(t.Context(), bytes.NewReader(want), artifact.OpenOptions{})
	require.NoError(t, err)

	for name, tree := range map[string]fs.FS{
		"other times, owners, modes, empty directories": later,
		"os.DirFS":           os.DirFS(disk),
		"os.Root":            root.FS(),
		"the opened archive": opened,
		"backwards":          backwards{small()},
	} {
		t.Run(name, func(t *testing.T) {
			got, sum := pack(t, tree, artifact.PackOptions{})
			require.Equal(t, wantSum, sum)
			require.True(t, bytes.Equal(want, got))
		})
	}
}

// backwards lists directories in the wrong order.
type backwards struct{ fstest.MapFS }

func (b backwards) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := b.MapFS.ReadDir(name)
	slices.Reverse(list)
	return list, err
}

func (b backwards) Open(name string) (fs.File, error) { return b.MapFS.Open(name) }

func TestContentDigestSeesEveryChange(t *testing.T) {
	_, before := pack(t, small(), artifact.PackOptions{})
	for name, change := range map[string]func(fstest.MapFS){
		"a byte":        func(m fstest.MapFS) { m["README.md"].Data = []byte("# App\n") },
		"a mode":        func(m fstest.MapFS) { m["README.md"].Mode = 0o755 },
		"a name":        func(m fstest.MapFS) { m["README"] = m["README.md"]; delete(m, "README.md") },
		"a target":      func(m fstest.MapFS) { m["latest"].Data = []byte("deploy") },
		"link to file":  func(m fstest.MapFS) { m["latest"].Mode = 0 },
		"one file less": func(m fstest.MapFS) { delete(m, "empty") },
		"one file more": func(m fstest.MapFS) { m["empty2"] = &fstest.MapFile{} },
	} {
		t.Run(name, func(t *testing.T) {
			tree := small()
			change(tree)
			_, after := pack(t, tree, artifact.PackOptions{})
			require.NotEqual(t, before.ContentDigest, after.ContentDigest)
			require.NotEqual(t, before.Digest, after.Digest)
		})
	}
}

// One changed file must leave nearly all pieces as they were: that is what later
// lets an archive be made from the one before it.
func TestChangeStaysInItsPiece(t *testing.T) {
	before, _ := pack(t, large(), artifact.PackOptions{})
	tree := large()
	tree["dir20/file0020.yaml"].Data = append(tree["dir20/file0020.yaml"].Data, "one more line"...)
	after, _ := pack(t, tree, artifact.PackOptions{})

	old := map[[32]byte]bool{}
	for _, m := range pieces(before) {
		old[sha256.Sum256(m)] = true
	}
	all, kept := pieces(after), 0
	require.Greater(t, len(all), 10)
	for _, m := range all {
		if old[sha256.Sum256(m)] {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, len(all)-2)
}

// pieces splits an archive at the headers of its gzip members, which are ten
// bytes of which all but one or two are fixed.
func pieces(archive []byte) [][]byte {
	header := archive[:10]
	var list [][]byte
	for rest := archive; len(rest) > 0; {
		n := bytes.Index(rest[1:], header) + 1
		if n == 0 {
			n = len(rest)
		}
		list = append(list, rest[:n])
		rest = rest[n:]
	}
	return list
}

func TestSkip(t *testing.T) {
	tree := small()
	tree["secret/locked"] = &fstest.MapFile{Mode: fs.ModeDevice} // an error if it is looked at
	var asked []string
	archive, sum := pack(t, tree, artifact.PackOptions{Skip: func(path string, d fs.DirEntry) bool {
		asked = append(asked, path)
		return path == "secret" || !d.IsDir() && strings.HasSuffix(path, ".md")
	}})
	require.NotContains(t, asked, "secret/locked", "what is in a directory that is left out is not looked at")
	opened, err := artifact.Open(t.Context(), bytes.NewReader(archive), artifact.OpenOptions{})
	require.NoError(t, err)
	_, err = fs.Stat(opened, "README.md")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, len(small())-1, sum.Files)
}

func TestSummary(t *testing.T) {
	_, sum := pack(t, fstest.MapFS{
		"a": {Data: make([]byte, 1000)}, "b/c": {Data: make([]byte, 24)}, "l": {Data: []byte("a"), Mode: fs.ModeSymlink},
	}, artifact.PackOptions{})
	require.Equal(t, 3, sum.Files)
	require.EqualValues(t, 1024, sum.ContentSize)
}

func TestPackedTreeOpensUnderTheSameLimits(t *testing.T) {
	// Zeros first, so that the ratio is at its worst before anything else comes.
	tree := large()
	tree["a-zeros"] = &fstest.MapFile{Data: make([]byte, 20<<20)}
	archive, _ := pack(t, tree, artifact.PackOptions{})
	_, err := artifact.Open(t.Context(), bytes.NewReader(archive), artifact.OpenOptions{})
	require.NoError(t, err)
}

func TestPackRefuses(t *testing.T) {
	link := func(target string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
	}
	for name, tree := range map[string]fstest.MapFS{
		"absolute":     {"l": link("/etc/passwd")},
		"upwards":      {"d/l": link("../../x")},
		"through":      {"a/b/up": link("../.."), "l": link("a/b/up/../x")},
		"through last": {"a/b/up": link("../.."), "l": link("a/b/up/..")},
		"empty":        {"l": link("")},
		"zero byte":    {"l": link("a\x00b")},
	} {
		t.Run("link "+name, func(t *testing.T) {
			_, err := artifact.Pack(t.Context(), &bytes.Buffer{}, tree, artifact.PackOptions{})
			linkErr, ok := errors.AsType[*artifact.LinkError](err)
			require.True(t, ok, "%v", err)
			require.True(t, linkErr.Terminal())
			require.Contains(t, err.Error(), linkErr.Path)
		})
	}
	for name, tree := range map[string]fs.FS{
		"pipe":      fstest.MapFS{"p": {Mode: fs.ModeNamedPipe}},
		"device":    fstest.MapFS{"p": {Mode: fs.ModeDevice | fs.ModeCharDevice}},
		"socket":    fstest.MapFS{"p": {Mode: fs.ModeSocket}},
		"zero byte": fstest.MapFS{"a\x00b": {}},
		"not UTF-8": names{"a\xffb"},
		"up":        names{".."},
		"slash":     names{"a/b"},
	} {
		t.Run("entry "+name, func(t *testing.T) {
			_, err := artifact.Pack(t.Context(), &bytes.Buffer{}, tree, artifact.PackOptions{})
			entryErr, ok := errors.AsType[*artifact.EntryError](err)
			require.True(t, ok, "%v", err)
			require.True(t, entryErr.Terminal())
		})
	}
	for name, lim := range map[string]artifact.Limits{
		"ArchiveBytes": {ArchiveBytes: 100},
		"Bytes":        {Bytes: 2000},
		"Entries":      {Entries: 3},
		"Depth":        {Depth: 2},
		"NameLength":   {NameLength: 20},
	} {
		t.Run("limit "+name, func(t *testing.T) {
			_, err := artifact.Pack(t.Context(), &bytes.Buffer{}, small(), artifact.PackOptions{Limits: lim})
			limitErr, ok := errors.AsType[*artifact.LimitError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, name, limitErr.Limit)
			require.True(t, limitErr.Terminal())
		})
	}
}

// names is a tree with one file of a name that no real tree has.
type names []string

func (n names) Open(name string) (fs.File, error) {
	tree := fstest.MapFS{"x": {Data: []byte("x")}}
	return tree.Open(name)
}

func (n names) ReadDir(string) ([]fs.DirEntry, error) {
	return []fs.DirEntry{badName{n[0]}}, nil
}

type badName struct{ name string }

func (b badName) Name() string               { return b.name }
func (b badName) IsDir() bool                { return false }
func (b badName) Type() fs.FileMode          { return 0 }
func (b badName) Info() (fs.FileInfo, error) { return fs.Stat(fstest.MapFS{"x": {}}, "x") }

func TestPackNoticesChanges(t *testing.T) {
	for name, claimed := range map[string]int64{"shrunk": 10, "grown": 2} {
		t.Run(name, func(t *testing.T) {
			tree := liar{fstest.MapFS{"f": {Data: []byte("four")}}, claimed}
			_, err := artifact.Pack(t.Context(), &bytes.Buffer{}, tree, artifact.PackOptions{})
			require.ErrorContains(t, err, `"f" changed while it was packed`)
		})
	}
}

// liar claims another size than its files have.
type liar struct {
	fstest.MapFS
	size int64
}

func (l liar) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := l.MapFS.ReadDir(name)
	for i, d := range list {
		list[i] = liarEntry{d, l.size}
	}
	return list, err
}

type liarEntry struct {
	fs.DirEntry
	size int64
}

func (l liarEntry) Info() (fs.FileInfo, error) {
	info, err := l.DirEntry.Info()
	return liarInfo{info, l.size}, err
}

type liarInfo struct {
	fs.FileInfo
	size int64
}

func (l liarInfo) Size() int64 { return l.size }

func TestPackStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := artifact.Pack(ctx, &bytes.Buffer{}, small(), artifact.PackOptions{})
	require.ErrorIs(t, err, context.Canceled)

	full := errors.New("no space left")
	_, err = artifact.Pack(t.Context(), failing{full}, small(), artifact.PackOptions{})
	require.ErrorIs(t, err, full)

	_, err = artifact.Pack(t.Context(), &bytes.Buffer{}, os.DirFS(filepath.Join(t.TempDir(), "missing")), artifact.PackOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Read([]byte) (int, error)  { return 0, f.err }

func TestReadByGNUTar(t *testing.T) {
	tar, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("there is no tar to cross-check with")
	}
	file := filepath.Join(t.TempDir(), "a.tar.gz")
	archive, _ := pack(t, small(), artifact.PackOptions{})
	require.NoError(t, os.WriteFile(file, archive, 0o600))

	list, err := exec.CommandContext(t.Context(), tar, "-tzf", file, "--quoting-style=literal").Output()
	require.NoError(t, err)
	var want []string
	for name := range small() {
		want = append(want, name)
	}
	slices.Sort(want)
	require.Equal(t, want, strings.Split(strings.TrimSpace(string(list)), "\n"))

	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), tar, "-xzf", file, "-C", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	again, _ := pack(t, os.DirFS(dir), artifact.PackOptions{})
	require.True(t, bytes.Equal(archive, again))
}

// writeTree puts a tree on the disk.
func writeTree(t testing.TB, dir string, tree fstest.MapFS) {
	t.Helper()
	for name, f := range tree {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		if f.Mode&fs.ModeSymlink != 0 {
			require.NoError(t, os.Symlink(string(f.Data), file))
			continue
		}
		require.NoError(t, os.WriteFile(file, f.Data, 0o600))
		require.NoError(t, os.Chmod(file, f.Mode.Perm()|0o600))
	}
}
