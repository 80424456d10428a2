package git_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// Servers that speak version 0 give what they list, and what the list leads to
// is found by walking there.
func TestFetchOldCommits(t *testing.T) {
	f := newFixture(t)
	var commits []string
	for i := range 130 {
		commits = append(commits, f.commit("main", files("a", fmt.Sprint(i)), nil))
	}
	ways := map[string]func(limits git.Limits) *git.Remote{
		"http v0": func(l git.Limits) *git.Remote {
			return open(t, f.http0.URL+"/repo.git", git.Options{Limits: l, Engine: git.EngineFast})
		},
		"ssh v0": func(l git.Limits) *git.Remote {
			return open(t, f.ssh0.URL+"/repo.git", git.Options{Limits: l, Engine: git.EngineFast, Auth: f.sshAuthOf(f.ssh0)})
		},
		"go-git": func(l git.Limits) *git.Remote {
			return open(t, f.ssh.URL+"/repo.git", git.Options{Limits: l, Engine: git.EngineCompatible, Auth: f.sshAuth()})
		},
	}
	for name, open := range ways {
		t.Run(name, func(t *testing.T) {
			for back, want := range map[int]int{1: 50, 49: 50, 60: 500, 129: 500} {
				r := open(git.Limits{})
				s, err := r.Fetch(t.Context(), git.Revision{Commit: commits[len(commits)-1-back]}, git.FetchOptions{})
				require.NoError(t, err)
				f.requireSame(t, s)
				if name != "http v0" { // which may give what is reachable
					require.Equal(t, want, s.Walked(), back)
				}
				s, err = r.Fetch(t.Context(), s.Revision(), git.FetchOptions{})
				require.NoError(t, err)
				f.requireSame(t, s)
			}
			if name == "http v0" {
				return
			}
			old := git.Revision{Commit: commits[0]}
			for _, history := range []int{-1, 1, 20, 129} {
				_, err := open(git.Limits{History: history}).Fetch(t.Context(), old, git.FetchOptions{})
				require.ErrorIs(t, err, git.ErrCommitUnavailable, history)
			}
			s, err := open(git.Limits{History: 130}).Fetch(t.Context(), old, git.FetchOptions{})
			require.NoError(t, err)
			require.Equal(t, 130, s.Walked())
			_, err = open(git.Limits{}).Fetch(t.Context(), git.Revision{Commit: zeros}, git.FetchOptions{})
			require.ErrorIs(t, err, git.ErrCommitUnavailable)
			require.ErrorContains(t, err, "resolve sha1:")
		})
	}
	t.Run("version 2 gives it", func(t *testing.T) {
		s, err := f.remote().Fetch(t.Context(), git.Revision{Commit: commits[0]}, git.FetchOptions{})
		require.NoError(t, err)
		require.Zero(t, s.Walked())
	})
}

// A tag that was moved is gone, though its commit is not.
func TestFetchOfATagThatMoved(t *testing.T) {
	f := newFixture(t)
	first := f.commit("main", files("a", "1"), nil)
	f.tag("v1.0.0", first, nil)
	r := open(t, f.ssh0.URL+"/repo.git", git.Options{Auth: f.sshAuthOf(f.ssh0)})
	rev, err := r.Resolve(t.Context(), git.Ref{Tag: "v1.0.0"})
	require.NoError(t, err)
	f.tag("v1.0.0", f.commit("main", files("a", "2"), nil), nil)
	f.gc()
	_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
	require.ErrorIs(t, err, git.ErrCommitUnavailable)
	require.False(t, terminal(t, err))
}

func TestResolveShortHash(t *testing.T) {
	f := newFixture(t)
	first := f.commit("main", files("a", "1"), nil)
	second := f.commit("dev", files("a", "2"), nil)
	f.tag("v1", second, nil)
	f.each(func(t *testing.T, r *git.Remote) {
		for _, n := range []int{7, 8, 39} {
			rev, err := r.Resolve(t.Context(), git.Ref{Commit: first[:n]})
			require.NoError(t, err)
			require.Equal(t, git.Revision{Commit: first}, rev)
			s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
			require.NoError(t, err)
			require.Equal(t, first, s.Commit().Hash)
		}
		rev, err := r.Resolve(t.Context(), git.Ref{Commit: second[:7]})
		require.NoError(t, err)
		require.Equal(t, git.Revision{Commit: second}, rev, "the commit, not its tag")
		_, err = r.Resolve(t.Context(), git.Ref{Commit: "0000000"})
		require.ErrorIs(t, err, git.ErrReferenceNotFound)
		for _, bad := range []string{first[:6], strings.ToUpper(second[:8]) + "A", "xyzxyzx", first + "0"} {
			_, err = r.Resolve(t.Context(), git.Ref{Commit: bad})
			require.ErrorIs(t, err, git.ErrInvalidRef)
		}
	})
	t.Run("ambiguous", func(t *testing.T) {
		refs := pkt(zeros+" refs/heads/a\n") + pkt(zeros[:39]+"0 refs/heads/b\n") + "0000"
		_, err := (&hostile2{refs: refs}).serve(t, git.Options{}).Resolve(t.Context(), git.Ref{Commit: zeros[:7]})
		require.ErrorIs(t, err, git.ErrReferenceNotFound)
		require.ErrorContains(t, err, "more than one commit")
	})
}

