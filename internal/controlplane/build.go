package controlplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// build brings what the options need and the folder lacks into the folder. One
// process builds at a time; the others find everything built.
func (m *module) build(ctx context.Context, dir string, opts Options) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"), func() {
		opts.report(Progress{Stage: Waiting})
	})
	if err != nil {
		return fmt.Errorf("waiting for another build: %w", err)
	}
	defer unlock()

	// A binary is built here and renamed when it is whole. What a killed build
	// left behind goes with the folder.
	temp := filepath.Join(dir, ".build")
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // the next build removes it too
	for _, name := range missing(dir, opts) {
		if err := os.MkdirAll(temp, 0o755); err != nil {
			return err
		}
		build := m.buildBinary
		if name == stagesFolder {
			build = m.copyStages
		}
		fresh := filepath.Join(temp, name)
		if err := build(ctx, name, fresh, opts); err != nil {
			return err
		}
		if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// buildFlags are the same on every machine. Without the version, the server
// would report a placeholder.
func (m *module) buildFlags() []string {
	const version = "k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(m.version, "v"), ".", 3)
	parts = append(parts, "", "")
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", strings.Join([]string{
		"-s -w",
		"-X " + version + "gitVersion=" + m.version,
		"-X " + version + "gitMajor=" + parts[0],
		"-X " + version + "gitMinor=" + parts[1],
	}, " ")}
}

func (m *module) buildBinary(ctx context.Context, name, to string, opts Options) error {
	pkg := packages[name]
	count := &packageCount{report: opts.report, name: name}
	if err := m.countPackages(ctx, pkg, count); err != nil {
		return fmt.Errorf("listing the packages of %s: %w", name, err)
	}
	args := append([]string{"build", "-v", "-o", to}, m.buildFlags()...)
	if _, err := m.goTool(ctx, append(args, pkg), count.line); err != nil {
		return fmt.Errorf("building %s: %w", name, err)
	}
	return nil
}

// packageCount turns what the go command says into progress.
type packageCount struct {
	report      func(Progress)
	name        string
	modules     int
	done, total int
	stale       map[string]bool // packages to be built
}

// countPackages fills the count: Go's build cache may have many of them.
func (m *module) countPackages(ctx context.Context, pkg string, count *packageCount) error {
	args := append([]string{"list", "-deps", "-f", "{{.ImportPath}} {{.Stale}}"}, m.buildFlags()...)
	out, err := m.goTool(ctx, append(args, pkg), count.line)
	if err != nil {
		return err
	}
	count.stale = map[string]bool{}
	for line := range strings.Lines(out) {
		path, stale, _ := strings.Cut(strings.TrimSpace(line), " ")
		count.total++
		if stale == "true" {
			count.stale[path] = true
		} else {
			count.done++
		}
	}
	count.report(Progress{Stage: Building, Name: count.name, Done: count.done, Total: count.total})
	return nil
}

// line takes one line of the go command's standard error, and tells whether it
// was progress.
func (c *packageCount) line(line string) bool {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		c.modules++
		c.report(Progress{Stage: Downloading, Name: c.name, Done: c.modules})
		return true
	case c.stale[line]:
		c.done++
		c.report(Progress{Stage: Building, Name: c.name, Done: c.done, Total: c.total})
		return true
	}
	return false
}

// goTool runs the go command in the module and returns its standard output.
// progress is given each line of its standard error, and the error holds the
// end of those that it does not take.
func (m *module) goTool(ctx context.Context, args []string, progress func(string) bool) (string, error) {
	program, err := findGo()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	// An interrupted go command removes its temporary files.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTimeout
	var stdout strings.Builder
	cmd.Stdout = &stdout
	stderr, w := io.Pipe()
	cmd.Stderr = w

	said := make(chan []string)
	go func() { said <- readLines(stderr, progress) }()
	err = cmd.Run()
	_ = w.Close() // never fails
	lines := <-said
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	default:
		return "", fmt.Errorf("go %s: %w:\n%s", args[0], err, strings.Join(lines, "\n"))
	}
}

// readLines returns the last of the lines that progress does not take.
func readLines(r io.Reader, progress func(string) bool) []string {
	var rest []string
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		line := scanner.Text()
		if progress(line) {
			continue
		}
		if rest = append(rest, line); len(rest) > tailLines {
			rest = rest[1:]
		}
	}
	// After a line that is too long: the command must not block on its output.
	_, _ = io.Copy(io.Discard, r)
	return rest
}

// findGo prefers the go command that runs the tests, which comes first in
// their PATH.
func findGo() (string, error) {
	program, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("the control plane must be built first, and there is no go command: install Go, or set %s: %w", assetsVariable, err)
	}
	return program, nil
}

// lock holds an exclusive lock on a file until unlock is called or the process
// ends. Where another process has it, waiting is called once.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for first := true; ; first = false {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
