package gitserver_test

import (
	"bytes"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func newRepo(t *testing.T) (root string, repo *gitserver.Repo) {
	t.Helper()
	root = t.TempDir()
	repo, err := gitserver.Create(t.Context(), filepath.Join(root, "repo.git"))
	require.NoError(t, err)
	return root, repo
}

func TestRepo(t *testing.T) {
	_, repo := newRepo(t)
	tree := fstest.MapFS{
		"a":       {Data: []byte("a\n"), Mode: 0o644},
		"run.sh":  {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"d/x":     {Data: []byte{0, 1, 2}, Mode: 0o600},
		"d.txt":   {Data: []byte("between d and d/ in Git's order\n"), Mode: 0o644},
		"link":    {Data: []byte("d/x"), Mode: fs.ModeSymlink | 0o777},
		"nothing": {Mode: fs.ModeDir | 0o755},
	}
	pgp, err := gitserver.NewOpenPGPSigner("A", "a@example.com")
	require.NoError(t, err)
	when := time.Date(2025, 1, 2, 3, 4, 5, 0, time.FixedZone("", -5*3600))
	first, err := repo.Commit(t.Context(), tree, gitserver.CommitOptions{
		Branch: "main", Message: "first", Author: gitserver.Person{Name: "A", Email: "a@example.com"}, Time: when, Signer: pgp,
	})
	require.NoError(t, err)
	second, err := repo.Commit(t.Context(), tree, gitserver.CommitOptions{Branch: "main", Message: "second"})
	require.NoError(t, err)
	again, err := repo.CommitTree(mustTree(t, repo, tree), []string{first}, gitserver.CommitOptions{Message: "second"})
	require.NoError(t, err)
	require.Equal(t, second, again, "the same input gives the same commit")
	tag, err := repo.Tag(t.Context(), "v1", second, gitserver.TagOptions{Message: "tag", Signer: pgp})
	require.NoError(t, err)
	require.NoError(t, repo.SetRef(t.Context(), "refs/pull/1/head", first))

	// Git finds nothing wrong with it, and sees what was put in.
	ask := func(args ...string) string {
		t.Helper()
		out, err := repo.Git(t.Context(), nil, args...)
		require.NoError(t, err)
		return out
	}
	require.Empty(t, ask("fsck", "--strict", "--no-dangling"))
	require.Equal(t, "100644 a\n100644 d.txt\n100644 d/x\n120000 link\n100755 run.sh",
		ask("ls-tree", "-r", "--format=%(objectmode) %(path)", "main"))
	require.Equal(t, first, ask("rev-parse", "main^"))
	require.Equal(t, tag, ask("rev-parse", "v1"))
	require.Equal(t, second, ask("rev-parse", "v1^{commit}"))
	require.Equal(t, first, ask("rev-parse", "refs/pull/1/head"))
	require.Equal(t, "A <a@example.com> 2025-01-02T03:04:05-05:00", ask("log", "-1", "--format=%cn <%ae> %cI", first))
	require.Equal(t, "refs/heads/main", ask("symbolic-ref", "HEAD"))

	require.NoError(t, repo.SetRef(t.Context(), "refs/pull/1/head", ""))
	_, err = repo.Git(t.Context(), nil, "rev-parse", "--verify", "refs/pull/1/head")
	require.Error(t, err)
}

func mustTree(t *testing.T, repo *gitserver.Repo, tree fs.FS) string {
	t.Helper()
	hash, err := repo.Tree(tree)
	require.NoError(t, err)
	return hash
}

func TestObjectsAreStoredAsTheyAre(t *testing.T) {
	_, repo := newRepo(t)
	blob, err := repo.Object("blob", []byte("hello\n"))
	require.NoError(t, err)
	require.Equal(t, "ce013625030ba8dba906f756967f9e9ca394464a", blob)
	tree, err := repo.RawTree("100644 .. "+blob, "100644 a b "+blob)
	require.NoError(t, err)
	content, err := repo.Content(tree)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(content, []byte("100644 ..\x00")))
	_, err = repo.RawTree("100644")
	require.Error(t, err)
}

func TestServeHTTP(t *testing.T) {
	root, repo := newRepo(t)
	commit, err := repo.Commit(t.Context(), fstest.MapFS{"a": {Data: []byte("1")}}, gitserver.CommitOptions{Branch: "main"})
	require.NoError(t, err)
	server, err := gitserver.ServeHTTP(t.Context(), root, gitserver.HTTPOptions{Username: "u", Password: "p"})
	require.NoError(t, err)

	clone := func(url string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "git", "ls-remote", url+"/repo.git", "refs/heads/main")
		cmd.Env = gitserver.Environ()
		out, err := cmd.Output()
		return string(out), err
	}
	out, err := clone(strings.Replace(server.URL, "http://", "http://u:p@", 1))
	require.NoError(t, err)
	require.Equal(t, commit+"\trefs/heads/main\n", out)
	_, err = clone(strings.Replace(server.URL, "http://", "http://u:q@", 1))
	require.Error(t, err)
	_, err = clone(server.URL)
	require.Error(t, err)

	require.NoError(t, server.Close())
	_, err = net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	require.Error(t, err, "nothing listens any more")
}

