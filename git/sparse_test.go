package git_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

// allowFilter lets the server leave out what is not wanted.
func (f *fixture) allowFilter() {
	f.t.Helper()
	_, err := f.Git(f.t.Context(), nil, "config", "uploadpack.allowFilter", "true")
	require.NoError(f.t, err)
}

func fetchDirs(t *testing.T, r *git.Remote, rev git.Revision, dirs ...string) *git.Snapshot {
	t.Helper()
	s, err := r.Fetch(t.Context(), rev, git.FetchOptions{Dirs: dirs})
	require.NoError(t, err)
	return s
}

// requireDirs compares what is in some directories with what git sees there,
// and makes sure that there is nothing else.
func (f *fixture) requireDirs(t *testing.T, s *git.Snapshot, dirs ...string) {
	t.Helper()
	want := map[string]string{}
	for name, line := range listed(t, f.Repo, s.Commit().Hash) {
		for _, dir := range dirs {
			if name == dir || strings.HasPrefix(name, dir+"/") || strings.HasPrefix(dir, name+"/") {
				want[name] = line
			}
		}
	}
	require.NotEmpty(t, want)
	require.Equal(t, want, seen(t, s))
}

func TestFetchDirs(t *testing.T) {
	for _, filter := range []bool{true, false} {
		t.Run(fmt.Sprintf("filter %v", filter), func(t *testing.T) {
			f := anotherFixture(t)
			if filter {
				f.allowFilter()
			}
			tree := estate()
			tree["apps/team1/out"] = &fstest.MapFile{Data: []byte("../team2/app2/deploy.yaml"), Mode: fs.ModeSymlink | 0o777}
			tree["apps/team1/in"] = &fstest.MapFile{Data: []byte("app1/deploy.yaml"), Mode: fs.ModeSymlink | 0o777}
			tree["apps/team1-x/file"] = &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
			commit := f.commit("main", tree, nil)
			rev := git.Revision{Commit: commit}
			f.each(func(t *testing.T, r *git.Remote) {
				s := fetchDirs(t, r, rev, "apps/team1/app1", "./apps/team1/", "apps/team1-x", "apps/team3/app3")
				f.requireDirs(t, s, "apps/team1", "apps/team1-x", "apps/team3/app3")
				sub, err := s.Sub("apps/team3")
				require.NoError(t, err)
				require.NoError(t, fstest.TestFS(sub, "app3/deploy.yaml"))
				for _, name := range []string{"empty", "apps/team2", "apps/team2/app2/deploy.yaml", "apps/team3/app10", "apps/team1/out", "apps/link/../empty"} {
					_, err := s.Stat(name)
					require.Error(t, err, name)
				}
				_, err = s.ReadFile("apps/team1/out")
				require.ErrorIs(t, err, fs.ErrNotExist, "a link to what was left out")
				content, err := s.ReadFile("apps/team1/in")
				require.NoError(t, err)
				require.Equal(t, tree["apps/team1/app1/deploy.yaml"].Data, content)
				whole, err := s.TreeHash(".")
				require.NoError(t, err)
				require.Equal(t, s.Commit().Tree, whole)

				_, err = r.Fetch(t.Context(), rev, git.FetchOptions{Dirs: []string{"apps/team1", "apps/none"}})
				require.ErrorIs(t, err, git.ErrDirectoryNotFound)
				require.ErrorContains(t, err, `"apps/none"`)
				_, err = r.Fetch(t.Context(), rev, git.FetchOptions{Dirs: []string{"apps/link"}})
				require.ErrorIs(t, err, git.ErrDirectoryNotFound, "a link is no directory")
				_, err = r.Fetch(t.Context(), rev, git.FetchOptions{Dirs: []string{"empty"}})
				require.ErrorIs(t, err, git.ErrDirectoryNotFound, "a file neither")

				// All of it, after some of it.
				all, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
				require.NoError(t, err)
				f.requireSame(t, all)
				f.requireDirs(t, fetchDirs(t, r, rev, "apps/team5"), "apps/team5")
			})
		})
	}
}

func TestFetchDirsRefuses(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", estate(), nil)
	r := f.remote()
	for _, dir := range []string{"", "/", "/apps", "..", "../x", "apps/../empty", "apps//team1", "apps/./team1", "apps/team1//", "a\xff"} {
		_, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, git.FetchOptions{Dirs: []string{dir}})
		require.ErrorIs(t, err, git.ErrInvalidRef, dir)
		require.True(t, terminal(t, err))
	}
	for _, dir := range []string{".", "./"} {
		f.requireSame(t, fetchDirs(t, r, git.Revision{Commit: commit}, dir))
	}
}

func TestFetchDirsCost(t *testing.T) {
	f := newFixture(t)
	f.allowFilter()
	tree := estate()
	commit := f.commit("main", tree, nil)
	r, m := f.metered(git.Options{})
	n := received(m, func() { fetchDirs(t, r, git.Revision{Commit: commit}, "apps/team3/app3") })
	require.Less(t, n, int64(40_000), "all trees, and one file")

	next := f.commit("main", put(tree, "apps/team3/app3/deploy.yaml", "changed"), nil)
	n = received(m, func() {
		f.requireDirs(t, fetchDirs(t, r, git.Revision{Commit: next}, "apps/team3/app3"), "apps/team3/app3")
	})
	require.Less(t, n, int64(4096))

	next = f.commit("main", put(tree, "apps/team4/app4/deploy.yaml", noise(m64(), 100_000)), nil)
	n = received(m, func() {
		f.requireDirs(t, fetchDirs(t, r, git.Revision{Commit: next}, "apps/team3/app3"), "apps/team3/app3")
	})
	require.Less(t, n, int64(4096), "what is not wanted may change")

	before := m.Count()
	fetchDirs(t, r, git.Revision{Commit: next}, "apps/team3/app3")
	require.Zero(t, m.Count().Sub(before).Requests)
	f.requireDirs(t, fetchDirs(t, r, git.Revision{Commit: next}, "apps/team4"), "apps/team4")
	require.Less(t, m.Count().Sub(before).Received, int64(250_000))
}
