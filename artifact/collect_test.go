package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/artifact"
)

const app = "gitrepository/default/app"

// storeClock is a clock that a test moves.
type storeClock struct {
	mu sync.Mutex
	t  time.Time
}

func newStoreClock() *storeClock { return &storeClock{t: time.Now()} }

func (c *storeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *storeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// storeVersion packs the tree of one version.
func storeVersion(t testing.TB, s *artifact.Store, v int) digest.Digest {
	t.Helper()
	sum, err := s.Pack(t.Context(), fstest.MapFS{"v": {Data: fmt.Append(nil, v)}}, artifact.PackOptions{})
	require.NoError(t, err)
	return sum.Digest
}

// storeHolds checks which of some archives are there.
func storeHolds(t testing.TB, s *artifact.Store, all []digest.Digest, want ...int) {
	t.Helper()
	var got []int
	for i, d := range all {
		if _, err := s.Open(t.Context(), d); err == nil {
			got = append(got, i)
		} else {
			require.ErrorAs(t, err, new(*artifact.NotFoundError))
		}
	}
	require.Equal(t, want, got)
}

func collect(t testing.TB, s *artifact.Store, opts artifact.CollectOptions) artifact.Collected {
	t.Helper()
	done, err := s.Collect(t.Context(), opts)
	require.NoError(t, err)
	return done
}

// onEveryBackend runs a test with the archives in the store's own directory, and
// in another backend.
func onEveryBackend(t *testing.T, run func(t *testing.T, s *artifact.Store, clock *storeClock)) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own=%t", own), func(t *testing.T) {
			var opts artifact.StoreOptions
			if !own {
				disk, err := artifact.NewDisk(t.TempDir())
				require.NoError(t, err)
				opts.Backend = struct{ artifact.Backend }{disk} // nobody can tell what it is
			}
			s, err := artifact.NewStore(t.TempDir(), opts)
			require.NoError(t, err)
			clock := newStoreClock()
			s.SetClock(clock.now)
			run(t, s, clock)
		})
	}
}

func TestCollectKeepsTheNewestOfEachSource(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, clock *storeClock) {
		var all []digest.Digest
		for i := range 5 {
			all = append(all, storeVersion(t, s, i))
			clock.pass(time.Minute)
			require.NoError(t, s.Record(t.Context(), app, all[i]))
			require.NoError(t, s.Record(t.Context(), app, all[i]), "recorded once")
		}
		require.NoError(t, s.Record(t.Context(), "bucket/other/app", all[1]))
		clock.pass(2 * time.Hour)
		sizes := int64(0)
		for _, i := range []int{0, 2} {
			info, err := s.Backend().Stat(t.Context(), "sha256/"+all[i].Encoded()+".tar.gz")
			require.NoError(t, err)
			sizes += info.Size
		}
		done := collect(t, s, artifact.CollectOptions{})
		require.ElementsMatch(t, []digest.Digest{all[0], all[2]}, done.Archives)
		require.Equal(t, sizes, done.Bytes)
		storeHolds(t, s, all, 1, 3, 4)
		require.Empty(t, collect(t, s, artifact.CollectOptions{}).Archives)

		require.NoError(t, s.Forget(t.Context(), "bucket/other/app"))
		collect(t, s, artifact.CollectOptions{Keep: 1, Pinned: all[3:4]})
		storeHolds(t, s, all, 3, 4)
		collect(t, s, artifact.CollectOptions{Keep: 1})
		storeHolds(t, s, all, 4)
		require.NoError(t, s.Forget(t.Context(), app))
		require.NoError(t, s.Forget(t.Context(), app), "of a source that is not known")
		collect(t, s, artifact.CollectOptions{})
		storeHolds(t, s, all)
	})
}

