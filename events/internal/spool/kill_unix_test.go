//go:build unix

package spool_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A child writes and kills itself before the step on the disk that it is told. It
// prints what was written.
func TestSurvivesAKillAtEachStep(t *testing.T) {
	if dir := os.Getenv("SPOOL_DIR"); dir != "" {
		var left int
		_, err := fmt.Sscan(os.Getenv("SPOOL_STEPS"), &left)
		require.NoError(t, err)
		writeUntilKilled(t, dir, left)
		return
	}
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSurvivesAKillAtEachStep$")
		cmd.Env = append(os.Environ(), "SPOOL_DIR="+dir, fmt.Sprint("SPOOL_STEPS=", steps))
		var out bytes.Buffer
		cmd.Stdout = &out
		err := cmd.Run()
		if err == nil {
			require.Greater(t, steps, 30, "or nothing was killed")
			return
		}
		require.Equal(t, syscall.SIGKILL, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), "%s", out.String())
		checkWritten(t, dir, steps, out.String())
	}
}

func writeUntilKilled(t *testing.T, dir string, left int) {
	log, _ := open(t, dir, room)
	log.OnDisk(func(string) {
		if left--; left == -1 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it comes
		}
	})
	text := strings.Repeat("a", 300_000)
	for seq := uint64(1); seq <= 12; seq++ {
		var done []uint64
		if seq%4 != 1 {
			fmt.Println("maybe", seq-1)
			done = append(done, seq-1)
		}
		write(t, log, done, record(seq, text))
		fmt.Println("wrote", seq)
		for _, d := range done {
			fmt.Println("done", d)
		}
		require.NoError(t, log.Sync())
	}
}

// checkWritten holds the next process's view against what was reported.
func checkWritten(t *testing.T, dir string, steps int, reported string) {
	t.Helper()
	want, maybe := map[uint64]bool{}, map[uint64]bool{}
	for line := range strings.Lines(reported) {
		var what string
		var seq uint64
		if n, _ := fmt.Sscan(line, &what, &seq); n != 2 {
			continue
		}
		switch what {
		case "wrote":
			want[seq] = true
		case "maybe":
			maybe[seq] = true
		case "done":
			delete(want, seq)
			delete(maybe, seq)
			maybe[seq] = false
		}
	}
	_, old := open(t, dir, room)
	got := map[uint64]bool{}
	for _, r := range old.Records {
		got[r.Seq] = true
		require.Len(t, r.Payload, 300_000)
		stillMaybe, known := maybe[r.Seq]
		require.False(t, known && !stillMaybe, "step %d: %d was done", steps, r.Seq)
	}
	for seq := range want {
		require.True(t, got[seq] || maybe[seq], "step %d: %d was written and is not there", steps, seq)
	}
	require.Zero(t, old.Damaged)
	require.LessOrEqual(t, len(files(t, dir)), 3)
}
