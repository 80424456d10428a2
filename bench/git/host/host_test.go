package host_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/gittest"
	"github.com/gitopskit/gitopskit/bench/git/repos"
)

func TestWireIsCounted(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 2, Pulls: 100, Tags: 1})
	before, err := repo.Count(t.Context())
	require.NoError(t, err)
	again, err := repo.Count(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, again, "to read the counters is not counted")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, repo.URL+"/info/refs?service=git-upload-pack", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "refs/pull/100/head")

	after, err := repo.Count(t.Context())
	require.NoError(t, err)
	count := after.Sub(before)
	require.EqualValues(t, 1, count.Requests)
	require.Greater(t, count.Sent, int64(len("GET /small.git/info/refs?service=git-upload-pack")), "headers too")
	require.Less(t, count.Sent, int64(1000))
	require.Greater(t, count.Received, int64(len(body)))
	require.Less(t, count.Received, int64(len(body)+1000))
}

func TestEachChangeIsNew(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 2})
	seen := map[string]bool{repo.Main.Commit: true}
	size := repo.Main.Bytes
	for range 3 {
		made, err := repo.Change(t.Context(), "side")
		require.NoError(t, err)
		require.Equal(t, repo.Main.Files, made.Files)
		require.Greater(t, made.Bytes, size)
		require.False(t, seen[made.Commit])
		seen[made.Commit], size = true, made.Bytes
	}
	repo.Changed = "none"
	_, err := repo.Change(t.Context(), "side")
	require.ErrorContains(t, err, "500 Internal Server Error: git cat-file", "it says why")
}
