package artifact_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// storeReads counts how often files of a backend are read.
type storeReads struct {
	artifact.Backend
	n atomic.Int32
}

func (b *storeReads) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	b.n.Add(1)
	return b.Backend.Open(ctx, key, offset, length)
}

// storeCounted returns a store, the directory with its archives, and the count of
// its reads.
func storeCounted(t testing.TB, opts artifact.StoreOptions) (*artifact.Store, string, *storeReads) {
	t.Helper()
	dir := t.TempDir()
	disk, err := artifact.NewDisk(dir)
	require.NoError(t, err)
	reads := &storeReads{Backend: disk}
	opts.Backend = reads
	s, err := artifact.NewStore(t.TempDir(), opts)
	require.NoError(t, err)
	return s, dir, reads
}

func TestCheckReadsOnlyWhatChanged(t *testing.T) {
	s, dir, reads := storeCounted(t, artifact.StoreOptions{})
	clock := newStoreClock()
	s.SetClock(clock.now)
	d := storeVersion(t, s, 1)
	check := func(want int32, why string) {
		t.Helper()
		reads.n.Store(0)
		for range 3 {
			require.NoError(t, s.Check(t.Context(), d))
		}
		require.Equal(t, want, reads.n.Load(), why)
	}
	check(0, "it was packed here")
	clock.pass(23 * time.Hour)
	check(0, "yet")
	clock.pass(2 * time.Hour)
	check(1, "a day later")
	file := filesIn(t, dir)[0]
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(file, past, past))
	check(1, "its time changed")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.WriteFile(file, whole, 0o600))
	check(1, "it is another file")
	_, err = s.Open(t.Context(), d)
	require.NoError(t, err)
	check(0, "it was opened")
	if runtime.GOOS == "linux" {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, whole, 0o600))
		require.NoError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
		check(1, "it was written, whatever its time says")
	}

	other, err := artifact.NewStore(t.TempDir(), artifact.StoreOptions{Backend: reads})
	require.NoError(t, err)
	s = other
	check(1, "another process")
}

func TestCheckAsTold(t *testing.T) {
	for after, want := range map[time.Duration]int32{-1: 0, time.Minute: 1} {
		s, _, reads := storeCounted(t, artifact.StoreOptions{RehashAfter: after})
		clock := newStoreClock()
		s.SetClock(clock.now)
		d := storeVersion(t, s, 1)
		clock.pass(1000 * time.Hour)
		require.NoError(t, s.Check(t.Context(), d))
		require.Equal(t, want, reads.n.Load())
	}
}

func TestCheckFindsDamage(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, _ *storeClock) {
		d := storeVersion(t, s, 1)
		key := "sha256/" + d.Encoded() + ".tar.gz"
		for name, find := range map[string]func() error{
			"check": func() error { return s.Check(t.Context(), d) },
			"open":  func() error { _, err := s.Open(t.Context(), d); return err },
		} {
			t.Run(name, func(t *testing.T) {
				info, err := s.Backend().Stat(t.Context(), key)
				require.NoError(t, err)
				require.NoError(t, s.Backend().Put(t.Context(), key, info.Size, bytes.NewReader(make([]byte, info.Size))))
				damaged := new(artifact.DamagedError)
				require.ErrorAs(t, find(), &damaged)
				require.Equal(t, d, damaged.Digest)
				require.ErrorAs(t, find(), new(*artifact.NotFoundError), "nobody is served with it")
				require.Equal(t, d, storeVersion(t, s, 1))
				require.NoError(t, find())
			})
		}
		require.NoError(t, s.Backend().Delete(t.Context(), key))
		require.ErrorAs(t, s.Check(t.Context(), d), new(*artifact.NotFoundError))
		require.ErrorContains(t, s.Check(t.Context(), "sha256:x"), "digest")
	})
}

// Who found the damage removes what was damaged, not what came in its place.
func TestCheckSparesWhatWasRepaired(t *testing.T) {
	s, _, _ := storeCounted(t, artifact.StoreOptions{})
	d := storeVersion(t, s, 1)
	key := "sha256/" + d.Encoded() + ".tar.gz"
	bad := &storeRepaired{Backend: s.Backend(), repair: func() { storeVersion(t, s, 1) }}
	require.NoError(t, bad.Put(t.Context(), key, 3, strings.NewReader("bad")))
	other, err := artifact.NewStore(t.TempDir(), artifact.StoreOptions{Backend: bad})
	require.NoError(t, err)
	require.ErrorAs(t, other.Check(t.Context(), d), new(*artifact.DamagedError))
	require.NoError(t, other.Check(t.Context(), d))
}

// storeRepaired is repaired when the damaged file was read.
type storeRepaired struct {
	artifact.Backend
	repair func()
}

func (b *storeRepaired) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := b.Backend.Open(ctx, key, offset, length)
	if err == nil && b.repair != nil {
		b.repair()
		b.repair = nil
	}
	return r, err
}

func TestAdd(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, _ *storeClock) {
		archive, sum := pack(t, small(), artifact.PackOptions{})
		size, err := s.Add(t.Context(), bytes.NewReader(archive), sum.Digest)
		require.NoError(t, err)
		require.Equal(t, sum.Size, size)
		_, err = s.Open(t.Context(), sum.Digest)
		require.NoError(t, err)

		other := digest.FromString("other")
		_, err = s.Add(t.Context(), bytes.NewReader(archive), other)
		wrong := new(artifact.DigestError)
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, artifact.DigestError{Want: other, Got: sum.Digest}, *wrong)
		require.ErrorAs(t, s.Check(t.Context(), other), new(*artifact.NotFoundError))
		_, err = s.Add(t.Context(), io.MultiReader(bytes.NewReader(archive), storeBroken{}), sum.Digest)
		require.ErrorIs(t, err, io.ErrClosedPipe)
	})
	dir := t.TempDir()
	s, err := artifact.NewStore(dir, artifact.StoreOptions{Limits: artifact.Limits{ArchiveBytes: 10}})
	require.NoError(t, err)
	_, err = s.Add(t.Context(), strings.NewReader("0123456789x"), digest.FromString("0123456789x"))
	limit(t, err, "ArchiveBytes")
	_, err = s.Add(t.Context(), strings.NewReader("0123456789"), digest.FromString("0123456789"))
	require.NoError(t, err)
	require.Len(t, filesIn(t, dir), 1)
	require.Empty(t, filesIn(t, filepath.Join(dir, "tmp")))
}

type storeBroken struct{}

func (storeBroken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
