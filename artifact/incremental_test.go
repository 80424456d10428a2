package artifact_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// packIDs is a tree that knows its files by an id, and which of them were read.
type packIDs struct {
	fstest.MapFS
	mu   *sync.Mutex
	read map[string]bool
}

func newPackIDs(tree fstest.MapFS) packIDs { return packIDs{tree, new(sync.Mutex), map[string]bool{}} }

func (p packIDs) ContentID(name string) (string, error) {
	f := p.MapFS[name]
	if f == nil {
		return "", fs.ErrNotExist
	}
	return digest.FromBytes(f.Data).String(), nil
}

func (p packIDs) Open(name string) (fs.File, error) {
	if p.MapFS[name] != nil {
		p.mu.Lock()
		p.read[name] = true
		p.mu.Unlock()
	}
	return p.MapFS.Open(name)
}

// packChanges are all that may happen to large from one archive to the next.
var packChanges = map[string]func(fstest.MapFS){
	"nothing":      func(fstest.MapFS) {},
	"a byte":       func(m fstest.MapFS) { m["dir20/file0020.yaml"].Data[7] ^= 1 },
	"a size":       func(m fstest.MapFS) { m["dir20/file0020.yaml"].Data = []byte("short") },
	"a mode":       func(m fstest.MapFS) { m["dir20/file0020.yaml"].Mode = 0o755 },
	"a new file":   func(m fstest.MapFS) { m["dir20/file0020.a"] = &fstest.MapFile{Data: []byte("new")} },
	"a file less":  func(m fstest.MapFS) { delete(m, "dir20/file0020.yaml") },
	"a link":       func(m fstest.MapFS) { m["dir20/link"] = &fstest.MapFile{Data: []byte("x"), Mode: fs.ModeSymlink} },
	"another link": func(m fstest.MapFS) { m["dir00/link"].Data = []byte("file0040.yaml") },
	"file to link": func(m fstest.MapFS) {
		m["dir20/file0020.yaml"] = &fstest.MapFile{Data: []byte("x"), Mode: fs.ModeSymlink}
	},
	"big":          func(m fstest.MapFS) { m["dir07/big.bin"].Data[8<<20] ^= 1 },
	"big shorter":  func(m fstest.MapFS) { m["dir07/big.bin"].Data = m["dir07/big.bin"].Data[:6<<20] },
	"big is small": func(m fstest.MapFS) { m["dir07/big.bin"].Data = []byte("small") },
	"small is big": func(m fstest.MapFS) { m["dir07/exact.bin"].Data = append(m["dir07/exact.bin"].Data, "more"...) },
	"no big":       func(m fstest.MapFS) { delete(m, "dir07/big.bin") },
	"everything": func(m fstest.MapFS) {
		for _, f := range m {
			f.Data = append(f.Data, '\n')
		}
	},
}

// packLinked is large with a link, and with data that may be changed.
func packLinked() fstest.MapFS {
	tree := large()
	tree["dir00/link"] = &fstest.MapFile{Data: []byte("file0000.yaml"), Mode: fs.ModeSymlink}
	for name, f := range tree {
		if name > "dir25" {
			delete(tree, name)
		}
		if name == "dir20/file0020.yaml" || name == "dir07/big.bin" || name == "dir07/exact.bin" {
			f.Data = slices.Clone(f.Data)
		}
	}
	return tree
}

// Whatever has changed, the archive is what it would be without the one before it.
func TestPackUponPrevious(t *testing.T) {
	var index artifact.Index
	before, _ := pack(t, newPackIDs(packLinked()), artifact.PackOptions{Index: &index})
	previous := &artifact.Previous{Archive: bytes.NewReader(before), Index: packReread(t, &index)}
	for name, change := range packChanges {
		t.Run(name, func(t *testing.T) {
			tree := packLinked()
			change(tree)
			var cold, warm, hashed artifact.Index
			want, wantSum := pack(t, newPackIDs(tree), artifact.PackOptions{Index: &cold})
			ids := newPackIDs(tree)
			got, sum := pack(t, ids, artifact.PackOptions{Previous: previous, Index: &warm})
			require.Equal(t, wantSum, sum)
			require.True(t, bytes.Equal(want, got))
			require.Equal(t, packBytes(t, &cold), packBytes(t, &warm))
			if name == "nothing" {
				require.Empty(t, ids.read)
			}
			if name == "a byte" {
				require.Less(t, len(ids.read), 200, "only what stands in one piece with what has changed is read")
				require.NotContains(t, ids.read, "dir07/big.bin")
			}
			if !slices.Contains([]string{"nothing", "a byte", "big"}, name) {
				return
			}
			// Without ids everything is read, and nothing else is different.
			got, sum = pack(t, tree, artifact.PackOptions{Previous: previous, Index: &hashed})
			require.Equal(t, wantSum, sum)
			require.True(t, bytes.Equal(want, got))
		})
	}
}

