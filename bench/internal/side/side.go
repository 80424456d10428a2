// Package side is the frame of a program that is one side of benchmarks: ours or
// a peer's. Such a program links what its side needs and nothing of the other, so
// that its resident set is what a controller would pay.
package side

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// Setup prepares a benchmark once, before anything is measured, and returns the
// work of a round.
type Setup func(ctx context.Context, env Env) (Work, error)

// Work is what is measured. It checks its own result: what was measured has to
// have happened.
type Work struct {
	// Prepare makes what Do needs anew each time, unmeasured; may be nil.
	Prepare func(ctx context.Context) error
	Do      func(ctx context.Context) error
	// Finish looks at what Do left behind and clears it up, unmeasured; may be
	// nil.
	Finish func(ctx context.Context) error
	// Took is how much of the last Do is the figure, where not all of it is: a wait
	// is judged by what it adds to what it waits for. Nil means all.
	Took func() time.Duration
	// Count reads the traffic so far. If it is nil, [Env.Meter] is read.
	Count func(ctx context.Context) (meter.Count, error)
}

// Env is what a setup is given.
type Env struct {
	Dir        string       // a folder of its own
	Kubeconfig []byte       // of the control plane, if the benchmark has one
	Repo       hosted.Repo  // if the benchmark has one
	Meter      *meter.Meter // counts the traffic of the clients whose transport it wraps
}

// Main is the whole of a side's program: it serves the benchmarks by name to the
// parent, which starts it.
func Main(setups map[string]Setup) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := serve(ctx, setups, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
