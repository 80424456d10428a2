package controlplane

import (
	"bytes"
	"context"
	"errors"
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
	err  error         // of waiting for the process; read after done
}

// run starts a binary in the plane's directory, its output going to NAME.log
// there.
func (p *Plane) run(name string, args ...string) (*component, error) {
	c := &component{name: name, log: filepath.Join(p.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the component writes to a copy of its own
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

// exit tells how the process ended.
func (c *component) exit() error {
	if c.err == nil {
		return errors.New("exit status 0")
	}
	return c.err
}

// stop asks the process to end, and kills it after the bound. It returns when
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
		c.kill()
	}
}

// kill returns when the process is gone.
func (c *component) kill() {
	if !c.running() {
		return
	}
	_ = c.cmd.Process.Kill()
	<-c.done
}

// await polls ready, which is about one component, until it returns nil. It
// gives up when ctx ends, and as soon as any component does: one may wait for
// another that is gone. The error says what the component said last.
func (p *Plane) await(ctx context.Context, c *component, ready func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		for _, c := range p.components() {
			if !c.running() {
				return c.failure(fmt.Errorf("ended (%w)", c.exit()))
			}
		}
		select {
		case <-ctx.Done():
			return c.failure(fmt.Errorf("%w (%w)", context.Cause(ctx), err))
		case <-ticker.C:
		}
	}
}

// components lists what was started, servers before their clients.
func (p *Plane) components() []*component {
	var started []*component
	for _, c := range append([]*component{p.etcd, p.server}, p.others...) {
		if c != nil {
			started = append(started, c)
		}
	}
	return started
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
	defer f.Close() //nolint:errcheck // it is only read
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