func packBytes(t testing.TB, index *artifact.Index) []byte {
	t.Helper()
	raw, err := index.MarshalBinary()
	require.NoError(t, err)
	return raw
}

// packReread sends an index through its bytes.
func packReread(t testing.TB, index *artifact.Index) *artifact.Index {
	t.Helper()
	again := new(artifact.Index)
	require.NoError(t, again.UnmarshalBinary(packBytes(t, index)))
	require.Equal(t, packBytes(t, index), packBytes(t, again))
	return again
}

// An archive that is damaged, cut short, or another one, is not copied from.
func TestAttackPreviousArchive(t *testing.T) {
	var index artifact.Index
	tree := packLinked()
	archive, want := pack(t, newPackIDs(tree), artifact.PackOptions{Index: &index})
	flipped := slices.Clone(archive)
	for i := 0; i < len(flipped); i += 1000 {
		flipped[i] ^= 0x10
	}
	other, _ := pack(t, small(), artifact.PackOptions{})
	for name, previous := range map[string]*artifact.Previous{
		"flipped":  {Archive: bytes.NewReader(flipped), Index: &index},
		"one bit":  {Archive: bytes.NewReader(flip(archive, len(archive)/2)), Index: &index},
		"cut":      {Archive: bytes.NewReader(archive[:len(archive)/3]), Index: &index},
		"empty":    {Archive: bytes.NewReader(nil), Index: &index},
		"other":    {Archive: bytes.NewReader(other), Index: &index},
		"no index": {Archive: bytes.NewReader(archive)},
		"nothing":  {},
	} {
		t.Run(name, func(t *testing.T) {
			_, sum := pack(t, newPackIDs(tree), artifact.PackOptions{Previous: previous})
			require.Equal(t, want, sum)
		})
	}
}

// An archive that changes after it was looked at is an error, never a wrong result.
func TestAttackPreviousChangesUnderway(t *testing.T) {
	var index artifact.Index
	tree := fstest.MapFS{"big": large()["dir07/big.bin"]}
	archive, _ := pack(t, tree, artifact.PackOptions{Index: &index})
	changing := &packChanging{archive: archive}
	changing.good.Store(int64(len(archive))) // enough for one look
	_, err := artifact.Pack(t.Context(), io.Discard, tree, artifact.PackOptions{Previous: &artifact.Previous{Archive: changing, Index: &index}})
	require.ErrorContains(t, err, "changed while it was read")
}

type packChanging struct {
	archive []byte
	good    atomic.Int64 // bytes
}

func (c *packChanging) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, c.archive[off:])
	if c.good.Add(-int64(n)) < 0 {
		b[0] ^= 1
	}
	return n, nil
}

