package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/gittest"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func TestFetch(t *testing.T) {
	for _, command := range []string{"curl", "tar"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("%s is what this is about, and is not here", command)
		}
	}
	env := side.Env{Repo: gittest.Serve(t, repos.History{Apps: 5, Commits: 3}), Dir: t.TempDir()}
	work, err := fetch(t.Context(), env)
	require.NoError(t, err)
	for range 2 {
		if work.Prepare != nil {
			require.NoError(t, work.Prepare(t.Context()))
		}
		require.NoError(t, work.Do(t.Context()))
		require.NoError(t, work.Finish(t.Context()))
	}

	env.Repo.Main.Files++
	work, err = fetch(t.Context(), env)
	require.NoError(t, err)
	if work.Prepare != nil {
		require.NoError(t, work.Prepare(t.Context()))
	}
	require.NoError(t, work.Do(t.Context()))
	require.ErrorContains(t, work.Finish(t.Context()), "files of")
}
