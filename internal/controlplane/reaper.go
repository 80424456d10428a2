package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// reaper is a shell that outlives this process just long enough to clear up
// after it. It reads from a pipe which components run ("+ PID") and which have
// ended ("- PID"). The kernel closes our end of the pipe however we end, kill
// -9 included; then it kills what still runs and removes the data.
//
// A shell, because it must be another process, and a Go program cannot fork
// itself without an entry point in every main that uses this package.
type reaper struct {
	cmd  *exec.Cmd
	pipe *os.File // the write end
}

// Signals of the terminal do not reach the reaper, which has its own process
// group, and it ignores those that are sent to it by name. Removing the data is
// tried again because a killed process may still write for a moment.
const reaperScript = `
trap '' HUP INT QUIT TERM PIPE
pids=
while read -r op pid; do
	case $op in
	+) pids="$pids $pid" ;;
	-)
		rest=
		for p in $pids; do [ "$p" = "$pid" ] || rest="$rest $p"; done
		pids=$rest
		;;
	esac
done
for p in $pids; do kill -s KILL "$p" 2>/dev/null; done
tries=0
until rm -rf "$1" 2>/dev/null; do
	tries=$((tries + 1))
	[ "$tries" -lt 10 ] || exit 1
	sleep 1
done
`

func startReaper(dir string) (*reaper, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // the shell reads from a copy of its own
	cmd := exec.Command("sh", "-c", reaperScript, "controlplane-reaper", dir)
	cmd.Dir = "/" // so that no directory that others want to remove is busy
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("starting the shell that clears up: %w", err)
	}
	return &reaper{cmd: cmd, pipe: w}, nil
}

// announceScript lets a component announce its own process id before it turns
// into the program, and give up its copy of the pipe. Were the announcement
// ours to make, a kill -9 of this process between the fork and the
// announcement would leave the component behind.
const announceScript = `echo "+ $$" >&3 && exec "$@" 3>&-`

// command returns a command that runs the program in a process group of its
// own, known to the reaper from before the program's first instruction.
func (r *reaper) command(program string, args ...string) *exec.Cmd {
	argv := append([]string{"-c", announceScript, "controlplane-component", program}, args...)
	cmd := exec.Command("sh", argv...)
	cmd.ExtraFiles = []*os.File{r.pipe} // file descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// forget tells the reaper that a process has ended, so that it will not kill
// another that was given the same number.
func (r *reaper) forget(pid int) {
	// The write fails only when the reaper is gone: nobody is killed then.
	_, _ = fmt.Fprintf(r.pipe, "- %d\n", pid)
}

// close lets the reaper clear up and waits for it.
func (r *reaper) close() error {
	err := r.pipe.Close()
	if waitErr := r.cmd.Wait(); waitErr != nil {
		err = fmt.Errorf("the shell that clears up: %w", waitErr)
	}
	return err
}