// Age counts from when another archive took the place, not from when it was made:
// a consumer may have been told of it a moment ago.
func TestCollectSparesWhatWasReplacedLately(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, clock *storeClock) {
		all := []digest.Digest{storeVersion(t, s, 0), storeVersion(t, s, 1)}
		require.NoError(t, s.Record(t.Context(), app, all[0]))
		clock.pass(1000 * time.Hour)
		require.NoError(t, s.Record(t.Context(), app, all[1]))
		opts := artifact.CollectOptions{Keep: 1, MinAge: time.Minute}
		require.Empty(t, collect(t, s, opts).Archives)
		clock.pass(59 * time.Second)
		require.Empty(t, collect(t, s, opts).Archives)
		clock.pass(2 * time.Second)
		require.Equal(t, all[:1], collect(t, s, opts).Archives)
		clock.pass(1000 * time.Hour)
		require.Empty(t, collect(t, s, opts).Archives, "what a source has stays, however old it is")
	})
}

func TestCollectWhenASourceGoesBack(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, clock *storeClock) {
		all := []digest.Digest{storeVersion(t, s, 0), storeVersion(t, s, 1), storeVersion(t, s, 2)}
		for _, i := range []int{0, 1, 2, 1, 2, 0, 2} {
			require.NoError(t, s.Record(t.Context(), app, all[i]))
			clock.pass(time.Hour)
		}
		clock.pass(time.Hour)
		collect(t, s, artifact.CollectOptions{})
		storeHolds(t, s, all, 0, 2)
		collect(t, s, artifact.CollectOptions{Keep: 1})
		storeHolds(t, s, all, 2)
	})
}

func TestCollectSparesWhatHasNoRecordYet(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, clock *storeClock) {
		all := []digest.Digest{storeVersion(t, s, 0)}
		require.Empty(t, collect(t, s, artifact.CollectOptions{}).Archives)
		clock.pass(59 * time.Minute)
		require.Empty(t, collect(t, s, artifact.CollectOptions{}).Archives)
		clock.pass(2 * time.Minute)
		require.Equal(t, all, collect(t, s, artifact.CollectOptions{}).Archives)
	})
}

func TestRecord(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, clock *storeClock) {
		err := s.Record(t.Context(), app, digest.FromString("missing"))
		require.ErrorAs(t, err, new(*artifact.NotFoundError))
		all := []digest.Digest{storeVersion(t, s, 0), storeVersion(t, s, 1)}
		for _, name := range []string{"", ".", "/", "a//b", "../a", "a/../b", "\xff", string(make([]byte, 1025))} {
			err := s.Record(t.Context(), name, all[0])
			require.ErrorAs(t, err, new(*artifact.NameError), "%q", name)
			require.ErrorAs(t, s.Forget(t.Context(), name), new(*artifact.NameError), "%q", name)
		}
		require.NoError(t, s.Record(t.Context(), "kustomization/Größe/ÄÖ Ü", all[0]))

		require.NoError(t, s.Record(t.Context(), app, all[0]))
		clock.pass(-time.Hour)
		require.NoError(t, s.Record(t.Context(), app, all[1]), "the clock went back")
		clock.pass(4 * time.Hour)
		require.NoError(t, s.Forget(t.Context(), "kustomization/Größe/ÄÖ Ü"))
		collect(t, s, artifact.CollectOptions{Keep: 1})
		storeHolds(t, s, all, 1)
	})
}

// What others put into the directory is not taken for something else.
func TestCollectLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	clock := newStoreClock()
	s.SetClock(clock.now)
	d := storeVersion(t, s, 0)
	require.NoError(t, s.Record(t.Context(), app, d))
	for _, name := range []string{"lost+found", "names/README", "names/x-y_z/1-2", "sha256/Notes.TXT"} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, nil, 0o600))
	}
	clock.pass(2 * time.Hour)
	require.Empty(t, collect(t, s, artifact.CollectOptions{}).Archives)
	require.Len(t, filesIn(t, dir), 6)
	storeHolds(t, s, []digest.Digest{d}, 0)
}

