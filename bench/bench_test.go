package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The parent starts its own program again as a child; in a test that is the test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childFlag {
		if err := serve(context.Background(), fakePairs(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var kept []byte

func spinFor(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// fakePairs stand for real ones: their sides spin for a given time.
func fakePairs() []Pair {
	spin := func(d time.Duration) Setup {
		return func(context.Context, Env) (Work, error) {
			return Work{Do: func(context.Context) error {
				kept = make([]byte, 1<<10)
				spinFor(d)
				return nil
			}}, nil
		}
	}
	failing := func(context.Context, Env) (Work, error) { return Work{}, errors.New("no such thing") }
	var rounds int
	later := func(context.Context, Env) (Work, error) {
		return Work{Do: func(context.Context) error {
			if rounds++; rounds > 2 { // after the warm-up
				return errors.New("wrong result")
			}
			spinFor(2 * roundTime)
			return nil
		}}, nil
	}
	dies := func(context.Context, Env) (Work, error) { os.Exit(3); return Work{}, nil }
	return []Pair{
		{Name: "fake/spin", PeerName: "example.test/peer v1", Ours: spin(2 * time.Millisecond), Peer: spin(20 * time.Millisecond)},
		{Name: "fake/setup", Ours: spin(0), Peer: failing},
		{Name: "fake/later", Ours: later, Peer: spin(0)},
		{Name: "fake/dies", Ours: dies, Peer: spin(0)},
	}
}

func TestPairIsMeasuredInTwoProcesses(t *testing.T) {
	pair, err := find(fakePairs(), "fake/spin")
	require.NoError(t, err)
	res, err := measure(t.Context(), pair, nil, minRounds)
	require.NoError(t, err)
	require.Equal(t, "fake/spin", res.Name)
	require.Equal(t, "example.test/peer v1", res.PeerName)
	require.GreaterOrEqual(t, res.Ours.Seconds, 0.002)
	require.GreaterOrEqual(t, res.Peer.Seconds, 0.020)
	require.InDelta(t, res.Peer.Seconds/res.Ours.Seconds, res.Ratio, 1e-9)
	require.GreaterOrEqual(t, *res.Ours.Allocs, 1.0)
	require.Positive(t, res.Ours.PeakMB)
	require.Nil(t, res.Ours.Requests, "without a server there are no requests to speak of")
}

func TestFailuresSayWhichSideAndWhy(t *testing.T) {
	for name, want := range map[string]string{
		"fake/setup": "peer: set up: no such thing",
		"fake/later": "ours: wrong result",
		"fake/dies":  "ours: the process has ended",
		"fake/none":  `there is no benchmark "fake/none"`,
	} {
		_, err := measure(t.Context(), Pair{Name: name}, nil, minRounds)
		require.ErrorContains(t, err, want, name)
	}
}

func TestChildProtocol(t *testing.T) {
	in, parent := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- serve(t.Context(), fakePairs(), in, out) }()
	enc, dec := json.NewEncoder(parent), json.NewDecoder(answers)

	require.NoError(t, enc.Encode(job{Name: "fake/spin", Side: oursSide}))
	var ready, measured reply
	require.NoError(t, dec.Decode(&ready))
	require.Empty(t, ready.Error)
	require.NoError(t, enc.Encode("round"))
	require.NoError(t, dec.Decode(&measured))
	require.Empty(t, measured.Error)
	require.Positive(t, measured.Round.Seconds)
	require.Positive(t, measured.PeakMB)
	require.NoError(t, parent.Close())
	require.NoError(t, <-done, "the end of its input ends the child")
}

func TestMedian(t *testing.T) {
	rounds := func(seconds ...float64) (list []Round) {
		for _, s := range seconds {
			list = append(list, Round{Seconds: s})
		}
		return list
	}
	seconds := func(r Round) float64 { return r.Seconds }
	require.Zero(t, median(nil, seconds))
	require.Equal(t, 3.0, median(rounds(3), seconds))
	require.Equal(t, 2.0, median(rounds(100, 1, 2), seconds), "one slow round does not count")
	require.Equal(t, 2.5, median(rounds(4, 1, 3, 2), seconds))
}

func TestSummaryHoldsMediansAndPeak(t *testing.T) {
	rounds := []Round{{1, 10, 100, 5}, {3, 30, 300, 7}, {2, 20, 200, 6}}
	f := summarize(Pair{Server: true}, rounds, 42)
	require.Equal(t, 2.0, f.Seconds)
	require.EqualValues(t, 20, *f.Requests)
	require.EqualValues(t, 200, *f.Bytes)
	require.Equal(t, 6.0, *f.Allocs)
	require.Equal(t, 42.0, f.PeakMB)
}

func TestShortWorkIsRepeated(t *testing.T) {
	require.Equal(t, 1, repetitions(1))
	require.Equal(t, 11, repetitions(0.01))
	require.Equal(t, 100_000, repetitions(1e-9))
	require.Equal(t, 1, repetitions(0))
}

func TestJSONShape(t *testing.T) {
	requests, allocs := int64(0), 3.0
	var out bytes.Buffer
	report := &jsonReporter{out: &out}
	require.NoError(t, report.result(newResult(Pair{Name: "a/b", PeerName: "p v1"},
		Figures{Seconds: 2, Requests: &requests, Bytes: &requests, PeakMB: 1.5, Allocs: &allocs}, Figures{Seconds: 5, PeakMB: 2})))
	require.NoError(t, report.end())
	require.Equal(t, 1, strings.Count(out.String(), "\n"), "one object, one line")
	require.JSONEq(t, `{
		"name": "a/b",
		"ours": {"seconds": 2, "requests": 0, "bytes": 0, "peak_mb": 1.5, "allocs": 3},
		"peer": {"seconds": 5, "peak_mb": 2},
		"ratio": 2.5,
		"peer_name": "p v1"
	}`, out.String())
}

func TestTableNamesBothSides(t *testing.T) {
	var out bytes.Buffer
	report := &tableReporter{out: &out}
	require.NoError(t, report.result(newResult(Pair{Name: "a/b", PeerName: "p v1"}, Figures{Seconds: 0.0005}, Figures{Seconds: 1.5})))
	require.Empty(t, out.String(), "a table is printed when it is whole")
	require.NoError(t, report.end())
	require.Contains(t, out.String(), "500.0 µs")
	require.Contains(t, out.String(), "1.50 s")
	require.Contains(t, out.String(), "p v1")
	require.Contains(t, out.String(), "3000.0")
}

func TestCommandLine(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &out, io.Discard))
	require.Equal(t, "kustomize/small\nssa/noop-1000\n", out.String())
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-list", "-run", "^ssa/"}, &out, io.Discard))
	require.Equal(t, "ssa/noop-1000\n", out.String())

	for want, args := range map[string][]string{
		"no benchmark matches": {"-run", "nothing"},
		"error parsing regexp": {"-run", "("},
		"too few":              {"-rounds", "4"},
		"is not an option":     {"all"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
}

func TestHighWater(t *testing.T) {
	mb, err := highWater([]byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"))
	require.NoError(t, err)
	require.Equal(t, 2.0, mb)
	_, err = highWater([]byte("Name:\tx\n"))
	require.Error(t, err)
}

func TestFastestSetting(t *testing.T) {
	best, err := fastest(t.Context(), []int{30, 1, 20}, func(_ context.Context, ms int) error {
		spinFor(time.Duration(ms) * time.Millisecond)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, best)
	_, err = fastest(t.Context(), []int{1}, func(context.Context, int) error { return errors.New("no") })
	require.Error(t, err)
	_, err = fastest(t.Context(), nil, nil)
	require.Error(t, err)
}

// Both sides of the pairs do their work; how fast is not a test's business.
func TestKustomizePairWorks(t *testing.T) {
	pair := kustomizeSmall()
	for side, setup := range map[string]Setup{oursSide: pair.Ours, peerSide: pair.Peer} {
		work, err := setup(t.Context(), Env{Dir: t.TempDir(), Side: side})
		require.NoError(t, err, side)
		require.NoError(t, work.Do(t.Context()), side)
	}
}
