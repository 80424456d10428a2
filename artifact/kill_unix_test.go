//go:build unix

package artifact_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
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

// storeRound is what a producer does when its source changed.
func storeRound(t testing.TB, s *artifact.Store, v int) {
	t.Helper()
	require.NoError(t, s.Record(t.Context(), app, storeVersion(t, s, v)))
	collect(t, s, artifact.CollectOptions{Keep: 1, MinAge: time.Nanosecond})
}

// A child records and collects, and kills itself at the step that it is told:
// what the source has is there, and the next one is not hindered.
func TestRecordAndCollectSurviveAKillAtEachStep(t *testing.T) {
	if dir := os.Getenv("ARTIFACT_ROUND"); dir != "" {
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
		storeRound(t, s, 2)
		return
	}
	put := []string{"create", "write", "sync", "close", "rename", "syncdir"}
	for name, tt := range map[string]struct {
		before bool // the source had another archive
		ops    []string
	}{
		"first": {false, slices.Concat(put, put[:4], []string{"mkdir", "syncdir", "mkdir", "syncdir"}, put[4:])},
		"next":  {true, slices.Concat(put, put, []string{"remove", "remove"})},
	} {
		t.Run(name, func(t *testing.T) {
			start := func(t *testing.T) string {
				dir := t.TempDir()
				if tt.before {
					storeRound(t, store(t, dir), 1)
				}
				return dir
			}
			var ops []string
			s := store(t, start(t))
			s.OnDisk(func(op string) error { ops = append(ops, op); return nil })
			storeRound(t, s, 2)
			require.Equal(t, tt.ops, ops)
			for i, op := range ops {
				dir := start(t)
				child(t, "TestRecordAndCollectSurviveAKillAtEachStep", "ARTIFACT_ROUND="+dir, fmt.Sprintf("ARTIFACT_STEPS=%d", i))
				sound(t, dir)
				storeRecordsHold(t, dir, tt.before)
				storeRound(t, store(t, dir), 3)
				require.Len(t, filesIn(t, filepath.Join(dir, "sha256")), 1, "step %d (%s): the next round leaves what is needed", i, op)
			}
		})
	}
}

// storeRecordsHold checks that each record is of an archive that is there.
func storeRecordsHold(t testing.TB, dir string, some bool) {
	t.Helper()
	var records []string
	if _, err := os.Stat(filepath.Join(dir, "names")); err == nil || some {
		records = filesIn(t, filepath.Join(dir, "names"))
		require.True(t, !some || len(records) > 0)
	}
	for _, file := range records {
		_, hex, _ := strings.Cut(filepath.Base(file), "-")
		require.FileExists(t, filepath.Join(dir, "sha256", hex+".tar.gz"))
	}
}

// Processes that pack, record and collect share a store and are killed; in the
// end everything is as if each had been alone.
func TestStoreOfManyProcesses(t *testing.T) {
	if dir := os.Getenv("ARTIFACT_MANY"); dir != "" {
		s := store(t, dir)
		for i := 0; ; i++ {
			err := storeUntilRecorded(t.Context(), s, app+os.Getenv("ARTIFACT_N"), fstest.MapFS{"v": {Data: fmt.Append(nil, i%7)}})
			require.NoError(t, err)
			collect(t, s, artifact.CollectOptions{Keep: 1, MinAge: time.Nanosecond})
			if i == 3 {
				fmt.Println("ready")
			}
		}
	}
	dir := t.TempDir()
	var children []*exec.Cmd
	for i := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoreOfManyProcesses$")
		cmd.Env = append(os.Environ(), "ARTIFACT_MANY="+dir, fmt.Sprintf("ARTIFACT_N=%d", i))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
		children = append(children, cmd)
	}
	for _, cmd := range children {
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	sound(t, dir)
	storeRecordsHold(t, dir, true)
	storeRound(t, store(t, dir), 100)
	require.LessOrEqual(t, len(filesIn(t, filepath.Join(dir, "sha256"))), 5)
}
