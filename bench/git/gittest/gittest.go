// Package gittest serves a small repository to the tests of the sides of the
// benchmarks of git.
package gittest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/host"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// Serve makes the history and serves it until the test ends.
func Serve(t *testing.T, history repos.History) hosted.Repo {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "small.git")
	require.NoError(t, repos.Kind{Make: history.Make}.Build(t.Context(), dir))
	repo, err := gitserver.Create(t.Context(), dir)
	require.NoError(t, err)
	facts, err := repos.Facts(t.Context(), repo)
	require.NoError(t, err)
	server, err := host.Serve(t.Context(), root)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return hosted.Repo{URL: server.URL + "/small.git", Control: server.Control, Facts: facts}
}
