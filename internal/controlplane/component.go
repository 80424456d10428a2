package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// component is a program of the control plane that was started.
type component struct {
	name string
	cmd  *exec.Cmd
	log  string        // path of its log
	from int64         // where this run's part of the log begins
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
}

// run starts a binary in the plane's directory, its output going to NAME.log
// there.
func (p *Plane) run(name string, args ...string) (*component, error) {
	c := &component{name: name, log: filepath.Join(p.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil {
		c.from = info.Size()
	}

	c.cmd = p.reaper.command(filepath.Join(p.binaries, name), args...)
	c.cmd.Dir = p.dir
	// Nothing of the user's environment changes how the plane behaves, and
	// nothing in their home is read.
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		p.reaper.forget(c.cmd.Process.Pid)
		close(c.done)
	}()
	return c, nil
}

func (c *component) running() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop asks the process to end, and ends it after the bound. It returns when
// the process is gone.
func (c *component) stop(bound time.Duration) {
	if !c.running() {
		return
	}
	// Signalling a process that has just ended is the only failure.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// await polls ready until it reports nil. It gives up when ctx ends or when
// the component does, with an error that says what the component said last.
func (c *component) await(ctx context.Context, ready func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return c.failure(fmt.Errorf("ended: %v", c.err))
		case <-ctx.Done():
			return c.failure(fmt.Errorf("%w (%v)", context.Cause(ctx), err))
		case <-ticker.C:
		}
	}
}

// failure is an error about the component, with the end of its log.
func (c *component) failure(err error) error {
	return &componentError{name: c.name, log: c.tail(), err: err}
}

type componentError struct {
	name string
	log  string
	err  error
}

func (e *componentError) Error() string {
	if e.log == "" {
		return fmt.Sprintf("%s: %v; it logged nothing", e.name, e.err)
	}
	return fmt.Sprintf("%s: %v; the end of its log:\n%s", e.name, e.err, e.log)
}

func (e *componentError) Unwrap() error { return e.err }

const (
	tailLines = 15
	tailBytes = 8 << 10
)

// tail returns the last lines of what this run logged.
func (c *component) tail() string {
	f, err := os.Open(c.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(c.from, info.Size()-tailBytes)
	data, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return strings.ToValidUTF8(string(bytes.Join(lines, []byte("\n"))), "?")
}