func TestStorePacksSince(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	first := newPackIDs(packLinked())
	since, err := s.Pack(t.Context(), first, artifact.PackOptions{Incremental: true})
	require.NoError(t, err)
	require.NoError(t, since.IndexDigest.Validate())

	tree := packLinked()
	packChanges["a byte"](tree)
	_, want := pack(t, tree, artifact.PackOptions{})
	packSince := func(t *testing.T, since artifact.Summary) (read int) {
		ids := newPackIDs(tree)
		sum, err := s.Pack(t.Context(), ids, artifact.PackOptions{Incremental: true, Since: since})
		require.NoError(t, err)
		require.NotEmpty(t, sum.IndexDigest)
		sum.IndexDigest = ""
		require.Equal(t, want, sum)
		return len(ids.read)
	}
	require.Less(t, packSince(t, since), 200)
	require.Less(t, packSince(t, artifact.Summary{Digest: since.Digest, IndexDigest: since.IndexDigest}), 200)

	index := filepath.Join(dir, "sha256", since.Digest.Encoded()+".index")
	raw, err := os.ReadFile(index)
	require.NoError(t, err)
	all := len(tree) - 1 // the link
	for name, change := range map[string]func(*testing.T) artifact.Summary{
		"nothing":         func(*testing.T) artifact.Summary { return artifact.Summary{} },
		"no index digest": func(*testing.T) artifact.Summary { return artifact.Summary{Digest: since.Digest} },
		"no digests": func(*testing.T) artifact.Summary {
			return artifact.Summary{Digest: "../x", IndexDigest: "../y"}
		},
		"unknown": func(*testing.T) artifact.Summary {
			return artifact.Summary{Digest: digest.FromString("x"), IndexDigest: since.IndexDigest}
		},
		"made up": func(t *testing.T) artifact.Summary {
			require.NoError(t, os.WriteFile(index, flip(raw, len(raw)/2), 0o600))
			return since
		},
		"removed": func(t *testing.T) artifact.Summary {
			require.NoError(t, os.Remove(index))
			return since
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(index, raw, 0o600))
			require.Equal(t, all, packSince(t, change(t)))
		})
	}
}

func TestPackIsTheSameForAnyNumberOfWorkers(t *testing.T) {
	want, wantSum := pack(t, large(), artifact.PackOptions{Workers: 1})
	for _, n := range []int{0, 3, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			got, sum := pack(t, large(), artifact.PackOptions{Workers: n})
			require.Equal(t, wantSum, sum)
			require.True(t, bytes.Equal(want, got))
		})
	}
}

func TestPackProgress(t *testing.T) {
	files, size, calls := 0, int64(0), 0
	_, sum := pack(t, large(), artifact.PackOptions{Progress: func(f int, b int64) {
		require.Greater(t, f, files)
		require.GreaterOrEqual(t, b, size)
		files, size, calls = f, b, calls+1
	}})
	require.Equal(t, sum.Files, files)
	require.Equal(t, sum.ContentSize, size)
	require.Greater(t, calls, 10)
}

// An error anywhere ends everything, and nothing hangs.
func TestPackStopsInTheMiddle(t *testing.T) {
	lost := errors.New("the disk is gone")
	for name, tree := range map[string]fs.FS{
		"open":     packFailing{large(), "dir20/file0020.yaml", lost},
		"open big": packFailing{large(), "dir07/big.bin", lost},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := artifact.Pack(t.Context(), io.Discard, tree, artifact.PackOptions{})
			require.ErrorIs(t, err, lost)
		})
	}
	t.Run("write", func(t *testing.T) {
		_, err := artifact.Pack(t.Context(), &packFull{left: 1 << 20, err: lost}, large(), artifact.PackOptions{})
		require.ErrorIs(t, err, lost)
	})
}

type packFailing struct {
	fstest.MapFS
	name string
	err  error
}

func (f packFailing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, f.err
	}
	return f.MapFS.Open(name)
}

type packFull struct {
	left int
	err  error
}

func (f *packFull) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, f.err
	}
	return len(b), nil
}

// FuzzIndex reads any bytes: no crash, and whatever comes out is written as it was
// read, or does no harm when it is used.
func FuzzIndex(f *testing.F) {
	var index artifact.Index
	tree := fstest.MapFS{"a": {Data: []byte("a")}, "b": {Data: []byte("a"), Mode: fs.ModeSymlink}, "c/d": {Mode: 0o755}}
	archive, want := pack(f, newPackIDs(tree), artifact.PackOptions{Index: &index})
	f.Add(packBytes(f, &index))
	_, _ = pack(f, large(), artifact.PackOptions{Index: &index})
	f.Add(packBytes(f, &index)[:2000])
	f.Add(packBytes(f, new(artifact.Index)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var index artifact.Index
		if index.UnmarshalBinary(raw) != nil {
			return
		}
		packReread(t, &index)
		// Without ids nothing in an index is believed that the archive does not say.
		_, sum := pack(t, tree, artifact.PackOptions{Workers: 1, Previous: &artifact.Previous{Archive: bytes.NewReader(archive), Index: &index}})
		require.Equal(t, want.ContentDigest, sum.ContentDigest)
	})
}
