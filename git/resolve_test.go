package git_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestResolve(t *testing.T) {
	f := newFixture(t)
	first := f.commit("main", files("a", "1"), nil)
	second := f.commit("main", files("a", "2"), nil)
	other := f.commit("feature/x", files("a", "3"), nil)
	annotated := f.tag("v1.0.0", first, nil)
	nested, err := f.Tag(t.Context(), "nested", annotated, gitserver.TagOptions{})
	require.NoError(t, err)
	f.setRef("refs/tags/light", second)
	f.setRef("refs/tags/refs/heads/main", other)
	f.setRef("refs/pull/42/head", other)
	// A tag and a branch of one name.
	f.setRef("refs/heads/v1.0.0", other)

	tests := []struct {
		name string
		ref  git.Ref
		want git.Revision
	}{
		{"the zero value is HEAD's branch", git.Ref{}, git.Revision{Name: "main", Commit: second}},
		{"branch", git.Ref{Branch: "feature/x"}, git.Revision{Name: "feature/x", Commit: other}},
		{"annotated tag", git.Ref{Tag: "v1.0.0"}, git.Revision{Name: "v1.0.0", Commit: first, Tag: annotated}},
		{"lightweight tag", git.Ref{Tag: "light"}, git.Revision{Name: "light", Commit: second}},
		{"tag of a tag", git.Ref{Tag: "nested"}, git.Revision{Name: "nested", Commit: first, Tag: nested}},
		{"branch that is called like a tag", git.Ref{Branch: "v1.0.0"}, git.Revision{Name: "v1.0.0", Commit: other}},
		{"tag that is called like a full name", git.Ref{Tag: "refs/heads/main"}, git.Revision{Name: "refs/tags/refs/heads/main", Commit: other}},
		{"full name", git.Ref{Name: "refs/pull/42/head"}, git.Revision{Name: "refs/pull/42/head", Commit: other}},
		{"full name of a branch", git.Ref{Name: "refs/heads/main"}, git.Revision{Name: "refs/heads/main", Commit: second}},
		{"full name of a tag", git.Ref{Name: "refs/tags/v1.0.0"}, git.Revision{Name: "refs/tags/v1.0.0", Commit: first, Tag: annotated}},
		{"HEAD by name", git.Ref{Name: "HEAD"}, git.Revision{Name: "main", Commit: second}},
		{"range", git.Ref{SemVer: "*"}, git.Revision{Name: "v1.0.0", Commit: first, Tag: annotated}},
		{"commit", git.Ref{Commit: first}, git.Revision{Commit: first}},
		{"commit before name", git.Ref{Commit: first, Name: "refs/pull/42/head"}, git.Revision{Commit: first}},
		{"name before range", git.Ref{Name: "refs/pull/42/head", SemVer: "*"}, git.Revision{Name: "refs/pull/42/head", Commit: other}},
		{"range before tag", git.Ref{SemVer: "*", Tag: "light"}, git.Revision{Name: "v1.0.0", Commit: first, Tag: annotated}},
		{"tag before branch", git.Ref{Tag: "light", Branch: "feature/x"}, git.Revision{Name: "light", Commit: second}},
	}
	f.each(func(t *testing.T, r *git.Remote) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				rev, err := r.Resolve(t.Context(), tt.ref)
				require.NoError(t, err)
				require.Equal(t, tt.want, rev)
				// Whatever was resolved can be fetched, also from its text form.
				s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
				require.NoError(t, err)
				require.Equal(t, tt.want, s.Revision())
				require.Equal(t, tt.want.Commit, s.Commit().Hash)
				require.Equal(t, tt.want.Tag != "", s.Tag() != nil)
			})
		}
	})
}

