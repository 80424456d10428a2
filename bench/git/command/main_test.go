package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/gittest"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func TestClone(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 3})
	env := side.Env{Repo: repo, Dir: t.TempDir()}
	work, err := clone(t.Context(), env)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, work.Do(t.Context()))
		require.NoError(t, work.Finish(t.Context()))
	}

	env.Repo.Main.Files++
	work, err = clone(t.Context(), env)
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))
	require.ErrorContains(t, work.Finish(t.Context()), "files of")
	require.ErrorContains(t, work.Do(t.Context()), "already exists", "git says why")
}
