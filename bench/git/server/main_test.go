package main

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/hosted"
)

func TestServesUntilItsInputEnds(t *testing.T) {
	in, parent := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(t.Context(), []string{t.TempDir()}, in, out) }()
	var repo hosted.Repo
	require.NoError(t, json.NewDecoder(answers).Decode(&repo))
	_, err := repo.Count(t.Context())
	require.NoError(t, err)
	require.NoError(t, parent.Close())
	require.NoError(t, <-done)
	_, err = repo.Count(t.Context())
	require.Error(t, err)

	require.ErrorContains(t, run(t.Context(), nil, in, out), "started by the program in bench")
}
