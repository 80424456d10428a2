package side

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gitopskit/gitopskit/internal/meter"
)

// roundTime is how long a round of short work is made by repeating it.
const roundTime = 100 * time.Millisecond

// Two rounds warm up. After a round as long as this, none else is needed.
const longRound = 4 * time.Second

// Round is what one round cost, per execution of the work.
type Round struct {
	Seconds    float64 `json:"seconds"`
	Whole      float64 `json:"whole,omitempty"` // seconds of all of Do, where Seconds are a part; see Work.Took
	CPUSeconds float64 `json:"cpu_seconds"`     // see cpuTime
	Requests   int64   `json:"requests"`
	Bytes      int64   `json:"bytes"`
	Allocs     float64 `json:"allocs"`
}

// benchmark is set up and ready to be measured.
type benchmark struct {
	work  Work
	meter *meter.Meter
	times int // executions in a round
}

func newBenchmark(ctx context.Context, setups map[string]Setup, job Job, dir string) (*benchmark, error) {
	setup, ok := setups[job.Name]
	if !ok {
		return nil, fmt.Errorf("there is no benchmark %q", job.Name)
	}
	b := &benchmark{meter: &meter.Meter{}, times: 1}
	var err error
	if b.work, err = setup(ctx, Env{Dir: dir, Kubeconfig: job.Kubeconfig, Repo: job.Repo, Meter: b.meter}); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	for range 2 { // the second tells how often short work is repeated
		r, err := b.round(ctx)
		if err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
		spent := max(r.Seconds, r.Whole)
		b.times = repetitions(spent)
		if spent >= longRound.Seconds() {
			break
		}
	}
	debug.FreeOSMemory()
	forgetPeak()
	return b, nil
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
func (b *benchmark) round(ctx context.Context) (Round, error) {
	var total Round
	runtime.GC()
	for range b.times {
		r, err := b.once(ctx)
		if err != nil {
			return Round{}, err
		}
		total.Seconds += r.Seconds
		total.Whole += r.Whole
		total.CPUSeconds += r.CPUSeconds
		total.Requests += r.Requests
		total.Bytes += r.Bytes
		total.Allocs += r.Allocs
	}
	n := int64(b.times)
	return Round{
		Seconds:    total.Seconds / float64(n),
		Whole:      total.Whole / float64(n),
		CPUSeconds: total.CPUSeconds / float64(n),
		Requests:   total.Requests / n,
		Bytes:      total.Bytes / n,
		Allocs:     total.Allocs / float64(n),
	}, nil
}

func (b *benchmark) once(ctx context.Context) (Round, error) {
	if b.work.Prepare != nil {
		if err := b.work.Prepare(ctx); err != nil {
			return Round{}, fmt.Errorf("prepare: %w", err)
		}
	}
	traffic, err := b.count(ctx)
	if err != nil {
		return Round{}, err
	}
	r, err := cost(ctx, b.work.Do)
	if err != nil {
		return Round{}, err
	}
	if b.work.Took != nil {
		r.Whole, r.Seconds = r.Seconds, b.work.Took().Seconds()
	}
	after, err := b.count(ctx)
	if err != nil {
		return Round{}, err
	}
	count := after.Sub(traffic)
	r.Requests, r.Bytes = count.Requests, count.Sent+count.Received
	if b.work.Finish != nil {
		if err := b.work.Finish(ctx); err != nil {
			return Round{}, fmt.Errorf("finish: %w", err)
		}
	}
	return r, nil
}

func (b *benchmark) count(ctx context.Context) (meter.Count, error) {
	if b.work.Count != nil {
		return b.work.Count(ctx)
	}
	return b.meter.Count(), nil
}

// cost is what do costs this process.
func cost(ctx context.Context, do func(context.Context) error) (Round, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, err := cpuTime()
	if err != nil {
		return Round{}, err
	}
	start := time.Now()
	err = do(ctx)
	spent := time.Since(start)
	if err != nil {
		return Round{}, err
	}
	used, err := cpuTime()
	runtime.ReadMemStats(&after)
	return Round{
		Seconds:    spent.Seconds(),
		CPUSeconds: (used - cpu).Seconds(),
		Allocs:     float64(after.Mallocs - before.Mallocs),
	}, err
}
