package artifact_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// both reads an archive in both ways and checks that nothing came of it.
func both(t *testing.T, archive []byte, check func(t *testing.T, err error)) {
	t.Helper()
	t.Run("open", func(t *testing.T) {
		tree, err := artifact.Open(t.Context(), bytes.NewReader(archive), artifact.OpenOptions{})
		require.Nil(t, tree)
		check(t, err)
	})
	for _, dir := range []string{".", "in"} {
		t.Run("unpack into "+dir, func(t *testing.T) {
			top := t.TempDir()
			at := filepath.Join(top, "root")
			require.NoError(t, os.Mkdir(at, 0o755))
			root, err := os.OpenRoot(at)
			require.NoError(t, err)
			defer root.Close()
			_, err = artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: dir})
			check(t, err)
			var left []string
			require.NoError(t, filepath.WalkDir(top, func(name string, _ fs.DirEntry, err error) error {
				left = append(left, name)
				return err
			}))
			require.Equal(t, []string{top, at}, left)
		})
	}
}

func TestAttackEntries(t *testing.T) {
	file := func(name string) *tar.Header { return &tar.Header{Name: name, Mode: 0o644} }
	dir := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	link := func(name, target string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	special := func(name string, typ byte) *tar.Header {
		return &tar.Header{Name: name, Typeflag: typ, Linkname: "file"}
	}
	for name, headers := range map[string][]*tar.Header{
		"up":                     {file("../evil")},
		"up inside":              {file("a/../../evil")},
		"up and back":            {file("a/../b")},
		"absolute":               {file("/etc/evil")},
		"absolute after a dot":   {file(".//etc/evil")},
		"directory up":           {dir("../evil/")},
		"directory absolute":     {dir("/evil/")},
		"double slash":           {file("a//b")},
		"dot":                    {file("a/./b")},
		"trailing slash, link":   {link("a/", "b")},
		"root as a file":         {file(".")},
		"not UTF-8":              {file("a\xff")},
		"hard link":              {file("file"), special("x", tar.TypeLink)},
		"hard link absolute":     {{Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"hard link up":           {{Name: "x", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
		"character device":       {special("x", tar.TypeChar)},
		"block device":           {special("x", tar.TypeBlock)},
		"pipe":                   {special("x", tar.TypeFifo)},
		"unknown type":           {{Name: "x", Typeflag: 'Z'}},
		"same file twice":        {file("a"), file("a")},
		"same file, other name":  {file("a"), file("./a")},
		"file and directory":     {file("a"), dir("a/")},
		"directory and file":     {dir("a/"), file("a")},
		"directory implied":      {file("a/b"), file("a")},
		"link and directory":     {link("a", "b"), dir("a/")},
		"directory and link":     {dir("a/"), link("a", "b")},
		"below a file":           {file("a"), file("a/b")},
		"below a link":           {link("a", "b"), file("a/b")},
		"below a link to a dir":  {dir("b/"), link("a", "b"), file("a/x")},
		"below a link out":       {link("a", "/tmp"), file("a/x")},
		"link twice":             {link("a", "b"), link("a", "c")},
		"PAX path":               {file("../" + strings.Repeat("long/", 60) + "evil")},
		"link absolute":          {link("a", "/etc/passwd")},
		"link up":                {link("a", "../x")},
		"link up from below":     {link("d/a", "../../x")},
		"link through a link":    {link("d/e/f", "../.."), link("a", "d/e/f/../x")},
		"link through a link, 2": {link("a", "d/e/f/../x"), link("d/e/f", "../..")},
		"link to nothing":        {link("a", "")},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, tarball(t, headers...), func(t *testing.T, err error) {
				_, entry := errors.AsType[*artifact.EntryError](err)
				_, link := errors.AsType[*artifact.LinkError](err)
				require.True(t, entry || link, "%v", err)
			})
		})
	}
}

// What archive/tar does not write is put together from blocks.
func block(name string, typ byte, size string, change func([]byte)) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00"+size+"\x0000000000000\x00")
	b[156] = typ
	copy(b[257:], "ustar  \x00")
	if change != nil {
		change(b)
	}
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestAttackSparse(t *testing.T) {
	old := block("sparse", tar.TypeGNUSparse, "00000000000", func(b []byte) {
		copy(b[386:], "00000000000\x0000000000000\x00")
		copy(b[483:], "77777777777") // eight gigabytes of hole
	})
	pax := func(records string) []byte {
		body := make([]byte, 512*((len(records)+511)/512))
		copy(body, records)
		return append(block("x", tar.TypeXHeader, fmt.Sprintf("%011o", len(records)), func(b []byte) { copy(b[257:], "ustar\x0000") }), body...)
	}
	record := func(k, v string) string {
		n := len(k) + len(v) + 3
		for {
			s := fmt.Sprintf("%d %s=%s\n", n, k, v)
			if len(s) == n {
				return s
			}
			n = len(s)
		}
	}
	file := func(size string) []byte {
		return block("f", tar.TypeReg, size, func(b []byte) { copy(b[257:], "ustar\x0000") })
	}
	end := make([]byte, 1024)
	// A map with a hundred thousand parts, in a file of a few bytes.
	var parts strings.Builder
	parts.WriteString("100000\n")
	for i := range 100000 {
		fmt.Fprintf(&parts, "%d\n1\n", i*2)
	}
	padded := append([]byte(parts.String()), make([]byte, 512-parts.Len()%512)...)
	for name, raw := range map[string][]byte{
		"old GNU":    old,
		"PAX 0.1":    append(pax(record("GNU.sparse.size", "8589934592")+record("GNU.sparse.numblocks", "1")+record("GNU.sparse.map", "0,0")), file("00000000000")...),
		"PAX 1.0":    append(append(pax(record("GNU.sparse.major", "1")+record("GNU.sparse.minor", "0")+record("GNU.sparse.name", "f")+record("GNU.sparse.realsize", "8589934592")), file(fmt.Sprintf("%011o", len(padded)))...), padded...),
		"lying map":  append(pax(record("GNU.sparse.numblocks", "9223372036854775807")+record("GNU.sparse.map", "")), file("00000000000")...),
		"PAX record": append(pax(record("GNU.sparse.name", "../evil")), file("00000000000")...),
	} {
		t.Run(name, func(t *testing.T) {
			heap(t, 64<<20, func() {
				both(t, zip(append(raw, end...)), func(t *testing.T, err error) { require.Error(t, err) })
			})
		})
	}
}

// heap fails the test if f makes the heap grow by more than most bytes.
func heap(t *testing.T, most uint64, f func()) {
	t.Helper()
	stop, peak := make(chan struct{}), make(chan uint64)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		highest := before.HeapAlloc
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			highest = max(highest, now.HeapAlloc)
			select {
			case <-stop:
				peak <- highest
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(stop)
	require.Less(t, <-peak-before.HeapAlloc, most)
}

// zeros makes an archive of one file with many zeros, without holding them.
func zeros(t *testing.T, size int64) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: size, Mode: 0o644}))
	_, err = io.CopyN(w, endless{}, size)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return buf.Bytes()
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func limit(t *testing.T, err error, name string) {
	t.Helper()
	limitErr, ok := errors.AsType[*artifact.LimitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, name, limitErr.Limit)
}

