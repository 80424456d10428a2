package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/gittest"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func TestPackLarge(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 3})
	env := side.Env{Repo: repo, Dir: t.TempDir()}
	work, err := packLarge(t.Context(), env)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, work.Do(t.Context()))
		require.NoError(t, work.Finish(t.Context()))
	}

	env.Repo.Main.Files++
	env.Dir = t.TempDir()
	work, err = packLarge(t.Context(), env)
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))
	require.ErrorContains(t, work.Finish(t.Context()), "files were packed, not")
}
