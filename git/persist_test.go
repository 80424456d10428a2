package git_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// large is a tree that does not fit into the memory of a transfer.
func large(t *testing.T, changed string) fstest.MapFS {
	t.Helper()
	m := files("dir/changed", changed, "small", "1")
	for i := range 5 {
		data := make([]byte, 1<<20)
		copy(data, fmt.Sprint(i))
		m[fmt.Sprintf("dir/%d", i)] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	return m
}

// same fails unless a snapshot has the files of a tree.
func same(t *testing.T, want fstest.MapFS, got fs.FS) {
	t.Helper()
	n := 0
	require.NoError(t, fs.WalkDir(got, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		data, err := fs.ReadFile(got, name)
		require.NoError(t, err)
		require.True(t, string(want[name].Data) == string(data), "%s differs", name)
		return nil
	}))
	require.Equal(t, len(want), n)
}

func TestKeptAcrossRestarts(t *testing.T) {
	f := newFixture(t)
	first, second := large(t, "1"), large(t, "2")
	f.commit("main", first, nil)
	dir := filepath.Join(t.TempDir(), "kept")
	var m meter.Meter
	opts := git.Options{Dir: dir, WrapTransport: m.Wrap}
	r := open(t, f.http.URL+"/repo.git", opts)
	same(t, first, snapshot(t, r, git.Ref{}))
	require.NoError(t, r.Close())

	t.Run("what is held takes no objects", func(t *testing.T) {
		r := open(t, f.http.URL+"/repo.git", opts)
		rev, err := r.Resolve(t.Context(), git.Ref{})
		require.NoError(t, err)
		before := m.Count()
		s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
		require.NoError(t, err)
		require.Zero(t, m.Count().Sub(before).Requests)
		same(t, first, s)
		require.NoError(t, r.Close())
		same(t, first, s)
	})
	t.Run("what is new is little", func(t *testing.T) {
		f.commit("main", second, nil)
		r := open(t, f.http.URL+"/repo.git", opts)
		before := m.Count()
		same(t, second, snapshot(t, r, git.Ref{}))
		require.Less(t, m.Count().Sub(before).Received, int64(4<<10))
	})
	t.Run("another repository begins anew", func(t *testing.T) {
		other := f.create("other.git")
		_, err := other.Commit(t.Context(), files("a", "b"), gitserver.CommitOptions{Branch: "main", Message: "m"})
		require.NoError(t, err)
		same(t, files("a", "b"), snapshot(t, open(t, f.http.URL+"/other.git", opts), git.Ref{}))
	})
	t.Run("what is not needed is removed", func(t *testing.T) {
		names := entries(t, dir)
		require.Len(t, names, 2, "the state and one segment: %v", names)
	})
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// A process that ends before any of its steps on the disk leaves a directory
// that the next one can use, or does not use.
func TestKilledAtEachStep(t *testing.T) {
	f := newFixture(t)
	trees := []fstest.MapFS{large(t, "1"), large(t, "2"), large(t, "3")}
	var commits []string
	for _, tree := range trees {
		commits = append(commits, f.commit("main", tree, nil))
	}
	killed := errors.New("killed")
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		left := steps
		r := open(t, f.http.URL+"/repo.git", git.Options{Dir: dir})
		git.FailDisk(r, func(string) error {
			if left--; left < 0 {
				return killed
			}
			return nil
		})
		for _, commit := range commits[:2] {
			// It fails, or does not: the process is gone.
			_, _ = r.Fetch(t.Context(), git.Revision{Commit: commit}, git.FetchOptions{})
		}
		r = open(t, f.http.URL+"/repo.git", git.Options{Dir: dir})
		for i, commit := range commits {
			s, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, git.FetchOptions{})
			require.NoError(t, err, "after %d steps", steps)
			same(t, trees[i], s)
		}
		if left > 0 {
			require.Greater(t, steps, 10)
			return
		}
	}
}

// Whatever happens to the files, the content is that of the commit.
func TestDamagedDirectory(t *testing.T) {
	f := newFixture(t)
	first, second := large(t, "1"), large(t, "2")
	f.commit("main", first, nil)
	damages := map[string]func(t *testing.T, file string){
		"removed":   func(t *testing.T, file string) { require.NoError(t, os.Remove(file)) },
		"empty":     func(t *testing.T, file string) { require.NoError(t, os.Truncate(file, 0)) },
		"truncated": func(t *testing.T, file string) { truncate(t, file, -1) },
		"half":      func(t *testing.T, file string) { truncate(t, file, 0) },
		"random": func(t *testing.T, file string) {
			data := make([]byte, 4096)
			_, _ = rand.Read(data)
			require.NoError(t, os.WriteFile(file, data, 0o600))
		},
		"flipped at the beginning": func(t *testing.T, file string) { flip(t, file, 10) },
		"flipped in a file": func(t *testing.T, file string) {
			if strings.HasSuffix(file, ".objects") {
				flip(t, file, 2<<20)
			}
		},
		"flipped at the end":     func(t *testing.T, file string) { flip(t, file, -10) },
		"flipped before the end": func(t *testing.T, file string) { flip(t, file, -120) },
	}
	for name, damage := range damages {
		for _, suffix := range []string{".objects", ".json"} {
			t.Run(name+" "+suffix, func(t *testing.T) {
				f.setRef("refs/heads/main", f.commit("main", first, nil))
				dir := t.TempDir()
				r := open(t, f.http.URL+"/repo.git", git.Options{Dir: dir})
				snapshot(t, r, git.Ref{})
				require.NoError(t, r.Close())
				for _, file := range entries(t, dir) {
					if strings.HasSuffix(file, suffix) {
						damage(t, filepath.Join(dir, file))
					}
				}
				r = open(t, f.http.URL+"/repo.git", git.Options{Dir: dir})
				same(t, first, snapshot(t, r, git.Ref{}))
				f.commit("main", second, nil)
				same(t, second, snapshot(t, r, git.Ref{}))
			})
		}
	}
}

// truncate cuts a file: to half of it, or by some bytes.
func truncate(t *testing.T, file string, by int64) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	size := info.Size() / 2
	if by < 0 {
		size = info.Size() + by
	}
	require.NoError(t, os.Truncate(file, size))
}

func flip(t *testing.T, file string, at int) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	if at < 0 {
		at = max(0, at+len(data))
	}
	data[at] ^= 0x40
	require.NoError(t, os.WriteFile(file, data, 0o600))
}

// A disk that is full is not the end.
func TestDiskFull(t *testing.T) {
	f := newFixture(t)
	f.commit("main", large(t, "1"), nil)
	r := open(t, f.http.URL+"/repo.git", git.Options{Dir: filepath.Join(t.TempDir(), "kept")})
	git.FailDisk(r, func(string) error { return errors.New("no space left on device") })
	rev, err := r.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
	require.ErrorIs(t, err, git.ErrStorage)
	require.ErrorContains(t, err, "no space left")
	require.False(t, terminal(t, err))
}
