// Package gitopskit is a tour: it holds no code. The module is a set of GitOps
// building blocks, eight packages that together carry a change from a Git commit
// to a healthy cluster, and that are each useful alone.
//
//	remote ──git──▶ fs.FS ──artifact──▶ fs.FS ──kustomize / helm──▶ objects ──ssa──▶ cluster
//	                                                                   │         │
//	                                                                   └── gc ◀──┘
//	                                            conditions, events ◀── results and errors
//
// Every seam is a standard type: a source tree is an [io/fs.FS], a rendered set is
// a slice of *unstructured.Unstructured, a revision is a string. Any step can be
// left out, or replaced by code of your own.
//
// # From a reference to a tree
//
// Package git resolves a branch, tag, SemVer range or commit by one request, fetches
// what of it is new without a checkout, and verifies OpenPGP and SSH signatures over
// the raw objects. What it returns is a file system.
//
//	remote, err := git.Open("https://example.com/shop.git", git.Options{})
//	rev, err := remote.Resolve(ctx, git.Ref{SemVer: ">=1.0.0 <2.0.0"})
//	snap, err := remote.Fetch(ctx, rev, git.FetchOptions{})
//	keys, err := git.ParseKeys(maintainers)
//	who, err := snap.Verify(keys, git.ModeTagAndHead)
//
// Package artifact packs a tree into an archive that is the same to the last bit on
// every machine, keeps it under its digest, and reads it back as a file system.
//
//	store, err := artifact.NewStore("/var/lib/artifacts", artifact.StoreOptions{})
//	sum, err := store.Pack(ctx, snap, artifact.PackOptions{})
//	tree, err := store.Open(ctx, sum.Digest)
//
// # From a tree to objects
//
// Package kustomize builds a directory of a tree without network, processes or a
// look outside the tree, many builds at once. Package helm renders a chart of the
// tree without a cluster.
//
//	built, err := kustomize.Build(ctx, tree, "deploy/production", kustomize.Options{})
//	chart, err := helm.Load(ctx, tree, "chart", helm.LoadOptions{})
//	rendered, err := chart.Render(ctx, helm.RenderOptions{ReleaseName: "shop", Namespace: "shop"})
//	objects := append(built.Objects, rendered.Objects...)
//
// # From objects to a cluster
//
// Package ssa applies a set at the cost of what changed, reports what became of
// every object and what others had done to it, and waits until all is healthy.
// Package gc keeps the inventory of what was applied and removes what left the set.
// Its Reconcile puts the parts in the order that loses nothing when it is interrupted.
//
//	opts := ssa.ApplyOptions{Owner: "shop", Namespace: "shop"}
//	targets, err := applier.Targets(ctx, objects, opts)
//	report, err := gc.Reconcile(ctx, inventory, gc.Steps{
//		Targets: targets,
//		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
//			opts.Previous = previous
//			res, err := applier.Apply(ctx, objects, opts)
//			return res.Entries, err
//		},
//		Pruner:       pruner,
//		PruneOptions: gc.PruneOptions{Owner: "shop"},
//	})
//	health, err := applier.Wait(ctx, report.Inventory, ssa.WaitOptions{Owner: "shop"})
//
// # What people and machines hear of it
//
// Package conditions writes a status that kstatus and kubectl understand. Package
// events tells webhooks and the Kubernetes API what happened, without ever making
// the reconcile wait.
//
// # Rules that hold everywhere
//
// Library packages have no global state, start no process, read no environment, log
// nothing and do not panic. Contexts come first, an options struct whose zero value is
// usable comes last. What is expensive (git.Remote, artifact.Store, ssa.Applier,
// gc.Pruner, events.Recorder) is made once and is safe for concurrent use; what is per
// call is an argument. Errors say what failed, on which object, and what to do; one
// with a method Terminal() bool that returns true is not cured by trying again. Whatever
// an outsider controls is bounded by default.
//
// The road in one file is examples/quickstart/road.go, and `make demo` walks it.
package gitopskit
