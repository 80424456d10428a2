package main

import "slices"

// Pair is one benchmark: the same work done by us and by a peer, each in a
// program of its own.
type Pair struct {
	Name     string
	PeerName string // module and version, or a command
	Server   bool   // both sides need a control plane
	Pods     bool   // and one that runs workloads, of this pair alone
	Heavy    bool   // rounds take long: the least number of them has to do
	Repo     string // the repository that both sides need, of those in git/repos
	Ours     string // package of our program, in this module
	Peer     string // and of the peer's
	Command  bool   // the peer is a command that its program runs
	Plain    bool   // the peer is no library, but the obvious way
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
	}, slices.Concat(ssaPairs(), gcPairs(), gitPairs(), helmPairs(), conditionsPairs())...)
}

func conditionsPairs() []Pair {
	return []Pair{{
		Name:     "conditions/patch",
		PeerName: "github.com/fluxcd/pkg/runtime/patch v0.110.3",
		Server:   true,
		Ours:     "conditions/ours",
		Peer:     "conditions/peer",
	}}
}

func ssaPairs() []Pair {
	pair := func(name string) Pair {
		return Pair{Name: "ssa/" + name, PeerName: "github.com/fluxcd/pkg/ssa v0.78.0", Server: true, Ours: "ssa/ours", Peer: "ssa/peer"}
	}
	heavy := func(name string) Pair {
		p := pair(name)
		p.Heavy = true
		return p
	}
	wait := heavy("wait-1000")
	wait.Pods = true
	return []Pair{
		pair("noop-1000"),
		heavy("noop-10000"),
		heavy("noop-10000-watched"),
		heavy("one-in-10000"),
		heavy("create-1000"),
		heavy("change-1000"),
		heavy("delete-1000"),
		wait,
	}
}

func gcPairs() []Pair {
	return []Pair{{
		Name:     "gc/inventory-100k",
		PeerName: "one JSON document in ConfigMaps",
		Plain:    true,
		Server:   true,
		Heavy:    true,
		Ours:     "gc/ours",
		Peer:     "gc/plain",
	}}
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

func helmPairs() []Pair {
	command := func(name string) Pair {
		return Pair{Name: "helm/" + name, PeerName: "helm --wait v3.22.0", Server: true, Pods: true, Heavy: true, Command: true,
			Ours: "helm/ours", Peer: "helm/command"}
	}
	return []Pair{
		{
			Name:     "helm/noop-100",
			PeerName: "helm.sh/helm/v3 v3.22.0",
			Server:   true,
			Heavy:    true,
			Ours:     "helm/ours",
			Peer:     "helm/peer",
		},
		command("install-podinfo"),
		command("upgrade-podinfo"),
	}
}

// rounds is how many rounds a pair has where so many are asked for.
func (p Pair) rounds(asked int) int {
	if p.Heavy {
		return minRounds
	}
	return asked
}

// packages are the programs that a pair needs.
func (p Pair) packages() []string {
	if p.Repo != "" {
		return []string{p.Ours, p.Peer, gitServer}
	}
	return []string{p.Ours, p.Peer}
}
