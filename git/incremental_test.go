package git_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// noise is content that does not compress.
func noise(seed uint64, n int) string {
	random := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, random.Uint64())
	}
	return string(b[:n])
}

// estate is a tree of some hundred files of a few KB, with links and programs.
func estate() fstest.MapFS {
	tree := files()
	for i := range 200 {
		name := fmt.Sprintf("apps/team%d/app%d/deploy.yaml", i%7, i)
		tree[name] = &fstest.MapFile{Data: []byte(noise(uint64(i), 2000)), Mode: 0o644}
		if i%20 == 0 {
			tree[name].Mode = 0o755
		}
	}
	tree["apps/link"] = &fstest.MapFile{Data: []byte("team1"), Mode: fs.ModeSymlink | 0o777}
	tree["empty"] = &fstest.MapFile{Mode: 0o644}
	return tree
}

func put(tree fstest.MapFS, name, content string) fstest.MapFS {
	tree[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	return tree
}

// metered opens the repository over HTTP with a meter.
func (f *fixture) metered(opts git.Options) (*git.Remote, *meter.Meter) {
	f.t.Helper()
	var m meter.Meter
	opts.WrapTransport = m.Wrap
	return open(f.t, f.http.URL+"/repo.git", opts), &m
}

// received is what a step took from the wire.
func received(m *meter.Meter, step func()) int64 {
	before := m.Count()
	step()
	return m.Count().Sub(before).Received
}

func TestFetchBringsOnlyWhatIsNew(t *testing.T) {
	f := newFixture(t)
	tree := estate()
	f.commit("main", tree, nil)
	for _, server := range []*gitserver.Server{f.http, f.http0} {
		var m meter.Meter
		r := open(t, server.URL+"/repo.git", git.Options{WrapTransport: m.Wrap, Engine: git.EngineFast})
		n := received(&m, func() { f.requireSame(t, snapshot(t, r, git.Ref{})) })
		require.Greater(t, n, int64(400_000))

		put(tree, "apps/team1/app1/deploy.yaml", noise(m64(), 500))
		f.commit("main", tree, nil)
		n = received(&m, func() { f.requireSame(t, snapshot(t, r, git.Ref{})) })
		require.Less(t, n, int64(4096), "a commit of one file")

		put(tree, "new/file", noise(m64(), 500))
		delete(tree, "apps/team2/app2/deploy.yaml")
		commit := f.commit("main", tree, nil)
		tag := f.tag(fmt.Sprintf("v%d", m64()), commit, nil)
		n = received(&m, func() {
			s, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, git.FetchOptions{})
			require.NoError(t, err)
			f.requireSame(t, s)
		})
		require.Less(t, n, int64(4096), "a commit by its hash")
		name, err := f.Git(t.Context(), nil, "cat-file", "tag", tag)
		require.NoError(t, err)
		_, name, _ = strings.Cut(name, "\ntag ")
		name, _, _ = strings.Cut(name, "\n")
		n = received(&m, func() {
			s := snapshot(t, r, git.Ref{Tag: name})
			f.requireSame(t, s)
			require.Equal(t, tag, s.Tag().Hash)
		})
		require.Less(t, n, int64(2048), "only the tag")

		f.setRef("refs/tags/light", commit)
		n = received(&m, func() { f.requireSame(t, snapshot(t, r, git.Ref{Tag: "light"})) })
		require.Less(t, n, int64(2048), "nothing")
	}
}

var sequence atomic.Uint64

func m64() uint64 { return 1000 + sequence.Add(1) }

