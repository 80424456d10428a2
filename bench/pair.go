package main

// Pair is one benchmark: the same work done by us and by a peer, each in a
// program of its own.
type Pair struct {
	Name     string
	PeerName string // module and version, or a command
	Server   bool   // both sides need a control plane
	Repo     string // the repository that both sides need, of those in git/repos
	Ours     string // package of our program, in this module
	Peer     string // and of the peer's
	Command  bool   // the peer is a command that its program runs
}

// pairs are all benchmarks, in the order in which they run.
func pairs() []Pair {
	return append([]Pair{
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
	}, gitPairs()...)
}

func gitPairs() []Pair {
	fetch := func(name, repo string) Pair {
		return Pair{Name: "git/" + name, PeerName: "github.com/fluxcd/pkg/git v0.52.0", Repo: repo, Ours: "git/ours", Peer: "git/peer"}
	}
	command := fetch("cold-large-vs-git", "large")
	command.PeerName, command.Peer, command.Command = "git clone --depth 1", "git/command", true
	return []Pair{
		fetch("cold-large", "large"),
		command,
		fetch("warm-one-file", "large"),
		fetch("noop-branch", "references"),
		fetch("noop-tag", "references"),
		fetch("noop-semver", "references"),
		fetch("semver-1000-tags", "history"),
		fetch("commit-pin", "history"),
		fetch("large-blob", "blob"),
	}
}

// packages are the programs that a pair needs.
func (p Pair) packages() []string {
	if p.Repo != "" {
		return []string{p.Ours, p.Peer, gitServer}
	}
	return []string{p.Ours, p.Peer}
}
