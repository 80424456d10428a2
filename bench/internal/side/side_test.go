package side

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/meter"
)

var kept []byte

func spinFor(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// spin is work that takes a while and allocates.
func spin(d time.Duration) Setup {
	return func(context.Context, Env) (Work, error) {
		return Work{Do: func(context.Context) error {
			kept = make([]byte, 1<<10)
			spinFor(d)
			return nil
		}}, nil
	}
}

func setUp(t *testing.T, setup Setup) *benchmark {
	t.Helper()
	b, err := newBenchmark(t.Context(), map[string]Setup{"fake": setup}, Job{Name: "fake"}, t.TempDir())
	require.NoError(t, err)
	return b
}

func TestProtocol(t *testing.T) {
	in, parent := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	setups := map[string]Setup{"fake": spin(2 * time.Millisecond)}
	go func() { done <- serve(t.Context(), setups, in, out) }()
	enc, dec := json.NewEncoder(parent), json.NewDecoder(answers)

	require.NoError(t, enc.Encode(Job{Name: "fake"}))
	var ready Reply
	require.NoError(t, dec.Decode(&ready))
	require.Equal(t, Reply{}, ready)
	for range 2 {
		var measured Reply
		require.NoError(t, enc.Encode("round"))
		require.NoError(t, dec.Decode(&measured))
		require.Empty(t, measured.Error)
		require.GreaterOrEqual(t, measured.Round.Seconds, 0.002)
		require.GreaterOrEqual(t, measured.Round.Allocs, 1.0)
		require.Positive(t, measured.PeakMB)
	}
	require.NoError(t, parent.Close())
	require.NoError(t, <-done, "the end of its input ends the program")
}

func TestServeSaysWhatWentWrong(t *testing.T) {
	failing := func(context.Context, Env) (Work, error) { return Work{}, errors.New("no such thing") }
	cold := func(context.Context, Env) (Work, error) {
		return Work{Do: func(context.Context) error { return errors.New("wrong result") }}, nil
	}
	for name, want := range map[string]string{
		"failing": "set up: no such thing",
		"cold":    "warm up: wrong result",
		"none":    `there is no benchmark "none"`,
	} {
		var out strings.Builder
		setups := map[string]Setup{"failing": failing, "cold": cold}
		require.NoError(t, serve(t.Context(), setups, strings.NewReader(`{"name": "`+name+`"}`), &out))
		var answer Reply
		require.NoError(t, json.Unmarshal([]byte(out.String()), &answer))
		require.Equal(t, want, answer.Error)
	}
	require.ErrorContains(t, serve(t.Context(), nil, strings.NewReader(""), io.Discard), "one side of a benchmark")
}

func TestTrafficIsCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	t.Cleanup(server.Close)
	b := setUp(t, func(_ context.Context, env Env) (Work, error) {
		client := &http.Client{Transport: env.Meter.Wrap(nil)}
		return Work{Do: func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("you there"))
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}}, nil
	})
	round, err := b.round(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, round.Requests)
	require.EqualValues(t, len("you there")+len("hello"), round.Bytes)
}

func TestPreparationIsNotMeasured(t *testing.T) {
	b := setUp(t, func(context.Context, Env) (Work, error) {
		ready := false
		return Work{
			Prepare: func(context.Context) error {
				ready = true
				spinFor(2 * roundTime)
				return nil
			},
			Do: func(context.Context) error {
				if !ready {
					return errors.New("not prepared")
				}
				ready = false
				spinFor(roundTime / 2)
				return nil
			},
			Finish: func(context.Context) error {
				if ready {
					return errors.New("nothing was done")
				}
				spinFor(2 * roundTime)
				return nil
			},
		}, nil
	})
	round, err := b.round(t.Context())
	require.NoError(t, err)
	require.Less(t, round.Seconds, (2 * roundTime).Seconds())
	require.Less(t, round.CPUSeconds, (2 * roundTime).Seconds())
}