func TestResolveNamesThatBeginAlike(t *testing.T) {
	f := newFixture(t)
	a := f.commit("main", files("a", "1"), nil)
	b := f.commit("main2", files("a", "2"), nil)
	tag := f.tag("v1.0", a, nil)
	f.setRef("refs/tags/v1.0.1", b)
	f.setRef("refs/pull/42/head", b)
	f.setRef("refs/pull/42/merge", a)
	f.setRef("refs/pull/421/head", a)
	f.each(func(t *testing.T, r *git.Remote) {
		for _, tt := range []struct {
			ref  git.Ref
			want git.Revision
		}{
			{git.Ref{Branch: "main"}, git.Revision{Name: "main", Commit: a}},
			{git.Ref{Branch: "main2"}, git.Revision{Name: "main2", Commit: b}},
			{git.Ref{Tag: "v1.0"}, git.Revision{Name: "v1.0", Commit: a, Tag: tag}},
			{git.Ref{Tag: "v1.0.1"}, git.Revision{Name: "v1.0.1", Commit: b}},
			{git.Ref{Name: "refs/pull/42/head"}, git.Revision{Name: "refs/pull/42/head", Commit: b}},
			{git.Ref{Name: "refs/pull/42/merge"}, git.Revision{Name: "refs/pull/42/merge", Commit: a}},
			{git.Ref{Name: "refs/tags/v1.0^{}"}, git.Revision{Name: "refs/tags/v1.0^{}", Commit: a}},
		} {
			rev, err := r.Resolve(t.Context(), tt.ref)
			require.NoError(t, err)
			require.Equal(t, tt.want, rev)
			s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
			require.NoError(t, err)
			require.Equal(t, tt.want, s.Revision())
			parsed, err := git.ParseRevision(rev.String())
			require.NoError(t, err)
			s, err = r.Fetch(t.Context(), parsed, git.FetchOptions{})
			require.NoError(t, err)
			require.Equal(t, tt.want, s.Revision())
		}
		for _, missing := range []git.Ref{{Branch: "mai"}, {Branch: "main3"}, {Tag: "v1"}, {Name: "refs/pull/4/head"}, {Name: "refs/pull/42"}} {
			_, err := r.Resolve(t.Context(), missing)
			require.ErrorIs(t, err, git.ErrReferenceNotFound, missing)
		}
	})
}

func TestResolveVersionsThatAreEqual(t *testing.T) {
	for _, filter := range []bool{true, false} {
		f := anotherFixture(t)
		if filter {
			f.allowFilter()
		}
		day := func(n int) string {
			hash, err := f.Commit(t.Context(), files("a", fmt.Sprint(n)), gitserver.CommitOptions{Time: time.Date(2025, 1, n, 0, 0, 0, 0, time.UTC)})
			require.NoError(t, err)
			return hash
		}
		young, old := day(9), day(2)
		f.setRef("refs/tags/v1.0.0+z", old)
		tag := f.tag("v1.0.0+a", young, nil)
		f.setRef("refs/tags/v0.9.0+z", day(20))
		f.setRef("refs/heads/main", old)
		rev, err := f.remote().Resolve(t.Context(), git.Ref{SemVer: "*"})
		require.NoError(t, err)
		want := git.Revision{Name: "v1.0.0+z", Commit: old}
		if filter {
			want = git.Revision{Name: "v1.0.0+a", Commit: young, Tag: tag}
		}
		require.Equal(t, want, rev)
	}
}

// However many references there are, one costs what one costs.
func TestResolveCostOfManyReferences(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", files("a", "1"), nil)
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range 100_000 {
		fmt.Fprintf(&packed, "%s refs/heads/team/branch-%06d\n", commit, i)
	}
	writeFile(t, filepath.Join(f.Dir(), "packed-refs"), packed.String())
	for server, most := range map[*gitserver.Server]int64{f.http: 4096, f.http0: 20 << 20} {
		var m meter.Meter
		r := open(t, server.URL+"/repo.git", git.Options{WrapTransport: m.Wrap})
		for _, branch := range []string{"main", "team/branch-099999"} {
			rev, err := r.Resolve(t.Context(), git.Ref{Branch: branch})
			require.NoError(t, err)
			require.Equal(t, git.Revision{Name: branch, Commit: commit}, rev)
		}
		require.LessOrEqual(t, m.Count().Requests, int64(3))
		require.Less(t, m.Count().Received, most)
		_, err := r.Resolve(t.Context(), git.Ref{})
		require.NoError(t, err)
		if server == f.http {
			require.Less(t, m.Count().Received, most)
		}
	}
}

// A repository whose objects have other names is refused in every way.
func TestSHA256InEveryWay(t *testing.T) {
	f := newFixture(t)
	f.git("", "init", "--quiet", "--bare", "--object-format=sha256", filepath.Join(f.root, "new.git"))
	dir := "--git-dir=../new.git"
	tree := strings.TrimSpace(string(f.git("", dir, "hash-object", "-w", "-t", "tree", "/dev/null")))
	commit := strings.TrimSpace(string(f.git("", dir, "-c", "user.name=a", "-c", "user.email=b", "commit-tree", "-m", "x", tree)))
	f.git("", dir, "update-ref", "refs/heads/main", commit)
	for name, r := range f.remotesOf("new.git") {
		_, err := r.Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrObjectFormat, name)
		_, err = r.Fetch(t.Context(), git.Revision{Commit: zeros}, git.FetchOptions{})
		require.ErrorIs(t, err, git.ErrObjectFormat, name)
	}
}

// A HEAD that leads nowhere, over all ways.
func TestUnbornHead(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("trunk", files("a", "1"), nil)
	f.each(func(t *testing.T, r *git.Remote) {
		s := snapshot(t, r, git.Ref{Branch: "trunk"})
		require.Equal(t, commit, s.Commit().Hash)
		_, err := r.Resolve(t.Context(), git.Ref{Name: "HEAD"})
		require.ErrorIs(t, err, git.ErrReferenceNotFound)
	})
}
