package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/gittest"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

// Every benchmark does its work on a small repository, and more than once.
func TestWork(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 3})
	for name, setup := range setups() {
		t.Run(name, func(t *testing.T) {
			work, err := setup(t.Context(), side.Env{Repo: repo, Dir: t.TempDir()})
			require.NoError(t, err)
			for range 3 {
				if work.Prepare != nil {
					require.NoError(t, work.Prepare(t.Context()))
				}
				require.NoError(t, work.Do(t.Context()))
				require.NoError(t, work.Finish(t.Context()))
			}
		})
	}
}

func TestOtherResultsAreRefused(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 3})
	repo.Main.Files++
	work, err := setups()["artifact/pack-large"](t.Context(), side.Env{Repo: repo, Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))
	require.ErrorContains(t, work.Finish(t.Context()), "bytes were packed, not")
}
