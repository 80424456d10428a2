//go:build unix

package artifact_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// A child packs into a store and kills itself at the step that it is told.
func TestStoreSurvivesAKillAtEachStep(t *testing.T) {
	if dir := os.Getenv("ARTIFACT_STORE"); dir != "" {
		var left int
		_, err := fmt.Sscan(os.Getenv("ARTIFACT_STEPS"), &left)
		require.NoError(t, err)
		s := store(t, dir)
		s.OnDisk(func(string) error {
			if left--; left == -1 {
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return nil
		})
		_, err = s.Pack(t.Context(), noise(), artifact.PackOptions{})
		require.NoError(t, err)
		return
	}
	dir := t.TempDir()
	old, err := store(t, dir).Pack(t.Context(), small(), artifact.PackOptions{})
	require.NoError(t, err)
	n := steps(t, noise())
	// The writes in the middle are all alike; ends and beginnings are not.
	for i := range n {
		if i > 3 && i < n-7 && i%7 != 0 {
			continue
		}
		child(t, "TestStoreSurvivesAKillAtEachStep", "ARTIFACT_STORE="+dir, fmt.Sprintf("ARTIFACT_STEPS=%d", i))
		sound(t, dir, old.Digest)
	}
	leftovers := filesIn(t, filepath.Join(dir, "tmp"))
	require.NotEmpty(t, leftovers, "or nothing was killed")
	for _, f := range leftovers[1:] {
		past := time.Now().Add(-2 * time.Hour)
		require.NoError(t, os.Chtimes(f, past, past))
	}
	store(t, dir)
	require.Equal(t, leftovers[:1], filesIn(t, filepath.Join(dir, "tmp")), "old leftovers go, what may be in use stays")
}

// child runs a test in a process of its own, which has to be killed.
func child(t *testing.T, test string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "it was not killed: %v\n%s", err, out)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
}