func TestFetchAfterAForcedPush(t *testing.T) {
	f := newFixture(t)
	tree := estate()
	first := f.commit("main", tree, nil)
	f.each(func(t *testing.T, r *git.Remote) {
		f.setRef("refs/heads/main", first)
		second := f.commit("main", put(tree, "b", noise(m64(), 100)), nil)
		f.requireSame(t, snapshot(t, r, git.Ref{}))
		f.setRef("refs/heads/main", first)
		s := snapshot(t, r, git.Ref{})
		require.Equal(t, first, s.Commit().Hash)
		f.requireSame(t, s)

		unrelated, err := f.Commit(t.Context(), files("x", noise(m64(), 100)), gitserver.CommitOptions{})
		require.NoError(t, err)
		f.setRef("refs/heads/main", unrelated)
		s = snapshot(t, r, git.Ref{})
		require.Equal(t, unrelated, s.Commit().Hash)
		f.requireSame(t, s)

		// Back to what is held still.
		s, err = r.Fetch(t.Context(), git.Revision{Commit: second}, git.FetchOptions{})
		require.NoError(t, err)
		f.requireSame(t, s)
	})
}

// gc makes the server forget what no reference leads to.
func (f *fixture) gc() {
	f.t.Helper()
	for _, args := range [][]string{{"reflog", "expire", "--expire=now", "--all"}, {"gc", "--quiet", "--prune=now"}} {
		_, err := f.Git(f.t.Context(), nil, args...)
		require.NoError(f.t, err)
	}
}

func TestFetchAfterTheServerForgot(t *testing.T) {
	f := newFixture(t)
	f.each(func(t *testing.T, r *git.Remote) {
		tree := estate()
		f.commit("main", tree, nil)
		old := snapshot(t, r, git.Ref{})
		was := listed(t, f.Repo, old.Commit().Hash)
		fresh, err := f.Commit(t.Context(), put(tree, "n", noise(m64(), 100)), gitserver.CommitOptions{})
		require.NoError(t, err)
		f.setRef("refs/heads/main", fresh)
		f.gc()
		_, err = f.Git(t.Context(), nil, "cat-file", "-e", old.Commit().Hash)
		require.Error(t, err, "it is gone")
		s := snapshot(t, r, git.Ref{})
		require.Equal(t, fresh, s.Commit().Hash)
		f.requireSame(t, s)
		require.Equal(t, was, seen(t, old), "what was fetched stays")
		f.setRef("refs/heads/main", "")
		f.gc()
	})
}

func TestFetchAfterTheRepositoryWasMadeAnew(t *testing.T) {
	f := newFixture(t)
	f.each(func(t *testing.T, r *git.Remote) {
		f.commit("main", estate(), nil)
		snapshot(t, r, git.Ref{})
		require.NoError(t, os.RemoveAll(f.Dir()))
		f.create("repo.git")
		f.commit("main", files("only", noise(m64(), 10)), nil)
		f.requireSame(t, snapshot(t, r, git.Ref{}))
	})
}

func TestFetchManyBranches(t *testing.T) {
	f := newFixture(t)
	r, tree := f.remote(), estate()
	for round := range 2 {
		for i := range 12 { // more than are kept
			branch := fmt.Sprintf("b%d", i)
			f.commit(branch, put(tree, "which", branch+noise(m64(), 10)), nil)
			s := snapshot(t, r, git.Ref{Branch: branch})
			if i == round {
				f.requireSame(t, s)
			}
			require.Equal(t, tree["which"].Data, readAll(t, s, "which"))
		}
	}
}

func TestFetchOfOneCommitByManyCallers(t *testing.T) {
	f := newFixture(t)
	tree := estate()
	tip := f.commit("main", tree, nil)
	other := f.commit("dev", put(tree, "x", "y"), nil)
	r, m := f.metered(git.Options{})
	rev, err := r.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	before := m.Count()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
			if err != nil || s.Commit().Hash != tip {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, m.Count().Sub(before).Requests)

	for i := range 20 {
		rev := git.Revision{Commit: tip}
		if i%2 == 0 {
			rev = git.Revision{Commit: other}
		}
		wg.Go(func() {
			s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
			if err != nil || s.Commit().Hash != rev.Commit {
				t.Error(err)
				return
			}
			if _, err := fs.ReadFile(s, "apps/team1/app1/deploy.yaml"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 2, m.Count().Sub(before).Requests)
}

// A caller that gives up does not disturb the others who wait for the same.
func TestFetchIsCancelledForOneCaller(t *testing.T) {
	f := newFixture(t)
	f.commit("main", estate(), nil)
	backend, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	reached, goOn := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if armed.CompareAndSwap(true, false) {
			close(reached)
			<-goOn
		}
		backend.ServeHTTP(w, req)
	}))
	defer server.Close()
	r := open(t, server.URL+"/repo.git", git.Options{})
	rev, err := r.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	armed.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	var first, second error
	var wg sync.WaitGroup
	wg.Go(func() { _, first = r.Fetch(ctx, rev, git.FetchOptions{}) })
	<-reached
	wg.Go(func() { _, second = r.Fetch(t.Context(), rev, git.FetchOptions{}) })
	cancel()
	close(goOn)
	wg.Wait()
	require.ErrorIs(t, first, context.Canceled)
	require.NoError(t, second)
}

