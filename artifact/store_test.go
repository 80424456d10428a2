package artifact_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/artifact"
)

func store(t testing.TB, dir string) *artifact.Store {
	t.Helper()
	s, err := artifact.NewStore(dir, artifact.StoreOptions{})
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made/on/demand")
	s := store(t, dir)
	sum, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	_, direct := pack(t, small(), artifact.PackOptions{})
	require.Equal(t, direct, sum)

	again, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	require.Equal(t, sum, again)

	for _, s := range []*artifact.Store{s, store(t, dir)} {
		tree, err := s.Open(t.Context(), sum.Digest)
		require.NoError(t, err)
		data, err := fs.ReadFile(tree, "README.md")
		require.NoError(t, err)
		require.Equal(t, "# app\n", string(data))
	}
	require.Len(t, filesIn(t, dir), 1, "one archive, and nothing else")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "others cannot look inside")
}

func filesIn(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, name)
		}
		return err
	}))
	return list
}

func TestStoreFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	missing := digest.FromString("missing")
	_, err := s.Open(t.Context(), missing)
	notFound, ok := errors.AsType[*artifact.NotFoundError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, missing, notFound.Digest)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Open(t.Context(), digest.SHA512.FromString("x"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	sum, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	file := filesIn(t, dir)[0]
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"a bit":  flip(whole, len(whole)/2),
		"cut":    whole[:len(whole)/2],
		"empty":  {},
		"longer": append(slices.Clone(whole), 'x'),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(file, content, 0o600))
			_, err := s.Open(t.Context(), sum.Digest)
			damaged, ok := errors.AsType[*artifact.DamagedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, sum.Digest, damaged.Digest)

			_, err = s.Pack(t.Context(), small(), artifact.PackOptions{})
			require.NoError(t, err)
			_, err = s.Open(t.Context(), sum.Digest)
			require.NoError(t, err, "packing again repairs it")
		})
	}
}

func TestAttackDigestAsPath(t *testing.T) {
	s := store(t, t.TempDir())
	for _, d := range []digest.Digest{"", "sha256:", "sha256:../../etc/passwd", digest.Digest("sha256:" + strings.Repeat("/", 64)), "../x:" + digest.Digest(strings.Repeat("a", 64)), "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		_, err := s.Open(t.Context(), d)
		require.ErrorContains(t, err, "digest", d)
	}
}

// Whoever can write to a store swaps archives: both are whole, each under the
// other's digest.
func TestAttackPoisonedStore(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	mine, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	evil, _ := pack(t, fstest.MapFS{"deploy/app.yaml": {Data: []byte("evil")}}, artifact.PackOptions{})
	file := filepath.Join(dir, "sha256", mine.Digest.Encoded()+".tar.gz")
	for name, use := range map[string]func(*artifact.Store) error{
		"open":                     func(s *artifact.Store) error { _, err := s.Open(t.Context(), mine.Digest); return err },
		"check":                    func(s *artifact.Store) error { return s.Check(t.Context(), mine.Digest) },
		"open in another process":  func(*artifact.Store) error { _, err := store(t, dir).Open(t.Context(), mine.Digest); return err },
		"check in another process": func(*artifact.Store) error { return store(t, dir).Check(t.Context(), mine.Digest) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
			require.NoError(t, err)
			require.NoError(t, s.Check(t.Context(), mine.Digest))
			require.NoError(t, os.WriteFile(file, evil, 0o600))
			require.ErrorAs(t, use(s), new(*artifact.DamagedError))
			require.NoFileExists(t, file, "nobody is served with it")
		})
	}
}

// Other users of the machine can neither read what is stored, nor foresee the name
// of a file that is being written.
func TestAttackTemporaryFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := store(t, dir)
	names := map[string]bool{}
	s.OnDisk(func(op string) error {
		if op == "write" {
			for _, name := range filesIn(t, filepath.Join(dir, "tmp")) {
				names[name] = true
			}
		}
		return nil
	})
	for i := range 3 {
		_, err := s.Pack(t.Context(), fstest.MapFS{"v": {Data: fmt.Append(nil, i)}}, artifact.PackOptions{})
		require.NoError(t, err)
	}
	require.Len(t, names, 3)
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, name)
		return nil
	}))
}

func TestStoreLeavesNothingAfterAnError(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	_, err := s.Pack(t.Context(), fstest.MapFS{"l": {Data: []byte("/etc"), Mode: fs.ModeSymlink}}, artifact.PackOptions{})
	require.ErrorAs(t, err, new(*artifact.LinkError))
	_, err = s.Pack(t.Context(), large(), artifact.PackOptions{Limits: artifact.Limits{ArchiveBytes: 1 << 20}})
	require.ErrorAs(t, err, new(*artifact.LimitError))
	require.Empty(t, filesIn(t, dir))
}

// The bytes are on the disk before they have their name, and the name is before
// Pack returns: in another order a crash of the machine could lose either.
func TestStoreOrderOfWriting(t *testing.T) {
	s := store(t, t.TempDir())
	var ops []string
	s.OnDisk(func(op string) error {
		if len(ops) == 0 || ops[len(ops)-1] != op {
			ops = append(ops, op)
		}
		return nil
	})
	_, err := s.Pack(t.Context(), large(), artifact.PackOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"create", "write", "sync", "close", "rename", "syncdir"}, ops)
}

