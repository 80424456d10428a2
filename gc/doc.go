// Package gc remembers what was applied to a cluster and removes what is no
// longer wanted, and nothing else.
//
// An [Inventory] is a set of [Entry] values, one for each object. A [Store]
// keeps it: [ConfigMapStore] in the cluster, [MemoryStore] in memory. [Reconcile]
// puts saving, applying and pruning in the one order that loses nothing when it
// is interrupted, for any applier. A [Pruner] deletes what left the set.
//
//	store, err := gc.NewConfigMapStore(cfg, "team", "shop-inventory", gc.StoreOptions{})
//	pruner, err := gc.NewPruner(cfg)
//	report, err := gc.Reconcile(ctx, store, gc.Steps{
//		Targets: targets, // ssa.Applier.Targets names them
//		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
//			res, err := applier.Apply(ctx, objects, ssa.ApplyOptions{Owner: "shop", Previous: previous})
//			return res.Entries, err
//		},
//		Prune: func(ctx context.Context, gone gc.Inventory) (gc.PruneResult, error) {
//			return pruner.Prune(ctx, gone, gc.PruneOptions{Owner: "shop"})
//		},
//	})
//
// # Guarantees
//
// Nothing that was applied is forgotten: an object is on record before the
// request that may create it, and leaves the record only after it was seen to be
// gone, or was left alone on purpose. Reconcile may be killed at any point.
//
// Nothing is pruned after an apply that failed, even in part.
//
// Nothing is deleted that is not ours: an object must carry [OwnerLabel] with the
// set's value, on the very version that is deleted, and have the UID that was
// recorded (none was if the answer to its first apply was lost). If it changes
// between the look and the delete, it is looked at again.
// Two objects are never taken for one another: a [Key] is compared field by field
// and has no text form that is parsed back.
//
// Nothing goes along with what is deleted: a namespace or resource definition
// stays as long as an object that the set wants, or that stays for any other
// reason known to the inventory, would be deleted with it. An object that the set
// now names in another API group is not deleted under the old name.
//
// Pruning needs get, delete and (for objects that finalizers hold) watch on the
// types in the inventory. It needs no list, no cluster role, and no discovery
// unless a type is no longer served.
//
// # Limits
//
// A ConfigMapStore holds about ten thousand entries: [MaxStoredBytes] after
// compression; beyond it Save fails with [ErrTooLarge] and the stored inventory
// stands. What is read back may inflate to 64 MiB. Prune waits two minutes for
// each object, eight at a time, unless told otherwise.
//
// Objects whose type the server does not know any more, in any version, count as
// gone: they went with their definition. Where an extension API server was
// unregistered and keeps its objects, they are forgotten.
//
// An object whose owner label somebody removed is reported as [Foreign] and left
// in the cluster, as is one that somebody deleted and made again.
//
// # Threat model
//
// Who may write the inventory's ConfigMap can make Prune look at other objects of
// types that the identity may delete, but not delete one without the owner label
// of the set. A damaged or hostile inventory ends in a [DamagedError] within
// bounded memory, and nothing is deleted. The inventory holds names, UIDs and
// digests, no content of any object. A digest lets a reader confirm a guess of
// the whole object, though: give nobody the right to read the inventory who must
// not test guesses of weak passwords in the set's Secrets.
package gc
