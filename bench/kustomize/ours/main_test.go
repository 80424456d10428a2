package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/kustomize/trees"
)

func TestBuild(t *testing.T) {
	work, err := build(trees.Small(), 1)(t.Context(), side.Env{Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))

	work, err = build(trees.Small(), 2)(t.Context(), side.Env{Dir: t.TempDir()})
	require.NoError(t, err)
	require.EqualError(t, work.Do(t.Context()), "1 objects came out, not 2")
}

func TestUnchanged(t *testing.T) {
	work, err := unchanged(trees.Unchanged(), 1000)(t.Context(), side.Env{Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))
}
