package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	work, err := find(500_000)(t.Context(), side.Env{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, work.Do(t.Context()))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.yaml"), []byte("apiVersion: v1\nentries:\n  chart-0007:\n  - name: chart-0007\n    version: 1.0.0\n"), 0o600))
	require.EqualError(t, work.Do(t.Context()), "version 1.0.0 was found, not 1.49.0")
}
