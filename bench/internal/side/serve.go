package side

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gitopskit/gitopskit/bench/internal/hosted"
)

// A program reads JSON messages from its standard input, first a job and then
// any message for each round, and answers each with one reply. At the end of its
// input it ends.

// Job is the first message: which benchmark to set up.
type Job struct {
	Name       string      `json:"name"`
	Kubeconfig []byte      `json:"kubeconfig,omitempty"`
	Repo       hosted.Repo `json:"repo,omitzero"`
}

// Reply answers a message: the job's says that the benchmark is set up, any
// other's what a round cost.
type Reply struct {
	Error  string  `json:"error,omitempty"`
	Round  Round   `json:"round"`
	PeakMB float64 `json:"peak_mb"` // so far, since the setup
}

func serve(ctx context.Context, setups map[string]Setup, in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	var job Job
	if err := decoder.Decode(&job); err != nil {
		return fmt.Errorf("this is one side of a benchmark, started by the program in bench; read the job: %w", err)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears temporary files
	b, err := newBenchmark(ctx, setups, job, dir)
	if err != nil {
		return encoder.Encode(Reply{Error: err.Error()})
	}
	if err := encoder.Encode(Reply{}); err != nil {
		return err
	}
	for {
		var next any
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := encoder.Encode(b.reply(ctx)); err != nil {
			return err
		}
	}
}

func (b *benchmark) reply(ctx context.Context) Reply {
	round, err := b.round(ctx)
	if err != nil {
		return Reply{Error: err.Error()}
	}
	peak, err := peakMB()
	if err != nil {
		return Reply{Error: err.Error()}
	}
	return Reply{Round: round, PeakMB: peak}
}