// What is there already is not written to the disk again, but as young as if it
// were.
func TestStorePackOfWhatItHolds(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	sum, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	file := filesIn(t, dir)[0]
	for name, tt := range map[string]struct {
		s       *artifact.Store
		damaged bool
		ops     []string
	}{
		"known":        {s, false, []string{"create", "write", "touch", "syncdir", "close", "remove"}},
		"not seen yet": {store(t, dir), false, []string{"create", "write", "touch", "syncdir", "close", "remove"}},
		"damaged":      {s, true, []string{"create", "write", "sync", "close", "rename", "syncdir"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.damaged {
				whole, err := os.ReadFile(file)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, flip(whole, len(whole)/2), 0o600))
			}
			past := time.Now().Add(-100 * time.Hour)
			require.NoError(t, os.Chtimes(file, past, past))
			var ops []string
			tt.s.OnDisk(func(op string) error {
				if len(ops) == 0 || ops[len(ops)-1] != op {
					ops = append(ops, op)
				}
				return nil
			})
			again, err := tt.s.Pack(t.Context(), small(), artifact.PackOptions{})
			require.NoError(t, err)
			require.Equal(t, sum, again)
			require.Equal(t, tt.ops, ops)
			require.Empty(t, filesIn(t, filepath.Join(dir, "tmp")))
			require.Empty(t, collect(t, tt.s, artifact.CollectOptions{}).Archives, "it is young again")
			require.NoError(t, tt.s.Check(t.Context(), sum.Digest))
			_, err = tt.s.Open(t.Context(), sum.Digest)
			require.NoError(t, err)
		})
	}
}

// Whatever goes wrong while it is made young, the archive stays, and it is
// there when Pack succeeds.
func TestStorePackOfWhatItHoldsAtAnError(t *testing.T) {
	full := errors.New("disk full")
	for i := range 12 {
		dir := t.TempDir()
		s := store(t, dir)
		sum, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
		require.NoError(t, err)
		left := i
		s.OnDisk(func(string) error {
			if left--; left == -1 {
				return full
			}
			return nil
		})
		_, err = s.Pack(t.Context(), small(), artifact.PackOptions{})
		require.True(t, err == nil || errors.Is(err, full), "%v", err)
		sound(t, dir, sum.Digest)
		require.Empty(t, filesIn(t, filepath.Join(dir, "tmp")), "step %d", i)
	}
}

// noise is a tree that does not compress, so that it takes many writes.
func noise() fstest.MapFS {
	r := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return fstest.MapFS{"noise": {Data: data}, "a/b": {Data: []byte("b")}}
}

// steps counts what the store does to the disk for a tree.
func steps(t testing.TB, tree fs.FS) int {
	t.Helper()
	s := store(t, t.TempDir())
	n := 0
	s.OnDisk(func(string) error { n++; return nil })
	_, err := s.Pack(t.Context(), tree, artifact.PackOptions{})
	require.NoError(t, err)
	return n
}

// sound checks that a store holds whole archives only, and the one it must.
func sound(t testing.TB, dir string, must ...digest.Digest) {
	t.Helper()
	s := store(t, dir)
	for _, file := range filesIn(t, filepath.Join(dir, "sha256")) {
		hex, _, _ := strings.Cut(filepath.Base(file), ".")
		_, err := s.Open(t.Context(), digest.NewDigestFromEncoded(digest.SHA256, hex))
		require.NoError(t, err)
	}
	for _, d := range must {
		_, err := s.Open(t.Context(), d)
		require.NoError(t, err)
	}
}

func TestStoreSurvivesAnErrorAtEachStep(t *testing.T) {
	n := steps(t, noise())
	require.Greater(t, n, 15)
	full := errors.New("disk full")
	for i := range n {
		dir := t.TempDir()
		s := store(t, dir)
		old, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
		require.NoError(t, err)
		left := i
		s.OnDisk(func(string) error {
			if left--; left == -1 {
				return full
			}
			return nil
		})
		_, err = s.Pack(t.Context(), noise(), artifact.PackOptions{})
		require.ErrorIs(t, err, full, "step %d", i)
		sound(t, dir, old.Digest)
		require.Empty(t, filesIn(t, filepath.Join(dir, "tmp")), "step %d", i)
	}
}

// Several processes with several writers each share a store, and one is killed.
func TestStoreOfManyWriters(t *testing.T) {
	trees := func(i int) fstest.MapFS {
		tree := small()
		tree["n"] = &fstest.MapFile{Data: fmt.Appendf(nil, "%d", i%5)}
		return tree
	}
	if dir := os.Getenv("ARTIFACT_SHARED"); dir != "" {
		s := store(t, dir)
		fmt.Println("ready")
		for i := 0; ; i++ {
			_, err := s.Pack(t.Context(), trees(i), artifact.PackOptions{})
			require.NoError(t, err)
		}
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoreOfManyWriters$")
	cmd.Env = append(os.Environ(), "ARTIFACT_SHARED="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)

	var group errgroup.Group
	for w := range 6 {
		s := store(t, dir)
		group.Go(func() error {
			for i := range 20 {
				sum, err := s.Pack(t.Context(), trees(w+i), artifact.PackOptions{})
				if err != nil {
					return err
				}
				if _, err := s.Open(t.Context(), sum.Digest); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	sound(t, dir)
	require.Len(t, filesIn(t, filepath.Join(dir, "sha256")), 5)
}

func TestStoreInABadPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := artifact.NewStore(file, artifact.StoreOptions{})
	require.ErrorContains(t, err, file)
}

func TestStoreLimits(t *testing.T) {
	s, err := artifact.NewStore(t.TempDir(), artifact.StoreOptions{Limits: artifact.Limits{Entries: 3}})
	require.NoError(t, err)
	sum, err := s.Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	_, err = s.Open(t.Context(), sum.Digest)
	limit(t, err, "Entries")
}
