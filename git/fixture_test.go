package git_test

import (
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// fixture is a repository and the servers that serve it.
type fixture struct {
	*gitserver.Repo
	t    *testing.T
	root string // the directory that is served
	http *gitserver.Server
	ssh  *gitserver.Server
	user *gitserver.SSHSigner // who may read over SSH

	http0, ssh0 *gitserver.Server // which speak version 0 only
}

// newFixture makes an empty repository at /repo.git of both servers. The tests
// that have one run beside each other: they wait for git more than they work.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	return anotherFixture(t)
}

// anotherFixture is newFixture for tests that have one already, and subtests.
func anotherFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, root: t.TempDir()}
	f.Repo = f.create("repo.git")
	var err error
	f.user, err = gitserver.NewSSHSigner("reader")
	require.NoError(t, err)
	f.http, err = gitserver.ServeHTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.http.Close()) })
	f.ssh, err = gitserver.ServeSSH(t.Context(), f.root, gitserver.SSHOptions{Keys: []ssh.PublicKey{f.user.Key()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.ssh.Close()) })
	f.http0, err = gitserver.ServeHTTP(t.Context(), f.root, gitserver.HTTPOptions{Version0: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.http0.Close()) })
	f.ssh0, err = gitserver.ServeSSH(t.Context(), f.root, gitserver.SSHOptions{Keys: []ssh.PublicKey{f.user.Key()}, Version0: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.ssh0.Close()) })
	return f
}

// create makes another repository beside it.
func (f *fixture) create(name string) *gitserver.Repo {
	f.t.Helper()
	r, err := gitserver.Create(f.t.Context(), filepath.Join(f.root, name))
	require.NoError(f.t, err)
	return r
}

// commit puts a tree on a branch.
func (f *fixture) commit(branch string, files fs.FS, signer gitserver.Signer) string {
	f.t.Helper()
	hash, err := f.Commit(f.t.Context(), files, gitserver.CommitOptions{Branch: branch, Message: "change " + branch, Signer: signer})
	require.NoError(f.t, err)
	return hash
}

// tag makes an annotated tag.
func (f *fixture) tag(name, target string, signer gitserver.Signer) string {
	f.t.Helper()
	hash, err := f.Tag(f.t.Context(), name, target, gitserver.TagOptions{Message: "release " + name, Signer: signer})
	require.NoError(f.t, err)
	return hash
}

func (f *fixture) setRef(name, hash string) {
	f.t.Helper()
	require.NoError(f.t, f.SetRef(f.t.Context(), name, hash))
}

// remotes opens the repository in every way: each of them must give the same.
func (f *fixture) remotes() map[string]*git.Remote { return f.remotesOf("repo.git") }

func (f *fixture) remotesOf(name string) map[string]*git.Remote {
	f.t.Helper()
	ways := map[string]*git.Remote{}
	for engine, e := range map[string]git.Engine{"auto": git.EngineAuto, "go-git": git.EngineCompatible} {
		ways["http "+engine] = open(f.t, f.http.URL+"/"+name, git.Options{Engine: e})
		ways["ssh "+engine] = open(f.t, f.ssh.URL+"/"+name, git.Options{Engine: e, Auth: f.sshAuthOf(f.ssh)})
	}
	ways["http v0"] = open(f.t, f.http0.URL+"/"+name, git.Options{Engine: git.EngineFast})
	ways["ssh v0"] = open(f.t, f.ssh0.URL+"/"+name, git.Options{Engine: git.EngineFast, Auth: f.sshAuthOf(f.ssh0)})
	return ways
}

func (f *fixture) sshAuth() git.Auth { return f.sshAuthOf(f.ssh) }

func (f *fixture) sshAuthOf(server *gitserver.Server) git.Auth {
	f.t.Helper()
	key, err := f.user.PrivateKey()
	require.NoError(f.t, err)
	return git.Auth{SSHKey: key, KnownHosts: server.KnownHosts}
}

// each runs a test over every transport.
func (f *fixture) each(test func(t *testing.T, r *git.Remote)) {
	for name, r := range f.remotes() {
		f.t.Run(name, func(t *testing.T) { test(t, r) })
	}
}

func open(t *testing.T, url string, opts git.Options) *git.Remote {
	t.Helper()
	r, err := git.Open(url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// snapshot resolves and fetches.
func snapshot(t *testing.T, r *git.Remote, ref git.Ref) *git.Snapshot {
	t.Helper()
	rev, err := r.Resolve(t.Context(), ref)
	require.NoError(t, err)
	s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, rev, s.Revision())
	return s
}

// remote opens the repository over HTTP.
func (f *fixture) remote() *git.Remote {
	f.t.Helper()
	return open(f.t, f.http.URL+"/repo.git", git.Options{})
}

// files is a small tree: pairs of a path and content.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return m
}

func parseKeys(t *testing.T, files ...[]byte) *git.Keys {
	t.Helper()
	keys, err := git.ParseKeys(files...)
	require.NoError(t, err)
	return keys
}

func pgpSigner(t *testing.T) *gitserver.OpenPGPSigner {
	t.Helper()
	s, err := gitserver.NewOpenPGPSigner("Release Bot", "bot@example.com")
	require.NoError(t, err)
	return s
}

func sshSigner(t *testing.T) *gitserver.SSHSigner {
	t.Helper()
	s, err := gitserver.NewSSHSigner("dev@example.com")
	require.NoError(t, err)
	return s
}

// terminal says whether an error says that trying again cannot help.
func terminal(t *testing.T, err error) bool {
	t.Helper()
	var e interface{ Terminal() bool }
	require.ErrorAs(t, err, &e)
	return e.Terminal()
}