func TestResolveSemVer(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", files("a", "1"), nil)
	for _, tag := range []string{
		"v0.1.0", "0.2.0", "v0.2.1", "1.0.0-alpha", "v1.0.0", "v1.9.0", "v1.10.0", "v2.0.0-rc.1",
		"v1", "v1.11", "latest", "release-9.9.9", "v3.0.0+build.1", "v3.0.0+build.2",
	} {
		f.setRef("refs/tags/"+tag, commit)
	}
	r := f.remote()
	for constraint, want := range map[string]string{
		"*":                  "v3.0.0+build.2", // equal versions: the last name
		"<2":                 "v1.10.0",        // numbers, not text
		">=1.0.0 <1.10.0":    "v1.9.0",
		"<v0.2.1":            "0.2.0", // with or without a v, in both
		"~0.2":               "v0.2.1",
		"<1.0.0":             "v0.2.1", // no pre-releases unless asked for
		"<1.0.0-0":           "v0.2.1",
		">=1.0.0-0 <1.0.0":   "1.0.0-alpha",
		"~2.0.0-0":           "v2.0.0-rc.1",
		"1.0.0 || 0.1.0":     "v1.0.0",
		">=1.0.0-0 <2.0.0-0": "v1.10.0",
	} {
		t.Run(constraint, func(t *testing.T) {
			rev, err := r.Resolve(t.Context(), git.Ref{SemVer: constraint})
			require.NoError(t, err)
			require.Equal(t, want, rev.Name)
		})
	}
	_, err := r.Resolve(t.Context(), git.Ref{SemVer: ">=9"})
	require.ErrorIs(t, err, git.ErrNoMatch)
	require.ErrorContains(t, err, `SemVer range ">=9"; there are for example "v3.0.0+build.2", "v3.0.0+build.1", "v2.0.0-rc.1"`)
}

func TestResolveNotFound(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", files("a", "1"), nil)
	f.setRef("refs/heads/maintenance", commit)
	f.setRef("refs/pull/1/head", commit)
	tests := []struct {
		ref  git.Ref
		text string
	}{
		{git.Ref{Branch: "mian"}, `branch "mian"; did you mean "main"?`},
		{git.Ref{Branch: "production"}, `branch "production"; there are for example "main", "maintenance"`},
		{git.Ref{Tag: "v1.0.0"}, `tag "v1.0.0"; the repository has none of that kind`},
		{git.Ref{SemVer: "1.x"}, `SemVer range "1.x"; the repository has none of that kind`},
		{git.Ref{Name: "refs/pull/2/head"}, `reference "refs/pull/2/head"; did you mean "refs/pull/1/head"`},
	}
	f.each(func(t *testing.T, r *git.Remote) {
		for _, tt := range tests {
			_, err := r.Resolve(t.Context(), tt.ref)
			var missing *git.ReferenceError
			require.ErrorAs(t, err, &missing)
			require.ErrorContains(t, err, "resolve "+r.URL()+": ")
			require.ErrorContains(t, err, tt.text)
			require.False(t, terminal(t, err), "it may be pushed yet")
		}
	})
}

func TestResolveRefusesWhatCannotBe(t *testing.T) {
	f := newFixture(t)
	r := f.remote()
	for _, ref := range []git.Ref{
		{Commit: "abc123"},
		{Commit: "ABCDEF0123456789ABCDEF0123456789ABCDEF01"},
		{Name: "main"},
		{Name: "refs/heads/../../x"},
		{SemVer: "not a range"},
		{Branch: "a b"},
		{Branch: "a..b"},
		{Branch: "-x/../y"},
		{Tag: "v1\n"},
		{Tag: "x.lock"},
		{Branch: "@{1}"},
	} {
		_, err := r.Resolve(t.Context(), ref)
		require.ErrorIs(t, err, git.ErrInvalidRef, ref.String())
		require.True(t, terminal(t, err))
	}
}

func TestResolveHead(t *testing.T) {
	t.Run("detached", func(t *testing.T) {
		f := anotherFixture(t)
		commit := f.commit("trunk", files("a", "1"), nil)
		_, err := f.Git(t.Context(), nil, "update-ref", "--no-deref", "HEAD", commit)
		require.NoError(t, err)
		f.each(func(t *testing.T, r *git.Remote) {
			s := snapshot(t, r, git.Ref{})
			require.Equal(t, git.Revision{Name: "HEAD", Commit: commit}, s.Revision())
		})
	})
	t.Run("of a branch that is not there", func(t *testing.T) {
		f := anotherFixture(t)
		f.commit("trunk", files("a", "1"), nil)
		f.each(func(t *testing.T, r *git.Remote) {
			_, err := r.Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrReferenceNotFound)
			require.ErrorContains(t, err, `there are for example "trunk"`)
		})
	})
	t.Run("empty repository", func(t *testing.T) {
		anotherFixture(t).each(func(t *testing.T, r *git.Remote) {
			_, err := r.Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrEmptyRepository)
			require.False(t, terminal(t, err))
		})
	})
}