func TestFailuresAroundTheWork(t *testing.T) {
	fails := func(context.Context) error { return errors.New("no such thing") }
	works := func(context.Context) error { return nil }
	for want, work := range map[string]Work{
		"warm up: prepare: no such thing": {Prepare: fails, Do: works},
		"warm up: finish: no such thing":  {Do: works, Finish: fails},
		"warm up: no such thing": {Do: works, Count: func(context.Context) (meter.Count, error) {
			return meter.Count{}, errors.New("no such thing")
		}},
	} {
		_, err := newBenchmark(t.Context(), map[string]Setup{"fake": func(context.Context, Env) (Work, error) {
			return work, nil
		}}, Job{Name: "fake"}, t.TempDir())
		require.EqualError(t, err, want)
	}
}

// Time on a processor is counted of this process and of those that it runs, and
// waiting costs none.
func TestProcessorTimeIsCounted(t *testing.T) {
	spun, err := cost(t.Context(), func(context.Context) error { spinFor(roundTime); return nil })
	require.NoError(t, err)
	require.Greater(t, spun.CPUSeconds, roundTime.Seconds()/20, "on a busy machine it gets less of the time")

	const loop = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
	ran, err := cost(t.Context(), func(ctx context.Context) error { return exec.CommandContext(ctx, "sh", "-c", loop).Run() })
	require.NoError(t, err)
	require.Greater(t, ran.CPUSeconds, 0.01)

	waited, err := cost(t.Context(), func(context.Context) error { <-time.After(roundTime); return nil })
	require.NoError(t, err)
	require.Less(t, waited.CPUSeconds, roundTime.Seconds()/2)
}

func TestTrafficMayBeCountedElsewhere(t *testing.T) {
	b := setUp(t, func(context.Context, Env) (Work, error) {
		var count meter.Count
		return Work{
			Do: func(context.Context) error {
				spinFor(roundTime)
				count = count.Add(meter.Count{Requests: 1, Sent: 2, Received: 3})
				return nil
			},
			Count: func(context.Context) (meter.Count, error) { return count, nil },
		}, nil
	})
	round, err := b.round(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, round.Requests)
	require.EqualValues(t, 5, round.Bytes)
}

func TestFigureMayBeAPartOfTheWork(t *testing.T) {
	times := 0
	b := setUp(t, func(context.Context, Env) (Work, error) {
		return Work{
			Do:   func(context.Context) error { times++; spinFor(roundTime); return nil },
			Took: func() time.Duration { return time.Millisecond },
		}, nil
	})
	times = 0
	round, err := b.round(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Millisecond.Seconds(), round.Seconds)
	require.GreaterOrEqual(t, round.Whole, roundTime.Seconds())
	require.Equal(t, 1, times, "work is repeated by how long all of it is")
}

func TestShortWorkIsRepeated(t *testing.T) {
	require.Equal(t, 1, repetitions(1))
	require.Equal(t, 11, repetitions(0.01))
	require.Equal(t, 100_000, repetitions(1e-9))
	require.Equal(t, 1, repetitions(0))
}

// useMB makes so much memory resident and gives it back. It is not of Go's heap,
// which keeps some for later.
func useMB(size int) error {
	b, err := syscall.Mmap(-1, 0, size<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < len(b); i += 1 << 10 {
		b[i] = 1
	}
	return syscall.Munmap(b)
}

// What the setup used and gave back is not in the peak; what a round uses is, and
// so is all else that the process holds.
func TestPeakIsOfTheMeasurement(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can forget the largest resident set")
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200); err != nil {
		t.Skipf("this system cannot forget the largest resident set: %v", err)
	}
	const size = 256 // MiB
	b := setUp(t, func(context.Context, Env) (Work, error) {
		work := Work{Do: func(context.Context) error { spinFor(roundTime); return nil }}
		return work, useMB(size)
	})
	forgotten := b.reply(t.Context())
	require.Empty(t, forgotten.Error)
	require.Less(t, forgotten.PeakMB, float64(size))
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	require.Greater(t, forgotten.PeakMB, float64(heap.HeapAlloc)/(1<<20), "the process is more than its heap")

	b.work.Do = func(context.Context) error { return useMB(size) }
	used := b.reply(t.Context())
	require.Empty(t, used.Error)
	require.Greater(t, used.PeakMB, float64(size))
}

func TestHighWater(t *testing.T) {
	mb, err := highWater([]byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"))
	require.NoError(t, err)
	require.Equal(t, 2.0, mb)
	_, err = highWater([]byte("Name:\tx\n"))
	require.Error(t, err)
	_, err = highWater([]byte("VmHWM:\tmuch\n"))
	require.Error(t, err)
}
