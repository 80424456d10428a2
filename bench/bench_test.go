package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

// The programs of the sides are in a test the test itself, with these arguments
// and the name of the side.
const fakeFlag = "-fake"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == fakeFlag {
		side.Main(fakes(os.Args[2]))
		return
	}
	os.Exit(m.Run())
}

// fakes stand for real benchmarks.
func fakes(name string) map[string]side.Setup {
	if name == "ours" {
		return map[string]side.Setup{"spin": spin(2 * time.Millisecond), "setup": spin(0), "later": later(), "dies": dies}
	}
	return map[string]side.Setup{"spin": spin(20 * time.Millisecond), "setup": failing, "later": spin(0), "dies": spin(0)}
}

var kept []byte

func spinFor(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func spin(d time.Duration) side.Setup {
	return func(context.Context, side.Env) (side.Work, error) {
		return side.Work{Do: func(context.Context) error {
			kept = make([]byte, 1<<10)
			spinFor(d)
			return nil
		}}, nil
	}
}

func failing(context.Context, side.Env) (side.Work, error) {
	return side.Work{}, errors.New("no such thing")
}

// later fails after the warm-up.
func later() side.Setup {
	rounds := 0
	return func(context.Context, side.Env) (side.Work, error) {
		return side.Work{Do: func(context.Context) error {
			if rounds++; rounds > 2 {
				return errors.New("wrong result")
			}
			spinFor(200 * time.Millisecond) // long enough not to be repeated
			return nil
		}}, nil
	}
}

func dies(context.Context, side.Env) (side.Work, error) { os.Exit(3); return side.Work{}, nil }

// measureFake measures fakes of that name.
func measureFake(t *testing.T, p Pair) (Result, error) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir()) // who dies does not clear up
	self, err := os.Executable()
	require.NoError(t, err)
	return measure(t.Context(), p, command{self, []string{fakeFlag, "ours"}}, command{self, []string{fakeFlag, "peer"}}, side.Job{Name: p.Name}, minRounds)
}

func TestPairIsMeasuredInTwoProcesses(t *testing.T) {
	res, err := measureFake(t, Pair{Name: "spin", PeerName: "example.test/peer v1"})
	require.NoError(t, err)
	require.Equal(t, "spin", res.Name)
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
		"setup": "peer: set up: no such thing",
		"later": "ours: wrong result",
		"dies":  "ours: the process has ended",
		"none":  `ours: there is no benchmark "none"`,
	} {
		_, err := measureFake(t, Pair{Name: name})
		require.ErrorContains(t, err, want, name)
	}
}

// A pair with a small repository, of which all processes are real.
func TestGitPairHasAServerOfItsOwn(t *testing.T) {
	pair, err := choose(pairs(), "^git/commit-pin$")
	require.NoError(t, err)
	programs, err := build(t.Context(), pair, t.TempDir(), io.Discard)
	require.NoError(t, err)
	small := repos.Kind{Version: "test", Make: repos.History{Apps: 5, Commits: 30, Tags: 3}.Make}
	kept, err := small.Kept(t.Context(), t.TempDir(), "small", io.Discard)
	require.NoError(t, err)

	repositories := &gitHost{}
	t.Cleanup(repositories.close)
	p := pair[0]
	repo, err := repositories.serve(t.Context(), kept, "small", programs[gitServer])
	require.NoError(t, err)
	res, err := measure(t.Context(), p, programs[p.Ours], programs[p.Peer], side.Job{Name: p.Name, Repo: repo}, minRounds)
	require.NoError(t, err)
	for _, f := range []Figures{res.Ours, res.Peer} {
		require.Positive(t, f.Seconds)
		require.Positive(t, f.CPUSeconds)
		require.Positive(t, *f.Requests)
		require.Greater(t, *f.Bytes, int64(10_000))
		require.Positive(t, f.PeakMB)
	}
	repositories.close()
	_, err = repo.Count(t.Context())
	require.Error(t, err, "the server ends with the run")
	require.NoDirExists(t, repositories.dir)
}

func TestEachGitPairHasARepository(t *testing.T) {
	for _, p := range gitPairs() {
		require.Contains(t, repos.Repos(), p.Repo, p.Name)
		require.Contains(t, p.packages(), gitServer)
	}
	_, err := (&gitHost{}).repo(t.Context(), Pair{Repo: "none"}, command{}, io.Discard)
	require.ErrorContains(t, err, `there is no repository "none"`)
}

func TestCommandDoesNotTellAllocations(t *testing.T) {
	res, err := measureFake(t, Pair{Name: "spin", Command: true})
	require.NoError(t, err)
	require.NotNil(t, res.Ours.Allocs)
	require.Nil(t, res.Peer.Allocs)
}