func TestServeSSH(t *testing.T) {
	root, repo := newRepo(t)
	commit, err := repo.Commit(t.Context(), fstest.MapFS{"a": {Data: []byte("1")}}, gitserver.CommitOptions{Branch: "main"})
	require.NoError(t, err)
	user, err := gitserver.NewSSHSigner("user")
	require.NoError(t, err)
	stranger, err := gitserver.NewSSHSigner("stranger")
	require.NoError(t, err)
	server, err := gitserver.ServeSSH(t.Context(), root, gitserver.SSHOptions{Keys: []ssh.PublicKey{user.Key()}})
	require.NoError(t, err)
	addr := strings.TrimPrefix(server.URL, "ssh://git@")
	_, hosts, hostKey, _, _, err := ssh.ParseKnownHosts(server.KnownHosts)
	require.NoError(t, err)
	require.Len(t, hosts, 1)

	dial := func(s *gitserver.SSHSigner) (*ssh.Client, error) {
		private, err := s.PrivateKey()
		require.NoError(t, err)
		key, err := ssh.ParsePrivateKey(private)
		require.NoError(t, err)
		return ssh.Dial("tcp", addr, &ssh.ClientConfig{
			User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(hostKey),
		})
	}
	_, err = dial(stranger)
	require.ErrorContains(t, err, "unable to authenticate")

	client, err := dial(user)
	require.NoError(t, err)
	run := func(command, protocol string) (string, error) {
		session, err := client.NewSession()
		require.NoError(t, err)
		defer session.Close()
		if protocol != "" {
			require.NoError(t, session.Setenv("GIT_PROTOCOL", protocol))
		}
		session.Stdin = strings.NewReader("0000")
		out, err := session.Output(command)
		return string(out), err
	}
	out, err := run("git-upload-pack '/repo.git'", "")
	require.NoError(t, err)
	require.Contains(t, out, commit+" refs/heads/main")
	out, err = run("git-upload-pack 'repo.git'", "version=2")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out, "000eversion 2\n"), out)

	for _, command := range []string{
		"sh -c true", "git-receive-pack '/repo.git'", "git-upload-pack /repo.git", "git-upload-pack '/repo.git",
		"git-upload-pack '/none.git'", "git-upload-pack '/../../etc'", "git-upload-pack '--help'",
	} {
		_, err = run(command, "")
		require.Error(t, err, command)
	}

	// Close ends a session in the middle of it, and what runs in it.
	session, err := client.NewSession()
	require.NoError(t, err)
	stdin, err := session.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	require.NoError(t, session.Start("git-upload-pack '/repo.git'"))
	require.NoError(t, server.Close())
	require.Error(t, session.Wait())
	_, err = net.Dial("tcp", addr)
	require.Error(t, err, "nothing listens any more")
}
