package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/controlplane"
)

// measureAll builds the programs, then measures the pairs one after the other and
// reports each.
func measureAll(ctx context.Context, chosen []Pair, rounds int, report reporter, stderr io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears temporary files
	programs, err := build(ctx, chosen, dir, stderr)
	if err != nil {
		return err
	}
	server, repositories := &sharedServer{}, &gitHost{}
	defer server.close()
	defer repositories.close()
	for _, p := range chosen {
		fmt.Fprintf(stderr, "%s: %d rounds of each side\n", p.Name, p.rounds(rounds))
		job := side.Job{Name: p.Name}
		of := server
		if p.Pods {
			of = &sharedServer{opts: controlplane.Options{Workloads: true, Nodes: 8}}
		}
		if p.Server {
			if job.Kubeconfig, err = of.kubeconfig(ctx); err != nil {
				return err
			}
		}
		if p.Repo != "" {
			if job.Repo, err = repositories.repo(ctx, p, programs[gitServer], stderr); err != nil {
				return err
			}
		}
		result, err := measure(ctx, p, programs[p.Ours], programs[p.Peer], job, p.rounds(rounds))
		if p.Pods {
			of.close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if err := report.result(result); err != nil {
			return err
		}
	}
	return report.end()
}

// sharedServer is one control plane for all pairs, started when the first needs it.
type sharedServer struct {
	opts  controlplane.Options
	plane *controlplane.Plane
}

func (s *sharedServer) kubeconfig(ctx context.Context) ([]byte, error) {
	if s.plane == nil {
		progress, done := controlplane.Printer(os.Stderr)
		defer done()
		var err error
		opts := s.opts
		opts.Progress = progress
		if s.plane, err = controlplane.Start(ctx, opts); err != nil {
			return nil, err
		}
	}
	return s.plane.Kubeconfig(), nil
}

func (s *sharedServer) close() {
	if s.plane != nil {
		_ = s.plane.Close()
	}
}

// measure runs both sides of a pair, in rounds that alternate and in an order
// that alternates too, so that neither always follows the other.
func measure(ctx context.Context, p Pair, oursProgram, peerProgram command, job side.Job, rounds int) (Result, error) {
	ours, err := start(ctx, "ours", oursProgram, job)
	if err != nil {
		return Result{}, err
	}
	defer ours.stop()
	peer, err := start(ctx, "peer", peerProgram, job)
	if err != nil {
		return Result{}, err
	}
	defer peer.stop()
	for i := range rounds {
		order := []*child{ours, peer}
		if i%2 == 1 {
			order = []*child{peer, ours}
		}
		for _, c := range order {
			if err := c.round(); err != nil {
				return Result{}, err
			}
		}
	}
	result := newResult(p, summarize(p, ours.rounds, ours.peakMB), summarize(p, peer.rounds, peer.peakMB))
	if p.Command {
		result.Peer.Allocs = nil // a command does not tell
	}
	return result, nil
}

// child is the parent's end of a child process.
type child struct {
	side   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	enc    *json.Encoder
	dec    *json.Decoder
	rounds []side.Round
	peakMB float64
}

// start runs a program as one side of a pair, and returns when it is ready to be
// measured.
func start(ctx context.Context, name string, program command, job side.Job) (*child, error) {
	cmd := exec.CommandContext(ctx, program.path, program.args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{side: name, cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	if _, err := c.ask(job); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// ask sends a message and waits for its reply.
func (c *child) ask(message any) (side.Reply, error) {
	if err := c.enc.Encode(message); err != nil {
		return side.Reply{}, fmt.Errorf("%s: the process has ended: %w", c.side, err)
	}
	var answer side.Reply
	if err := c.dec.Decode(&answer); err != nil {
		return side.Reply{}, fmt.Errorf("%s: the process has ended: %w", c.side, err)
	}
	if answer.Error != "" {
		return side.Reply{}, fmt.Errorf("%s: %s", c.side, answer.Error)
	}
	return answer, nil
}

func (c *child) round() error {
	answer, err := c.ask("round")
	if err != nil {
		return err
	}
	c.rounds = append(c.rounds, answer.Round)
	c.peakMB = max(c.peakMB, answer.PeakMB)
	return nil
}

// stop ends the process and waits for it.
func (c *child) stop() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}