func TestFetchOfWhatIsHeldTakesNoRequest(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", estate(), nil)
	tag := f.tag("v1.0.0", commit, nil)
	r, m := f.metered(git.Options{})
	fetch := func(rev git.Revision) *git.Snapshot {
		s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
		require.NoError(t, err)
		require.Equal(t, commit, s.Commit().Hash)
		require.Equal(t, rev, s.Revision())
		return s
	}
	branch, err := r.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	named, err := r.Resolve(t.Context(), git.Ref{Tag: "v1.0.0"})
	require.NoError(t, err)
	fetch(named)
	before := m.Count()
	require.Equal(t, tag, fetch(named).Tag().Hash)
	require.Nil(t, fetch(branch).Tag())
	require.Nil(t, fetch(git.Revision{Commit: commit}).Tag())
	parsed, err := git.ParseRevision(branch.String())
	require.NoError(t, err)
	fetch(parsed)
	s, err := r.Fetch(t.Context(), named, git.FetchOptions{Dirs: []string{"apps/team1"}})
	require.NoError(t, err)
	_, err = s.Stat("apps/team2")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Zero(t, m.Count().Sub(before).Requests)

	// Another Remote knows only the text.
	r, m = f.metered(git.Options{})
	parsed, err = git.ParseRevision(named.String())
	require.NoError(t, err)
	s, err = r.Fetch(t.Context(), parsed, git.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, tag, s.Tag().Hash)
	before = m.Count()
	s, err = r.Fetch(t.Context(), parsed, git.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, tag, s.Tag().Hash)
	require.Zero(t, m.Count().Sub(before).Requests)
}

// An empty commit, and a tag of it, have nothing of their own but themselves.
func TestFetchOfATagOfAnEmptyCommitIsHeld(t *testing.T) {
	f := newFixture(t)
	f.commit("main", estate(), nil)
	r, m := f.metered(git.Options{})
	snapshot(t, r, git.Ref{})
	empty := f.commit("main", estate(), nil)
	snapshot(t, r, git.Ref{})
	f.tag("v1.0.0", empty, nil)
	s := snapshot(t, r, git.Ref{Tag: "v1.0.0"})
	f.requireSame(t, s)
	before := m.Count()
	again, err := r.Fetch(t.Context(), s.Revision(), git.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, empty, again.Commit().Hash)
	require.Zero(t, m.Count().Sub(before).Requests)
	f.commit("main", put(estate(), "a", "b"), nil)
	require.Less(t, received(m, func() { snapshot(t, r, git.Ref{}) }), int64(4096))
}

// An empty file takes no bytes, and is held nevertheless.
func TestFetchKeepsEmptyFiles(t *testing.T) {
	f := newFixture(t)
	f.each(func(t *testing.T, r *git.Remote) {
		f.commit("main", files("a", noise(m64(), 9)), nil)
		snapshot(t, r, git.Ref{})
		f.commit("main", files("a", "1", "empty", ""), nil)
		snapshot(t, r, git.Ref{})
		for i := range 3 {
			f.commit("main", files("a", fmt.Sprint(i), "empty", ""), nil)
			f.requireSame(t, snapshot(t, r, git.Ref{}))
		}
	})
}

