// Package fluxssa is the engine of github.com/fluxcd/pkg/ssa behind the methods of
// [ssa.Applier], so that a team that has a ResourceManager can move to package ssa
// one call at a time, and back.
//
// An [Engine] is what both have: Targets, Apply and Wait. Code that is written for
// it is moved by the line that makes the engine:
//
//	var engine fluxssa.Engine = fluxssa.New(manager, fluxssa.Options{})
//	// later: ssa.New(cfg, ssa.Options{Manager: "kustomize-controller"})
//
//	targets, err := engine.Targets(ctx, objects, opts)
//	report, err := gc.Reconcile(ctx, store, gc.Steps{
//		Targets: targets,
//		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
//			opts.Previous = previous
//			res, err := engine.Apply(ctx, objects, opts)
//			return res.Entries, err
//		},
//		Prune: prune,
//	})
//	health, err := engine.Wait(ctx, report.Inventory, ssa.WaitOptions{Owner: opts.Owner})
//
// Code that stays with the ResourceManager's own methods can have the results that
// gc and ssa want, from [Result] and [Inventory], and give theirs back with
// [ObjMetadataSet].
//
// To take over what Flux's controllers applied, give [ssa.Options] the name of
// their field manager: then a field that leaves the manifests leaves the object
// too. Under another name the old one keeps what it owned.
//
// It is a module of its own:
//
//	go get github.com/gitopskit/gitopskit/ssa/fluxssa
//
// # Guarantees
//
// Both engines make the same objects of the same manifests, gc's owner label
// included, and inventories of the same keys. Nothing is deleted by a change of
// engine: what one applied, the other finds and updates in place. Flux's
// annotations mean the same to both, but for ssa: Merge.
//
// What package ssa can do and the engine cannot is refused, not left out: the
// options Policy, Conflicts, Validate, WaitForDependencies and Ignore of an Apply,
// Checks, GoneJobs and Undecided of a Wait, and objects that ask for it by
// [ssa.PolicyAnnotation] or [ssa.ConflictAnnotation].
//
// The objects that are given are not modified, other than by the ResourceManager
// itself. Whatever ends an Apply, the inventory has forgotten none of the objects
// that may have been applied. Nothing that the engine says about a Secret is in an
// error.
//
// # Limits
//
// What the engine below does not tell cannot be told. Inventories have no UIDs, no
// versions and no digests, so the first Apply of an [ssa.Applier] that follows
// sends every object, and until then gc.Pruner goes by the owner label alone. A
// Result has no drift and no warnings, and its errors do not tell whether they are
// terminal. Where an Apply fails, the engine does not
// say what it did with the objects of that stage: the one that it names is Failed,
// and the others are Skipped with [ErrUntold], and stay in the inventory.
//
// The engine orders objects by their kinds, in stages. [ssa.DependsAnnotation] does
// not change that, and a wait for the first stage is part of an Apply. What kubectl
// or another controller applied before is made the set's own only as
// Options.Apply.Cleanup says.
//
// Previous spares no requests: the engine asks the server about every object. A
// wait polls, every five seconds unless Options say otherwise. ApplyOptions.Full
// changes nothing. Objects that the engine leaves alone because of a selector in
// Options are Skipped without an error, and are in the inventory, since they exist.
//
// # Why it is a module of its own
//
// github.com/fluxcd/pkg/ssa needs 25 modules that the library does not, among them
// controller-runtime and kubectl. In the library's own go.mod they would raise what
// everybody who imports any of its packages builds with, whether they use this
// bridge or not.
//
// # Threat model
//
// That of github.com/fluxcd/pkg/ssa: the objects of a set come from outside, and
// what they may do is up to the rights of the ResourceManager's client.
package fluxssa
