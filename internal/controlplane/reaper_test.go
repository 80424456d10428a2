package controlplane_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/stretchr/testify/require"
)

// The variables that make a copy of this test binary the parent of a plane.
const (
	endingVariable    = "CONTROLPLANE_TEST_ENDING"
	workloadsVariable = "CONTROLPLANE_TEST_WORKLOADS"
)

// readyLine is what the parent prints when its plane runs.
const readyLine = "plane is ready"

// TestParent is no test: it is the process whose end TestNothingIsLeftBehind
// looks at.
func TestParent(t *testing.T) {
	ending := os.Getenv(endingVariable)
	if ending == "" {
		t.Skip("runs as a child of TestNothingIsLeftBehind")
	}
	opts := controlplane.Options{Workloads: os.Getenv(workloadsVariable) != ""}
	if ending == "kill in start" {
		opts.Progress = func(p controlplane.Progress) {
			if p.Name == "kube-apiserver" { // etcd was started just now
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}
	if ending == "end of tests" {
		testplane.Small(t)
		fmt.Println(readyLine)
		return
	}
	_, err := controlplane.Start(t.Context(), opts)
	require.NoError(t, err)
	fmt.Println(readyLine)
	switch ending {
	case "panic":
		panic("a test panics")
	case "exit":
		os.Exit(3)
	default:
		<-t.Context().Done() // until a signal ends the process
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	binaries, err := controlplane.Ensure(t.Context(), controlplane.Options{Workloads: true})
	require.NoError(t, err)

	tests := map[string]struct {
		workloads bool
		// end ends the parent whose process group is given; nil where the
		// parent does so itself.
		end func(group int) error
		// silent is set where the end comes before the plane is ready.
		silent bool
	}{
		"kill": {
			workloads: true,
			end:       func(group int) error { return syscall.Kill(group, syscall.SIGKILL) },
		},
		// As the terminal does on Ctrl-C: to every process of the group.
		"interrupt":     {end: func(group int) error { return syscall.Kill(-group, syscall.SIGINT) }},
		"panic":         {},
		"exit":          {},
		"end of tests":  {},
		"kill in start": {silent: true},
	}
	for ending, tt := range tests {
		t.Run(ending, func(t *testing.T) {
			// The path of this directory marks the plane's processes.
			root := t.TempDir()
			bin, temp := filepath.Join(root, "bin"), filepath.Join(root, "tmp")
			require.NoError(t, os.Mkdir(temp, 0o755))
			require.NoError(t, os.Symlink(binaries, bin))

			parent := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestParent$")
			parent.Env = append(os.Environ(), endingVariable+"="+ending, "TMPDIR="+temp, "KUBEBUILDER_ASSETS="+bin)
			if tt.workloads {
				parent.Env = append(parent.Env, workloadsVariable+"=yes")
			}
			parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			stdout, err := parent.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, parent.Start())

			if said := awaitLine(stdout, readyLine); !tt.silent {
				require.Contains(t, said, readyLine)
			}
			if tt.end != nil {
				// Without this, finding nothing later would prove nothing.
				want := 3 // etcd, kube-apiserver and the reaper
				if tt.workloads {
					want += 3
				}
				require.Len(t, processes(t, root), want)
				require.NoError(t, tt.end(parent.Process.Pid))
			}
			_ = parent.Wait() // an error in all cases but one

			require.Eventually(t, func() bool {
				return len(processes(t, root)) == 0 && len(entries(t, temp)) == 0
			}, 20*time.Second, 50*time.Millisecond)
		})
	}
}

func awaitLine(r io.Reader, line string) string {
	var said strings.Builder
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		fmt.Fprintln(&said, scanner.Text())
		if scanner.Text() == line {
			break
		}
	}
	return said.String()
}

// processes lists the command lines that hold the mark. A process that has
// ended and that nobody waited for has none.
func processes(t *testing.T, mark string) []string {
	t.Helper()
	var found []string
	for _, line := range commandLines() {
		if strings.Contains(line, mark) {
			found = append(found, line)
		}
	}
	return found
}

func commandLines() []string {
	if files, _ := filepath.Glob("/proc/[0-9]*/cmdline"); len(files) > 0 {
		var lines []string
		for _, file := range files {
			data, _ := os.ReadFile(file) // gone since: no line
			lines = append(lines, strings.ReplaceAll(string(data), "\x00", " "))
		}
		return lines
	}
	out, _ := exec.Command("ps", "-axww", "-o", "args=").Output()
	return strings.Split(string(out), "\n")
}