func TestFetchKeepsWithinLimits(t *testing.T) {
	f := newFixture(t)
	tree := estate()
	f.commit("main", tree, nil)
	for _, limit := range []int64{-1, 100_000} { // less than it is
		r, m := f.metered(git.Options{Limits: git.Limits{Kept: limit}})
		first := snapshot(t, r, git.Ref{})
		n := received(m, func() { snapshot(t, r, git.Ref{}) })
		require.Greater(t, n, int64(400_000), "nothing was kept")
		require.Zero(t, git.Kept(r))
		f.requireSame(t, first)
	}
	r, _ := f.metered(git.Options{Limits: git.Limits{Kept: 1_000_000}})
	for i := range 5 {
		f.commit("main", files("a", noise(m64(), 300_000), "i", fmt.Sprint(i)), nil)
		snapshot(t, r, git.Ref{})
		require.LessOrEqual(t, git.Kept(r), int64(1_000_000))
		require.Positive(t, git.Kept(r))
	}
}

func TestSnapshotOutlivesItsRemote(t *testing.T) {
	f := newFixture(t)
	f.each(func(t *testing.T, r *git.Remote) {
		f.commit("main", put(estate(), "large", noise(1, 5<<20)), nil) // in a file
		s := snapshot(t, r, git.Ref{})
		f.commit("main", put(estate(), "small", noise(m64(), 9)), nil)
		next := snapshot(t, r, git.Ref{})
		require.NoError(t, r.Close())
		f.requireSame(t, s)
		f.requireSame(t, next)
		_, err := r.Fetch(t.Context(), s.Revision(), git.FetchOptions{})
		require.ErrorIs(t, err, git.ErrClosed)
	})
}

// What is not used any more is given back.
func TestKeptObjectsDoNotGrowForEver(t *testing.T) {
	f := newFixture(t)
	r, tree := f.remote(), estate()
	live := int64(200*2000 + 3_000_000)
	for i := range 20 {
		f.commit("main", put(tree, "large", noise(m64(), 3_000_000)), nil)
		s := snapshot(t, r, git.Ref{})
		if i%10 == 9 {
			f.requireSame(t, s)
		}
		length, segments := git.Held(s)
		require.Less(t, length, 2*live+(20<<20), i)
		require.LessOrEqual(t, segments, 17, i)
	}
	// All eight that are kept.
	require.Less(t, git.Kept(r), 12*(2*live+(20<<20)))
}

func TestKeptObjectsOfManySmallCommits(t *testing.T) {
	f := newFixture(t)
	r, tree := f.remote(), estate()
	for i := range 40 {
		f.commit("main", put(tree, "small", fmt.Sprint(i)), nil)
		s := snapshot(t, r, git.Ref{})
		length, segments := git.Held(s)
		require.Less(t, length, int64(2_000_000))
		require.LessOrEqual(t, segments, 17, i)
	}
	f.requireSame(t, snapshot(t, r, git.Ref{}))
}

// archive extracts a commit as a caller would have it on disk.
func (f *fixture) archive(commit string) string {
	f.t.Helper()
	dir := f.t.TempDir()
	cmd := exec.CommandContext(f.t.Context(), "sh", "-c", "git archive "+commit+" | tar -x -C "+dir)
	cmd.Dir, cmd.Env = f.Dir(), append(gitserver.Environ(), "GIT_DIR=.")
	out, err := cmd.CombinedOutput()
	require.NoError(f.t, err, string(out))
	return dir
}