func TestResolveSHA256Repository(t *testing.T) {
	f := newFixture(t)
	_, err := f.Git(t.Context(), nil, "init", "--quiet", "--bare", "--object-format=sha256", filepath.Join(f.root, "new.git"))
	require.NoError(t, err)
	repo, err := f.Git(t.Context(), nil, "--git-dir=../new.git", "hash-object", "-w", "-t", "tree", "/dev/null")
	require.NoError(t, err)
	commit, err := f.Git(t.Context(), nil, "--git-dir=../new.git", "-c", "user.name=a", "-c", "user.email=b", "commit-tree", "-m", "x", repo)
	require.NoError(t, err)
	_, err = f.Git(t.Context(), nil, "--git-dir=../new.git", "update-ref", "refs/heads/main", commit)
	require.NoError(t, err)
	for _, r := range []*git.Remote{
		open(t, f.http.URL+"/new.git", git.Options{}),
		open(t, f.ssh.URL+"/new.git", git.Options{Auth: f.sshAuth()}),
	} {
		_, err = r.Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrObjectFormat)
		require.True(t, terminal(t, err))
	}
}

func TestResolveCost(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", files("a", "1"), nil)
	var m meter.Meter
	r := open(t, f.http.URL+"/repo.git", git.Options{WrapTransport: m.Wrap})

	_, err := r.Resolve(t.Context(), git.Ref{Commit: commit})
	require.NoError(t, err)
	require.Zero(t, m.Count().Requests, "a commit needs no request")

	rev, err := r.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	require.EqualValues(t, 2, m.Count().Requests, "the server says what it can do, and lists")
	_, err = r.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	require.EqualValues(t, 3, m.Count().Requests, "it says so once")

	_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 4, m.Count().Requests, "the references are not listed again")
	_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 4, m.Count().Requests, "what is held is not asked for")
}

// Operations share a connection.
func TestConnectionIsKept(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	handler, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	r := open(t, server.URL+"/repo.git", git.Options{})
	for range 3 {
		snapshot(t, r, git.Ref{})
	}
	require.EqualValues(t, 1, connections.Load())
}

func TestRevision(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef01234567"
	for text, want := range map[string]git.Revision{
		"main@sha1:" + hash:              {Name: "main", Commit: hash},
		"v1.2.3@sha1:" + hash:            {Name: "v1.2.3", Commit: hash},
		"sha1:" + hash:                   {Commit: hash},
		"refs/pull/1/head@sha1:" + hash:  {Name: "refs/pull/1/head", Commit: hash},
		"user@feature@sha1:" + hash:      {Name: "user@feature", Commit: hash},
		"v1.0.0+build@sha1:" + hash:      {Name: "v1.0.0+build", Commit: hash},
		"refs/heads/größe@sha1:" + hash:  {Name: "refs/heads/größe", Commit: hash},
		"HEAD@sha1:" + hash:              {Name: "HEAD", Commit: hash},
		"release/v1/x@sha1:" + hash:      {Name: "release/v1/x", Commit: hash},
		"sha1@sha1:" + hash:              {Name: "sha1", Commit: hash},
		"refs/tags/v1.2.3@sha1:" + hash:  {Name: "refs/tags/v1.2.3", Commit: hash},
		"refs/pull/1/merge@sha1:" + hash: {Name: "refs/pull/1/merge", Commit: hash},
	} {
		rev, err := git.ParseRevision(text)
		require.NoError(t, err, text)
		require.Equal(t, want, rev)
		require.Equal(t, text, rev.String())
	}
	for _, text := range []string{
		"", "main", "main@", "@sha1:" + hash, "main@" + hash, "main@sha256:" + hash + hash[:24],
		"main@sha1:" + hash[:39], "main@sha1:" + hash + "0", "main/" + hash, "sha1:" + "G" + hash[1:],
		"a b@sha1:" + hash, "../x@sha1:" + hash, "a\n@sha1:" + hash, "SHA1:" + hash, hash,
	} {
		_, err := git.ParseRevision(text)
		require.ErrorIs(t, err, git.ErrInvalidRef, text)
	}
	require.Empty(t, git.Revision{}.String())
}

func TestClosed(t *testing.T) {
	r, err := git.Open("https://example.com/x", git.Options{})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err = r.Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrClosed)
	require.True(t, terminal(t, err))
}