func TestMedian(t *testing.T) {
	rounds := func(seconds ...float64) (list []side.Round) {
		for _, s := range seconds {
			list = append(list, side.Round{Seconds: s})
		}
		return list
	}
	seconds := func(r side.Round) float64 { return r.Seconds }
	require.Zero(t, median(nil, seconds))
	require.Equal(t, 3.0, median(rounds(3), seconds))
	require.Equal(t, 2.0, median(rounds(100, 1, 2), seconds), "one slow round does not count")
	require.Equal(t, 2.5, median(rounds(4, 1, 3, 2), seconds))
}

func TestSummaryHoldsMediansAndPeak(t *testing.T) {
	rounds := []side.Round{
		{Seconds: 1, CPUSeconds: 0.1, Requests: 10, Bytes: 100, Allocs: 5},
		{Seconds: 3, CPUSeconds: 0.3, Requests: 30, Bytes: 300, Allocs: 7},
		{Seconds: 2, CPUSeconds: 0.2, Requests: 20, Bytes: 200, Allocs: 6},
	}
	f := summarize(Pair{Server: true}, rounds, 42)
	require.Equal(t, 2.0, f.Seconds)
	require.Equal(t, 0.2, f.CPUSeconds)
	require.EqualValues(t, 20, *f.Requests)
	require.EqualValues(t, 200, *f.Bytes)
	require.Equal(t, 6.0, *f.Allocs)
	require.Equal(t, 42.0, f.PeakMB)
}

func TestHeavyPairsHaveFewRounds(t *testing.T) {
	require.Equal(t, 9, Pair{}.rounds(9))
	require.Equal(t, minRounds, Pair{Heavy: true}.rounds(9))
}

func TestWholeIsToldBesideThePart(t *testing.T) {
	f := summarize(Pair{}, []side.Round{{Seconds: 1, Whole: 7}, {Seconds: 3, Whole: 9}, {Seconds: 2, Whole: 8}}, 0)
	require.Equal(t, 2.0, f.Seconds)
	require.Equal(t, 8.0, *f.Whole)
	require.Contains(t, columns(f), "2.00 s of 8.00 s")
	require.Nil(t, summarize(Pair{}, []side.Round{{Seconds: 1}}, 0).Whole)
}

func TestJSONShape(t *testing.T) {
	requests, allocs := int64(0), 3.0
	var out bytes.Buffer
	report := &jsonReporter{out: &out}
	require.NoError(t, report.result(newResult(Pair{Name: "a/b", PeerName: "p v1"},
		Figures{Seconds: 2, CPUSeconds: 0.5, Requests: &requests, Bytes: &requests, PeakMB: 1.5, Allocs: &allocs}, Figures{Seconds: 5, PeakMB: 2})))
	require.NoError(t, report.end())
	require.Equal(t, 1, strings.Count(out.String(), "\n"), "one object, one line")
	require.JSONEq(t, `{
		"name": "a/b",
		"ours": {"seconds": 2, "cpu_seconds": 0.5, "requests": 0, "bytes": 0, "peak_mb": 1.5, "allocs": 3},
		"peer": {"seconds": 5, "cpu_seconds": 0, "peak_mb": 2},
		"ratio": 2.5,
		"peer_name": "p v1"
	}`, out.String())
}

func TestTableNamesBothSides(t *testing.T) {
	var out bytes.Buffer
	report := &tableReporter{out: &out}
	require.NoError(t, report.result(newResult(Pair{Name: "a/b", PeerName: "p v1"}, Figures{Seconds: 0.0005, CPUSeconds: 0.007}, Figures{Seconds: 1.5})))
	require.Empty(t, out.String(), "a table is printed when it is whole")
	require.NoError(t, report.end())
	require.Contains(t, out.String(), "500.0 µs")
	require.Contains(t, out.String(), "1.50 s")
	require.Contains(t, out.String(), "7.0 ms")
	require.Contains(t, out.String(), "p v1")
	require.Contains(t, out.String(), "3000.0")
}

func TestCommandLine(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &out, io.Discard))
	require.Contains(t, out.String(), "kustomize/1000-overlay-krusty\nkustomize/unchanged\nssa/noop-1000\n")
	require.Contains(t, out.String(), "\ngc/inventory-100k\ngit/cold-large\n")
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-list", "-run", "^ssa/noop"}, &out, io.Discard))
	require.Equal(t, "ssa/noop-1000\nssa/noop-10000\nssa/noop-10000-watched\n", out.String())

	for want, args := range map[string][]string{
		"no benchmark matches": {"-run", "nothing"},
		"error parsing regexp": {"-run", "("},
		"too few":              {"-rounds", "4"},
		"is not an option":     {"all"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
}
