package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitopskit/gitopskit/internal/meter"
)

// A child process is one side of one pair. It reads JSON messages from its
// standard input, first a job and then the word "round" for each round, and
// answers each with one reply. At the end of its input it ends.

const (
	childFlag = "-child"
	oursSide  = "ours"
	peerSide  = "peer"
)

// roundTime is how long a round of short work is made by repeating it.
const roundTime = 100 * time.Millisecond

type job struct {
	Name       string `json:"name"`
	Side       string `json:"side"`
	Kubeconfig []byte `json:"kubeconfig,omitempty"`
}

type reply struct {
	Error  string  `json:"error,omitempty"`
	Round  Round   `json:"round"`
	PeakMB float64 `json:"peak_mb"` // so far, since the setup
}

// Round is what one round cost, per execution of the work.
type Round struct {
	Seconds  float64 `json:"seconds"`
	Requests int64   `json:"requests"`
	Bytes    int64   `json:"bytes"`
	Allocs   float64 `json:"allocs"`
}

// serve is the child's side of the protocol.
func serve(ctx context.Context, all []Pair, in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	var j job
	if err := decoder.Decode(&j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := newSide(ctx, all, j, dir)
	if err != nil {
		return encoder.Encode(reply{Error: err.Error()})
	}
	if err := encoder.Encode(reply{}); err != nil {
		return err
	}
	for {
		var word string
		if err := decoder.Decode(&word); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer := reply{}
		if answer.Round, err = s.round(ctx); err != nil {
			answer.Error = err.Error()
		}
		if answer.PeakMB, err = peakMB(); err != nil && answer.Error == "" {
			answer.Error = err.Error()
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
}

// side is one side of a pair, ready to be measured.
type side struct {
	work  Work
	meter *meter.Meter
	times int // executions in a round
}

func newSide(ctx context.Context, all []Pair, j job, dir string) (*side, error) {
	chosen, err := find(all, j.Name)
	if err != nil {
		return nil, err
	}
	s := &side{meter: &meter.Meter{}, times: 1}
	env := Env{Dir: dir, Side: j.Side}
	if chosen.Server {
		if env.Config, err = restConfig(j.Kubeconfig, s.meter); err != nil {
			return nil, err
		}
	}
	setup := chosen.Ours
	if j.Side == peerSide {
		setup = chosen.Peer
	}
	if s.work, err = setup(ctx, env); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	// Two rounds warm up; the second tells how often short work is repeated.
	for range 2 {
		r, err := s.round(ctx)
		if err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
		s.times = repetitions(r.Seconds)
	}
	debug.FreeOSMemory()
	forgetPeak()
	return s, nil
}

func find(all []Pair, name string) (Pair, error) {
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return Pair{}, fmt.Errorf("there is no benchmark %q", name)
}

func restConfig(kubeconfig []byte, m *meter.Meter) (*rest.Config, error) {
	cfg, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return counted(cfg, m), nil
}

// repetitions is how often work is done in a round, so that a round is long
// enough to measure.
func repetitions(seconds float64) int {
	if seconds <= 0 || seconds >= roundTime.Seconds() {
		return 1
	}
	return min(int(roundTime.Seconds()/seconds)+1, 100_000)
}

// round does the work and measures it.
func (s *side) round(ctx context.Context) (Round, error) {
	var total Round
	var spent time.Duration
	runtime.GC()
	for range s.times {
		if s.work.Prepare != nil {
			s.work.Prepare()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		traffic := s.meter.Count()
		start := time.Now()
		err := s.work.Do(ctx)
		spent += time.Since(start)
		if err != nil {
			return Round{}, err
		}
		count := s.meter.Count().Sub(traffic)
		runtime.ReadMemStats(&after)
		total.Requests += count.Requests
		total.Bytes += count.Sent + count.Received
		total.Allocs += float64(after.Mallocs - before.Mallocs)
	}
	n := int64(s.times)
	return Round{
		Seconds:  spent.Seconds() / float64(n),
		Requests: total.Requests / n,
		Bytes:    total.Bytes / n,
		Allocs:   total.Allocs / float64(n),
	}, nil
}
