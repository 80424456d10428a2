package git_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestFetchByText(t *testing.T) {
	f := newFixture(t)
	old := f.commit("main", files("a", "1"), nil)
	tip := f.commit("main", files("a", "2"), nil)
	tag := f.tag("v1.0.0", tip, nil)
	f.each(func(t *testing.T, r *git.Remote) {
		for text, wantTag := range map[string]string{
			"main@sha1:" + tip:             "",
			"v1.0.0@sha1:" + tip:           tag,
			"refs/tags/v1.0.0@sha1:" + tip: tag,
			"sha1:" + tip:                  "",
			"HEAD@sha1:" + tip:             "",
		} {
			rev, err := git.ParseRevision(text)
			require.NoError(t, err)
			s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
			require.NoError(t, err, text)
			require.Equal(t, text, s.Revision().String())
			require.Equal(t, wantTag, s.Revision().Tag)
			require.Equal(t, tip, s.Commit().Hash)
			require.Equal(t, []string{old}, s.Commit().Parents)
		}
	})
}

// A commit that is pinned by a tag alone has no branch, and its own hash is not
// in the list of what the server gives.
func TestFetchCommitThatOnlyATagLeadsTo(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	commit, err := f.Commit(t.Context(), files("a", "2"), gitserver.CommitOptions{})
	require.NoError(t, err)
	f.tag("v1.0.0", commit, nil)
	f.each(func(t *testing.T, r *git.Remote) {
		s, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, git.FetchOptions{})
		require.NoError(t, err)
		require.Equal(t, commit, s.Commit().Hash)
		require.Nil(t, s.Tag(), "the commit was asked for, not the tag")
	})
}

func TestFetchAfterTheBranchMoved(t *testing.T) {
	f := newFixture(t)
	old := f.commit("main", files("a", "1"), nil)
	remotes := f.remotes()
	revs := map[string]git.Revision{}
	for name, r := range remotes {
		rev, err := r.Resolve(t.Context(), git.Ref{})
		require.NoError(t, err)
		require.Equal(t, old, rev.Commit)
		revs[name] = rev
	}
	f.commit("main", files("a", "2"), nil)

	t.Run("http gives what a reference leads to", func(t *testing.T) {
		s, err := remotes["http auto"].Fetch(t.Context(), revs["http auto"], git.FetchOptions{})
		require.NoError(t, err)
		require.Equal(t, old, s.Commit().Hash)
	})
	t.Run("and so does ssh", func(t *testing.T) {
		s, err := remotes["ssh auto"].Fetch(t.Context(), revs["ssh auto"], git.FetchOptions{})
		require.NoError(t, err)
		require.Equal(t, old, s.Commit().Hash)
	})
}

func TestFetchUnknownCommit(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	f.each(func(t *testing.T, r *git.Remote) {
		_, err := r.Fetch(t.Context(), git.Revision{Commit: "0123456789abcdef0123456789abcdef01234567"}, git.FetchOptions{})
		require.ErrorIs(t, err, git.ErrCommitUnavailable)
		_, err = r.Fetch(t.Context(), git.Revision{}, git.FetchOptions{})
		require.ErrorIs(t, err, git.ErrInvalidRef)
	})
}

func TestFetchTagOfATree(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	tree, err := f.Tree(files("a", "1"))
	require.NoError(t, err)
	f.tag("tree", tree, nil)
	f.setRef("refs/tags/bare-tree", tree)
	for _, tag := range []string{"tree", "bare-tree"} {
		r := f.remote()
		rev, err := r.Resolve(t.Context(), git.Ref{Tag: tag})
		require.NoError(t, err)
		_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
		require.ErrorIs(t, err, git.ErrMalformed)
	}
}

// Many similar files make the server send deltas; a long history must not be
// sent at all.
func TestFetchDeltasAndNoHistory(t *testing.T) {
	f := newFixture(t)
	random := rand.New(rand.NewPCG(1, 2))
	var base bytes.Buffer
	for range 4000 {
		fmt.Fprintf(&base, "%x\n", random.Uint64())
	}
	tree := files()
	for i := range 30 {
		content := bytes.Replace(base.Bytes(), []byte("a"), fmt.Appendf(nil, "<%d>", i), 5)
		tree[fmt.Sprintf("dir%d/file%d.yaml", i%3, i)] = files("x", string(content))["x"]
	}
	for i := range 5 {
		noise := make([]byte, 200_000)
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		tree["noise"] = files("x", string(noise))["x"]
		if i == 4 {
			delete(tree, "noise")
		}
		f.commit("main", tree, nil)
	}
	_, err := f.Git(t.Context(), nil, "repack", "-adfq", "--depth=50")
	require.NoError(t, err)

	var m meter.Meter
	r := open(t, f.http.URL+"/repo.git", git.Options{WrapTransport: m.Wrap})
	for name, r := range map[string]*git.Remote{"http": r, "ssh": f.remotes()["ssh auto"]} {
		s := snapshot(t, r, git.Ref{})
		for path, want := range tree {
			content, err := fs.ReadFile(s, path)
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(want.Data, content), path)
		}
	}
	require.Less(t, m.Count().Received, int64(200_000), "neither history nor whole copies")
}

func TestFetchIsSafeForConcurrentUse(t *testing.T) {
	f := newFixture(t)
	main := f.commit("main", files("a", "main"), nil)
	dev := f.commit("dev", files("a", "dev"), nil)
	f.each(func(t *testing.T, r *git.Remote) {
		var wg sync.WaitGroup
		for i := range 8 {
			branch, want := "main", main
			if i%2 == 1 {
				branch, want = "dev", dev
			}
			wg.Go(func() {
				rev, err := r.Resolve(t.Context(), git.Ref{Branch: branch})
				if err != nil || rev.Commit != want {
					t.Errorf("%s: %v %v", branch, rev, err)
					return
				}
				s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				content, err := s.ReadFile("a")
				if err != nil || string(content) != branch {
					t.Errorf("%s: %s %v", branch, content, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestFetchReportsProgress(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	for _, url := range []string{f.http.URL, f.ssh.URL} {
		opts := git.Options{}
		if url == f.ssh.URL {
			opts.Auth = f.sshAuth()
		}
		var last int64
		opts.Progress = func(p git.Progress) {
			require.Greater(t, p.Received, int64(0))
			last = p.Received
		}
		snapshot(t, open(t, url+"/repo.git", opts), git.Ref{})
		require.Greater(t, last, int64(100))
	}
}