// The index of an archive goes with it, and stays as long as it does.
func TestCollectIndexes(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	clock := newStoreClock()
	s.SetClock(clock.now)
	pack := func(v int) artifact.Summary {
		sum, err := s.Pack(t.Context(), fstest.MapFS{"v": {Data: fmt.Append(nil, v)}}, artifact.PackOptions{Incremental: true})
		require.NoError(t, err)
		require.NoError(t, s.Record(t.Context(), app, sum.Digest))
		return sum
	}
	index := func(sum artifact.Summary) string {
		return filepath.Join(dir, "sha256", sum.Digest.Encoded()+".index")
	}
	var sums []artifact.Summary
	for v := range 3 {
		sums = append(sums, pack(v))
		clock.pass(2 * time.Hour)
	}
	past := time.Now().Add(-time.Minute)
	require.NoError(t, os.Chtimes(index(sums[2]), past, past))
	orphan := filepath.Join(dir, "sha256", digest.FromString("gone").Encoded()+".index")
	require.NoError(t, os.WriteFile(orphan, nil, 0o600))

	done := collect(t, s, artifact.CollectOptions{Keep: 1})
	require.ElementsMatch(t, []digest.Digest{sums[0].Digest, sums[1].Digest}, done.Archives)
	require.NoFileExists(t, index(sums[0]))
	require.NoFileExists(t, index(sums[1]))
	require.NoFileExists(t, orphan)
	require.FileExists(t, index(sums[2]))
	require.Greater(t, done.Bytes, sums[0].Size+sums[1].Size)

	// What is damaged is removed with its index too.
	archive := filepath.Join(dir, "sha256", sums[2].Digest.Encoded()+".tar.gz")
	require.NoError(t, os.WriteFile(archive, []byte("x"), 0o600))
	require.ErrorAs(t, s.Check(t.Context(), sums[2].Digest), new(*artifact.DamagedError))
	require.NoFileExists(t, archive)
	require.NoFileExists(t, index(sums[2]))
}

// A reader that is at work reads on.
func TestCollectWhileItIsRead(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, s *artifact.Store, clock *storeClock) {
		sum, err := s.Pack(t.Context(), noise(), artifact.PackOptions{})
		require.NoError(t, err)
		r, err := s.Backend().Open(t.Context(), "sha256/"+sum.Digest.Encoded()+".tar.gz", 0, -1)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, r, 1000)
		require.NoError(t, err)
		clock.pass(2 * time.Hour)
		require.Len(t, collect(t, s, artifact.CollectOptions{}).Archives, 1)
		n, err := io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.Equal(t, sum.Size, 1000+n)
		require.NoError(t, r.Close())
	})
}

// Many sources change while others collect with no mercy: what a source has is
// always there. Each store has locks of its own, as a process has.
func TestCollectAmongWriters(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var collectors, writers errgroup.Group
	for range 2 {
		s := store(t, dir)
		collectors.Go(func() error {
			for ctx.Err() == nil {
				if _, err := s.Collect(t.Context(), artifact.CollectOptions{Keep: 1, MinAge: time.Nanosecond}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for w := range 4 {
		s := store(t, dir)
		writers.Go(func() error {
			for i := range 15 {
				tree := fstest.MapFS{"v": {Data: fmt.Append(nil, (w+i)%6)}}
				name := fmt.Sprintf("%s-%d", app, w)
				if err := storeUntilRecorded(t.Context(), s, name, tree); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, writers.Wait())
	stop()
	require.NoError(t, collectors.Wait())
	sound(t, dir)
}

// storeUntilRecorded packs a tree until it was not collected before it had its
// record; from then on it must be there.
func storeUntilRecorded(ctx context.Context, s *artifact.Store, name string, tree fs.FS) error {
	for {
		sum, err := s.Pack(ctx, tree, artifact.PackOptions{})
		if err != nil {
			return err
		}
		err = s.Record(ctx, name, sum.Digest)
		if err == nil {
			_, err = s.Open(ctx, sum.Digest)
			return err
		}
		if _, gone := asNotFound(err); !gone {
			return err
		}
	}
}

func asNotFound(err error) (*artifact.NotFoundError, bool) {
	return errors.AsType[*artifact.NotFoundError](err)
}
