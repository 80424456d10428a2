package main

// Pair is one benchmark: the same work done by us and by a peer, each in a
// program of its own.
type Pair struct {
	Name     string
	PeerName string // module and version
	Server   bool   // both sides need a control plane
	Ours     string // package of our program, in this module
	Peer     string // and of the peer's
}

// pairs are all benchmarks, in the order in which they run.
func pairs() []Pair {
	return []Pair{
		{
			Name:     "kustomize/small",
			PeerName: "github.com/fluxcd/pkg/kustomize v1.41.0",
			Ours:     "kustomize/ours",
			Peer:     "kustomize/peer",
		},
		{
			Name:     "ssa/noop-1000",
			PeerName: "github.com/fluxcd/pkg/ssa v0.78.0",
			Server:   true,
			Ours:     "ssa/ours",
			Peer:     "ssa/peer",
		},
	}
}
