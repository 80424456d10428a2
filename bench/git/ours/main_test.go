package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/gittest"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

// Every benchmark does its work on a small repository, and more than once.
func TestWork(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 30, Tags: 5, Branches: 2, Pulls: 50})
	for name, setup := range setups() {
		t.Run(name, func(t *testing.T) {
			work, err := setup(t.Context(), side.Env{Repo: repo})
			require.NoError(t, err)
			for range 3 {
				if work.Prepare != nil {
					require.NoError(t, work.Prepare(t.Context()))
				}
				before, err := work.Count(t.Context())
				require.NoError(t, err)
				require.NoError(t, work.Do(t.Context()))
				after, err := work.Count(t.Context())
				require.NoError(t, err)
				requests := after.Sub(before).Requests
				require.Positive(t, requests)
				require.LessOrEqual(t, requests, int64(3), "what the server can do, the references, the objects")
				if strings.HasPrefix(name, "git/noop") {
					require.EqualValues(t, 1, requests)
				}
			}
		})
	}
}

func TestOtherResultsAreRefused(t *testing.T) {
	repo := gittest.Serve(t, repos.History{Apps: 5, Commits: 3, Tags: 1})
	repo.Main.Bytes++
	work, err := setups()["git/cold-large"](t.Context(), side.Env{Repo: repo})
	require.NoError(t, err)
	require.ErrorContains(t, work.Do(t.Context()), "bytes came out, not")
	repo.Main.Commit = repo.Pinned.Commit
	work, err = setups()["git/cold-large"](t.Context(), side.Env{Repo: repo})
	require.NoError(t, err)
	require.ErrorContains(t, work.Do(t.Context()), "came out, not")

	// What has moved is no longer nothing to do.
	work, err = setups()["git/noop-branch"](t.Context(), side.Env{Repo: repo})
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))
	_, err = repo.Change(t.Context(), "main")
	require.NoError(t, err)
	require.ErrorContains(t, work.Do(t.Context()), "came out, not main@sha1:")
}
