package git_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

// TestRoad goes the whole way that a change goes through this package.
func TestRoad(t *testing.T) {
	f := newFixture(t)
	release, dev := pgpSigner(t), sshSigner(t)
	tree := files("app/deploy.yaml", "kind: Deployment\n", "README.md", "hello\n")
	commit := f.commit("main", tree, dev)
	tag := f.tag("v1.2.3", commit, release)
	f.tag("v1.1.0", commit, release)

	f.each(func(t *testing.T, r *git.Remote) {
		rev, err := r.Resolve(t.Context(), git.Ref{SemVer: ">=1.0.0 <2.0.0"})
		require.NoError(t, err)
		require.Equal(t, git.Revision{Name: "v1.2.3", Commit: commit, Tag: tag}, rev)
		require.Equal(t, "v1.2.3@sha1:"+commit, rev.String())

		s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
		require.NoError(t, err)
		keys := parseKeys(t, release.PublicKey(), dev.PublicKey())
		v, err := s.Verify(keys, git.ModeTagAndHead)
		require.NoError(t, err)
		require.Len(t, v.Signatures, 2)
		require.Equal(t, "Release Bot <bot@example.com>", v.Signatures[0].Signer)
		require.Equal(t, "dev@example.com", v.Signatures[1].Signer)

		content, err := fs.ReadFile(s, "app/deploy.yaml")
		require.NoError(t, err)
		require.Equal(t, "kind: Deployment\n", string(content))
		require.NoError(t, fstest.TestFS(s, "app/deploy.yaml", "README.md"))
	})
}
