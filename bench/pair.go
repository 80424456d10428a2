package main

import (
	"context"

	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/meter"
)

// Pair is one benchmark: the same work done by us and by a peer.
type Pair struct {
	Name     string
	PeerName string // module and version
	Server   bool   // both sides need a control plane
	Ours     Setup
	Peer     Setup
}

// Setup prepares a side once, before anything is measured, and returns the work
// of a round.
type Setup func(ctx context.Context, env Env) (Work, error)

// Work is what is measured. It checks its own result: what was measured has to
// have happened.
type Work struct {
	// Prepare makes what Do needs anew each time, unmeasured; may be nil.
	Prepare func()
	Do      func(ctx context.Context) error
}

// Env is what a side is given.
type Env struct {
	Dir    string       // a folder of its own
	Config *rest.Config // for the server, if the pair needs one; its traffic is counted
	Side   string       // ours or peer
}

// pairs are all benchmarks, in the order in which they run.
func pairs() []Pair {
	return []Pair{
		kustomizeSmall(),
		ssaNoop("ssa/noop-1000", 1000),
	}
}

// counted wraps a configuration so that all its clients' traffic is counted.
func counted(cfg *rest.Config, m *meter.Meter) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // no limit on the client's side
	cfg.Wrap(m.Wrap)
	return cfg
}
