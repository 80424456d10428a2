package main

import "slices"

// Pair is one benchmark: the same work done by us and by a peer, each in a
// program of its own.
type Pair struct {
	Name     string
	PeerName string // module, or package of one, and version, or several joined by "and", or a command
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
	return slices.Concat(kustomizePairs(), ssaPairs(), gcPairs(), gitPairs(), artifactPairs(), artifactFetchPairs(), conditionsPairs(), eventPairs(), helmIndexPairs(), helmPairs())
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

func kustomizePairs() []Pair {
	pair := func(name string) Pair {
		return Pair{Name: "kustomize/" + name, PeerName: "github.com/fluxcd/pkg/kustomize v1.41.0", Ours: "kustomize/ours", Peer: "kustomize/peer"}
	}
	overlay := pair("1000-overlay")
	overlay.Heavy = true
	krusty := overlay
	krusty.Name += "-krusty"
	krusty.PeerName, krusty.Peer, krusty.Plain = "kustomize itself (krusty v0.21.2)", "kustomize/krusty", true
	unchanged := pair("unchanged") // is there anything to build? The peer builds
	unchanged.Heavy = true
	return []Pair{
		pair("small"),
		pair("overlay-20"),
		pair("parallel-2"), // as overlay-20, two at once
		pair("1000-plain"),
		overlay,
		krusty,
		unchanged,
	}
}

func helmIndexPairs() []Pair {
	return []Pair{{
		Name:     "helm/index-50mb",
		PeerName: "helm.sh/helm/v3 v3.22.0",
		Heavy:    true,
		Ours:     "helm/index/ours",
		Peer:     "helm/index/peer",
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

func eventPairs() []Pair {
	pair := func(name string) Pair {
		return Pair{Name: "events/" + name, PeerName: "github.com/fluxcd/pkg/runtime/events v0.110.3", Ours: "events/ours", Peer: "events/peer"}
	}
	refused := pair("emit-503")
	refused.Heavy = true
	return []Pair{pair("emit"), refused, pair("throughput")}
}

func artifactPairs() []Pair {
	pair := func(name, peer string) Pair {
		return Pair{Name: "artifact/" + name, PeerName: peer, Repo: "large", Ours: "artifact/ours", Peer: "artifact/peer"}
	}
	tar := pair("pack-large-vs-tar", "tar | gzip -1")
	tar.Peer, tar.Command = "artifact/command", true
	const both = "github.com/fluxcd/pkg/git v0.52.0 and github.com/fluxcd/pkg/artifact v0.20.0"
	return []Pair{
		pair("pack-large", "github.com/fluxcd/pkg/artifact v0.20.0"),
		tar,
		pair("git-cold", both),
		pair("git-warm", both),
	}
}

// The archive is of the repository's main branch, and goes to disk.
func artifactFetchPairs() []Pair {
	pair := Pair{Name: "artifact/fetch", PeerName: "github.com/fluxcd/pkg/http/fetch v0.25.0", Repo: "large", Ours: "artifact/fetch/ours", Peer: "artifact/fetch/peer"}
	command := pair
	command.Name, command.PeerName, command.Peer, command.Command = "artifact/fetch-vs-curl", "curl | tar -xz", "artifact/fetch/command", true
	return []Pair{pair, command}
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