func TestFetchBuildsUponWhatTheCallerHas(t *testing.T) {
	f := newFixture(t)
	old := f.commit("main", estate(), nil)
	dir := f.archive(old)
	tip := f.commit("main", put(estate(), "apps/team1/app1/deploy.yaml", "changed"), nil)
	_, err := f.Commit(t.Context(), files("q", "unrelated"), gitserver.CommitOptions{Branch: "unrelated"})
	require.NoError(t, err)
	unrelated, err := f.Git(t.Context(), nil, "rev-parse", "unrelated")
	require.NoError(t, err)
	fewer, changed := estate(), estate()
	delete(fewer, "apps/team3/app3/deploy.yaml")
	put(changed, "apps/team3/app3/deploy.yaml", "something else")
	for name, tt := range map[string]struct {
		base  git.Base
		cheap bool
	}{
		"on disk":         {git.Base{Commit: old, FS: os.DirFS(dir)}, true},
		"in memory":       {git.Base{Commit: old, FS: estate()}, true},
		"with a snapshot": {git.Base{Commit: old, FS: snapshot(t, f.remote(), git.Ref{Commit: old})}, true},
		"some missing":    {git.Base{Commit: old, FS: fewer}, false},
		"some changed":    {git.Base{Commit: old, FS: changed}, false},
		"all missing":     {git.Base{Commit: old, FS: files()}, false},
		"wrong commit":    {git.Base{Commit: zeros, FS: estate()}, false},
		"another commit":  {git.Base{Commit: unrelated, FS: estate()}, false},
		"the new commit":  {git.Base{Commit: tip, FS: estate()}, false},
		"no hash":         {git.Base{Commit: "main", FS: estate()}, false},
		"no files":        {git.Base{Commit: old}, false},
		"errors":          {git.Base{Commit: old, FS: lyingFS{estate(), "error"}}, false},
		"short files":     {git.Base{Commit: old, FS: lyingFS{estate(), "short"}}, false},
		"other content":   {git.Base{Commit: old, FS: lyingFS{estate(), "other"}}, false},
		"other ids":       {git.Base{Commit: old, FS: lyingFS{estate(), "id"}}, true},
		"for ever":        {git.Base{Commit: old, FS: lyingFS{estate(), "endless"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, m := f.metered(git.Options{})
			n := received(m, func() {
				s, err := r.Fetch(t.Context(), git.Revision{Commit: tip}, git.FetchOptions{Base: tt.base})
				require.NoError(t, err)
				f.requireSame(t, s)
			})
			if tt.cheap {
				require.Less(t, n, int64(4096))
			}
		})
	}
	t.Run("some missing, from a server that can filter", func(t *testing.T) {
		f.allowFilter()
		for _, have := range []fs.FS{fewer, changed} {
			r, m := f.metered(git.Options{})
			n := received(m, func() {
				s, err := r.Fetch(t.Context(), git.Revision{Commit: tip}, git.FetchOptions{Base: git.Base{Commit: old, FS: have}})
				require.NoError(t, err)
				f.requireSame(t, s)
			})
			require.Less(t, n, int64(30_000), "all trees, and two files")
			before := m.Count()
			s, err := r.Fetch(t.Context(), git.Revision{Commit: tip}, git.FetchOptions{})
			require.NoError(t, err)
			f.requireSame(t, s)
			require.Zero(t, m.Count().Sub(before).Requests, "it is all there now")
		}
	})
	f.each(func(t *testing.T, r *git.Remote) {
		s, err := r.Fetch(t.Context(), git.Revision{Commit: tip}, git.FetchOptions{Base: git.Base{Commit: old, FS: os.DirFS(dir)}})
		require.NoError(t, err)
		f.requireSame(t, s)
	})
}

// lyingFS is a file system that is not what it says.
type lyingFS struct {
	fstest.MapFS
	how string
}

const lie = "apps/team3/app3/deploy.yaml"

func (l lyingFS) Open(name string) (fs.File, error) {
	file, err := l.MapFS.Open(name)
	if name != lie || err != nil {
		return file, err
	}
	switch l.how {
	case "error":
		return nil, errors.New("disk failure")
	case "short":
		return lyingFile{file, bytes.NewReader(nil)}, nil
	case "other":
		return lyingFile{file, strings.NewReader(noise(m64(), 2000))}, nil
	case "endless":
		return lyingFile{file, endless{}}, nil
	}
	return file, nil
}

// ContentID is that of another file.
func (l lyingFS) ContentID(string) (string, error) { return hashOf("blob", []byte(l.how)), nil }

type lyingFile struct {
	fs.File
	r io.Reader
}

func (l lyingFile) Read(p []byte) (int, error) { return l.r.Read(p) }

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }
