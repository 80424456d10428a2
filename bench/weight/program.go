package main

import (
	"fmt"
	"strings"
)

const (
	ourModule   = "github.com/gitopskit/gitopskit"
	benchModule = ourModule + "/bench"
)

// user is a program that uses one of our packages, and one that uses the peer's.
type user struct {
	name     string
	ours     program
	limit    float64 // MB; 0 is none
	peer     program
	peerName string
}

func (u user) exceeds(megabytes float64) bool { return u.limit > 0 && megabytes > u.limit }

func (u user) limitText() string {
	if u.limit == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MB", u.limit)
}

// program imports a package and keeps some of what it exports, with all that
// this reaches. The package is called p in uses.
type program struct {
	path    string
	uses    []string
	imports []string // what else uses mention
}

func (p program) source() string {
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n")
	fmt.Fprintf(&b, "\tp %q\n", p.path)
	for _, name := range p.imports {
		fmt.Fprintf(&b, "\t%q\n", name)
	}
	b.WriteString(")\n\nvar used = []any{\n")
	for _, use := range p.uses {
		fmt.Fprintf(&b, "\t%s,\n", use)
	}
	b.WriteString("}\n\nfunc main() {\n\tfor _, u := range used {\n\t\tprintln(u)\n\t}\n}\n")
	return b.String()
}

// users are all packages with their peers. A peer is what a team would import for
// the same purpose; gc and helm have none that can be imported.
func users() []user {
	ours := func(name string, uses ...string) program {
		return program{path: ourModule + "/" + name, uses: uses}
	}
	return []user{
		{
			name: "git", limit: 10,
			ours: ours("git", "p.Open", "p.ParseKeys", "p.ParseRevision", "(*p.Remote).Resolve", "(*p.Remote).Fetch", "(*p.Remote).Close",
				"(*p.Snapshot).Verify", "(*p.Snapshot).TreeHash", "(*p.Snapshot).ReadDir", "(*p.Snapshot).Sub", "(*p.Snapshot).ReadFile"),
			peer: program{
				path: "github.com/fluxcd/pkg/git/gogit", imports: []string{"github.com/fluxcd/pkg/git"},
				uses: []string{"p.NewClient", "(*p.Client).Clone", "(*p.Client).Close", "(*git.Commit).Verify", "(*git.Tag).Verify"},
			},
			peerName: "fluxcd/pkg/git/gogit",
		},
		{
			name: "artifact", limit: 4,
			ours: ours("artifact", "p.Pack", "p.Unpack", "p.Open", "p.NewStore", "(*p.Store).Pack", "(*p.Store).Open",
				"(*p.Store).Record", "(*p.Store).Check", "(*p.Store).Collect"),
			peer:     program{path: "github.com/fluxcd/pkg/tar", uses: []string{"p.Tar", "p.Untar"}},
			peerName: "fluxcd/pkg/tar (no store)",
		},
		{
			name: "kustomize", limit: 20,
			ours:     ours("kustomize", "p.Build"),
			peer:     program{path: "github.com/fluxcd/pkg/kustomize", uses: []string{"p.SecureBuild", "p.NewGenerator", "(*p.Generator).WriteFile", "p.SubstituteVariables"}},
			peerName: "fluxcd/pkg/kustomize",
		},
		{
			name:     "helm",
			ours:     ours("helm", "p.Load", "(*p.Chart).Render", "(*p.Chart).Dependencies"),
			peerName: "private to helm-controller",
		},
		{
			name: "ssa", limit: 16,
			ours: ours("ssa", "p.New", "(*p.Applier).Apply", "(*p.Applier).Targets", "(*p.Applier).Wait"),
			peer: program{
				path: "github.com/fluxcd/pkg/ssa",
				uses: []string{"p.NewResourceManager", "(*p.ResourceManager).ApplyAllStaged", "(*p.ResourceManager).DeleteAll", "(*p.ResourceManager).WaitForSet"},
			},
			peerName: "fluxcd/pkg/ssa",
		},
		{
			name: "gc", limit: 12,
			ours:     ours("gc", "p.NewConfigMapStore", "(*p.ClusterStore).Load", "(*p.ClusterStore).Save", "p.NewPruner", "(*p.Pruner).Prune", "p.Reconcile"),
			peerName: "private to kustomize-controller",
		},
		{
			name: "conditions", limit: 8,
			ours:     ours("conditions", "p.Get", "p.Set", "p.Summarize", "p.MarkReady", "p.MarkFalse", "p.MarkReconciling", "p.MarkStalled"),
			peer:     program{path: "github.com/fluxcd/pkg/runtime/conditions", uses: []string{"p.Get", "p.Set", "p.SetSummary", "p.SetMirror", "p.SetAggregate", "p.MarkTrue", "p.MarkReconciling", "p.MarkStalled"}},
			peerName: "fluxcd/pkg/runtime/conditions",
		},
		{
			name: "events", limit: 12,
			ours: ours("events", "p.New", "(*p.Recorder).Emit", "(*p.Recorder).Flush", "p.NewHTTPSink", "(*p.HTTPSink).Send",
				"p.NewKubernetesSink", "(*p.KubernetesSink).Send", "p.Decode"),
			peer:     program{path: "github.com/fluxcd/pkg/runtime/events", uses: []string{"p.NewRecorder", "(*p.Recorder).AnnotatedEventf"}},
			peerName: "fluxcd/pkg/runtime/events",
		},
	}
}