func TestAttackBombs(t *testing.T) {
	many := func(n int, name string) []byte {
		var headers []*tar.Header
		for i := range n {
			headers = append(headers, &tar.Header{Name: fmt.Sprintf(name, i), Mode: 0o644})
		}
		return tarball(t, headers...)
	}
	deep := strings.Repeat("d/", 60)
	for name, tt := range map[string]struct {
		archive []byte
		limits  artifact.Limits
		limit   string
	}{
		"ratio":                 {zeros(t, 100<<20), artifact.Limits{Ratio: 10}, "Ratio"},
		"bytes":                 {zeros(t, 100<<20), artifact.Limits{Ratio: 1e6, Bytes: 20 << 20}, "Bytes"},
		"entries":               {many(300, "f%d"), artifact.Limits{Entries: 200}, "Entries"},
		"implied directories":   {many(30, "%d/"+deep+"f"), artifact.Limits{Entries: 200}, "Entries"},
		"depth":                 {many(1, "%d/"+strings.Repeat("d/", 100)+"f"), artifact.Limits{}, "Depth"},
		"length":                {many(1, "%d"+strings.Repeat("n", 2000)), artifact.Limits{}, "NameLength"},
		"archive":               {many(300, "f%d"), artifact.Limits{ArchiveBytes: 500}, "ArchiveBytes"},
		"length of a target":    {tarball(t, &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x/", 1000)}), artifact.Limits{}, "NameLength"},
		"zeros behind the end":  {zip(make([]byte, 64<<20)), artifact.Limits{Ratio: 10}, "Ratio"},
		"more than the archive": {zeros(t, 10<<20), artifact.Limits{ArchiveBytes: 1000}, "ArchiveBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			heap(t, 120<<20, func() {
				_, err := artifact.Open(t.Context(), bytes.NewReader(tt.archive), artifact.OpenOptions{Limits: tt.limits})
				limit(t, err, tt.limit)
			})
			root, err := os.OpenRoot(t.TempDir())
			require.NoError(t, err)
			defer root.Close()
			heap(t, 32<<20, func() {
				_, err := artifact.Unpack(t.Context(), bytes.NewReader(tt.archive), root, artifact.UnpackOptions{Limits: tt.limits})
				limit(t, err, tt.limit)
			})
			list, err := os.ReadDir(root.Name())
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
}

// A header may promise more than there is.
func TestAttackLyingSize(t *testing.T) {
	raw := append(block("f", tar.TypeReg, "77777777777", nil), "a few bytes"...)
	heap(t, 16<<20, func() {
		both(t, zip(raw), func(t *testing.T, err error) { require.ErrorIs(t, err, artifact.ErrFormat) })
	})
}

func TestAttackEndlessArchive(t *testing.T) {
	// A server that never stops: first noise, then a gzip stream without end.
	heap(t, 16<<20, func() {
		_, err := artifact.Open(t.Context(), endless{}, artifact.OpenOptions{Digest: digest.FromString("x"), Limits: artifact.Limits{ArchiveBytes: 1 << 20}})
		require.Error(t, err)
	})
	r, w := io.Pipe()
	go func() {
		z := gzip.NewWriter(w)
		tw := tar.NewWriter(z)
		for i := 0; ; i++ {
			_ = tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg})
			if z.Flush() != nil {
				return
			}
		}
	}()
	heap(t, 64<<20, func() {
		_, err := artifact.Open(t.Context(), r, artifact.OpenOptions{Limits: artifact.Limits{Entries: 2_000, ArchiveBytes: 1 << 20}})
		_, ok := errors.AsType[*artifact.LimitError](err)
		require.True(t, ok, "%v", err)
	})
	require.NoError(t, r.Close())
}

