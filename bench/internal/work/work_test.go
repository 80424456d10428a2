package work

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, WriteFiles(dir, map[string]string{"a.yaml": "a", "base/deep/b.yaml": "b"}))
	b, err := os.ReadFile(filepath.Join(dir, "base", "deep", "b.yaml"))
	require.NoError(t, err)
	require.Equal(t, "b", string(b))
	require.FileExists(t, filepath.Join(dir, "a.yaml"))
	require.Error(t, WriteFiles(filepath.Join(dir, "none"), nil))
}

func TestExpect(t *testing.T) {
	require.NoError(t, Expect(1, 1))
	require.EqualError(t, Expect(0, 1), "0 objects came out, not 1")
}

func TestAtOnce(t *testing.T) {
	// Each waits for the other, which is not possible one after the other.
	met := make(chan struct{})
	require.NoError(t, AtOnce(2, func() error {
		select {
		case met <- struct{}{}:
		case <-met:
		}
		return nil
	}))
	require.EqualError(t, AtOnce(1, func() error { return os.ErrExist }), os.ErrExist.Error())
}
