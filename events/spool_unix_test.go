//go:build unix

package events_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
)

// A child emits, and says how many events it was told are spooled. It is killed in
// the middle of its work, at a moment that nobody chose.
func TestSpoolSurvivesAKill(t *testing.T) {
	if dir := os.Getenv("EVENTS_SPOOL"); dir != "" {
		emitUntilKilled(t, dir)
		return
	}
	for round := range 8 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSpoolSurvivesAKill$")
		cmd.Env = append(os.Environ(), "EVENTS_SPOOL="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		spooled := 0
		for killed := false; lines.Scan(); {
			_, _ = fmt.Sscanf(lines.Text(), "spooled %d", &spooled)
			if !killed && spooled > 300*round {
				require.NoError(t, cmd.Process.Kill())
				killed = true
			}
		}
		_ = cmd.Wait()
		require.Equal(t, syscall.SIGKILL, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())

		got := restoredFrom(t, dir)
		require.NotZero(t, spooled, "or nothing was tested")
		require.GreaterOrEqual(t, len(got), spooled)
		for i, message := range got {
			require.Equal(t, fmt.Sprint("web ", i), message, "no gap, no event twice")
		}
	}
}

func emitUntilKilled(t *testing.T, dir string) {
	gate := events.SinkFunc(func(ctx context.Context, _ events.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	rec := record(t, gate, spooled(dir), func(o *events.Options) { o.QueueSize = 1 << 20 })
	for i := 0; ; i++ {
		if err := rec.Emit(event("web", fmt.Sprint("web ", i))); err != nil {
			return
		}
		if i%10 == 0 {
			fmt.Println("spooled", rec.Stats().Sinks["sink"].Spooled)
		}
		if i%1000 == 999 {
			if err := rec.Sync(t.Context()); err != nil {
				return
			}
		}
	}
}
