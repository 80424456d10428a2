// Package adopt reads the inventories that other tools leave in a cluster, so that
// a set can change hands without its objects being deleted and made again.
//
//	inv, err := adopt.Flux(kustomization, adopt.Options{Lookup: lookup})
//	// look at err: an entry that was not understood is not in inv
//	_, err = store.Load(ctx)
//	err = store.Save(ctx, inv)
//
// [Flux] reads the status of a Kustomization or HelmRelease, [CLIUtils] the
// ConfigMap of kpt, and of other tools built on cli-utils, [ApplySet] the members
// of a parent object as kubectl apply --applyset labels them. Stop the other tool
// before, and do not let it prune: it would delete what it no longer owns.
//
// # Guarantees
//
// No object is taken for another. The ids of Flux and cli-utils write the colon in
// the names of roles and role bindings as two underscores, so "a__b" may be two
// objects: such an id is refused with an [AmbiguousError] that names them, or
// [Options].Choose tells which one is meant. Everything else is read as it was
// written. What cannot be read is named in an [Error], and the rest is returned.
//
// Nothing is deleted by being adopted. An entry of Flux or cli-utils has no UID, and
// gc.Pruner deletes nothing without the owner label of the set, which the next
// apply puts on the objects that the set still wants. Those that left it before are
// reported as gc.Foreign and stay.
//
// # Limits
//
// An id has at most 1,024 bytes, an inventory gc.MaxEntries entries. An ApplySet costs
// one list for each of its kinds and namespaces, at most 10,000.
//
// # Threat model
//
// Who may write the other tool's inventory can name any object in it. It is no
// proof of ownership, and is not taken for one: see above.
package adopt
