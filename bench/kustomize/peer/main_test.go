package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/kustomize/trees"
)

func TestBuild(t *testing.T) {
	for _, tree := range []trees.Tree{trees.Small(), trees.Plain(3), trees.Overlay(4)} {
		work, err := build(tree, 2)(t.Context(), side.Env{Dir: t.TempDir()})
		require.NoError(t, err)
		require.NoError(t, work.Do(t.Context()))
	}
	wrong := trees.Small()
	wrong.Objects = 2
	work, err := build(wrong, 1)(t.Context(), side.Env{Dir: t.TempDir()})
	require.NoError(t, err)
	require.EqualError(t, work.Do(t.Context()), "1 objects came out, not 2")
}