// Thousands of links through each other must not cost their product.
func TestAttackManyLinks(t *testing.T) {
	var headers []*tar.Header
	for i := range 5_000 {
		headers = append(headers, &tar.Header{
			Name: fmt.Sprintf("l%05d", i), Typeflag: tar.TypeSymlink, Linkname: fmt.Sprintf("%sl%05d", strings.Repeat("d/../", 150), i+1),
		})
	}
	archive := tarball(t, headers...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := artifact.Open(ctx, bytes.NewReader(archive), artifact.OpenOptions{})
	require.NoError(t, err)
}

// Somebody who can write below the root may put a link where a directory is to be.
func TestAttackLinkUnderTheRoot(t *testing.T) {
	outside := t.TempDir()
	at := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(at, "deploy")))
	root, err := os.OpenRoot(at)
	require.NoError(t, err)
	defer root.Close()
	archive, _ := pack(t, small(), artifact.PackOptions{})
	for _, dir := range []string{".", "deploy", "deploy/x", "deploy/../deploy/y"} {
		_, err := artifact.Unpack(t.Context(), bytes.NewReader(archive), root, artifact.UnpackOptions{Dir: dir})
		require.Error(t, err, dir)
		list, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

// os.Root had holes that names with a trailing slash or a dot led through.
func TestAttackRoot(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	at := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(at, "out")))
	root, err := os.OpenRoot(at)
	require.NoError(t, err)
	defer root.Close()
	for _, name := range []string{"out", "out/", "out/.", "out/secret", "./out/", "out//"} {
		_, err := root.Stat(name)
		require.Error(t, err, name)
	}
	_, err = artifact.Pack(t.Context(), io.Discard, root.FS(), artifact.PackOptions{})
	_, ok := errors.AsType[*artifact.LinkError](err)
	require.True(t, ok, "%v", err)
}

// A tree that has no end: each directory has another in it.
func TestAttackEndlessTree(t *testing.T) {
	_, err := artifact.Pack(t.Context(), io.Discard, bottomless{}, artifact.PackOptions{})
	limit(t, err, "Depth")
}

type bottomless struct{}

func (bottomless) Open(string) (fs.File, error) { return nil, fs.ErrNotExist }

func (bottomless) ReadDir(string) ([]fs.DirEntry, error) {
	return fstest.MapFS{"d/x": {}}.ReadDir(".")
}

// Two entries of one name, as a hand-made Git tree can have them.
func TestAttackTreeWithDuplicates(t *testing.T) {
	for name, tree := range map[string]fs.FS{
		"twice":              listing{{"a", 0}, {"a", 0}},
		"file and directory": listing{{"a", 0}, {"a-b", 0}, {"a", fs.ModeDir}},
		"link and directory": listing{{"a", fs.ModeSymlink}, {"a", fs.ModeDir}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := artifact.Pack(t.Context(), io.Discard, tree, artifact.PackOptions{})
			_, ok := errors.AsType[*artifact.EntryError](err)
			require.True(t, ok, "%v", err)
		})
	}
}

type listing []struct {
	name string
	typ  fs.FileMode
}

func (l listing) Open(string) (fs.File, error)      { return fstest.MapFS{"x": {}}.Open("x") }
func (l listing) Lstat(string) (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (l listing) ReadLink(string) (string, error)   { return "x", nil }
func (l listing) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, nil
	}
	var list []fs.DirEntry
	for _, e := range l {
		d, err := fstest.MapFS{e.name: {Mode: e.typ}}.ReadDir(".")
		if err != nil {
			return nil, err
		}
		list = append(list, d...)
	}
	return list, nil
}
