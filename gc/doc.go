// Package gc remembers what was applied to a cluster and removes what is no
// longer wanted, and nothing else.
//
// An [Inventory] is a set of [Entry] values, one for each object. A [Store]
// keeps it: [ClusterStore] in ConfigMaps or Secrets, [MemoryStore] in memory, and
// gctest.TestStore holds one of your own to the interface. [Reconcile] puts saving,
// applying and pruning in the one order that loses nothing when it is interrupted,
// for any applier. A [Pruner] deletes what left the set. Package adopt reads the
// inventories of other tools.
//
//	store, err := gc.NewConfigMapStore(cfg, "team", "shop-inventory", gc.StoreOptions{})
//	pruner, err := gc.NewPruner(cfg)
//	report, err := gc.Reconcile(ctx, store, gc.Steps{
//		Targets: targets, // ssa.Applier.Targets names them
//		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
//			res, err := applier.Apply(ctx, objects, ssa.ApplyOptions{Owner: "shop", Previous: previous})
//			return res.Entries, err
//		},
//		Pruner:       pruner,
//		PruneOptions: gc.PruneOptions{Owner: "shop"},
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
// recorded. Where the answer to an apply was lost, so that none or an older one is
// on record, it is ours if the field manager of the set applied it, as the server
// recorded (see PruneOptions.Manager). If it changes between the look and the
// delete, it is looked at again.
// Two objects are never taken for one another: a [Key] is compared field by field
// and has no text form that is parsed back.
//
// Nothing goes along with what is deleted: a namespace or resource definition
// stays as long as an object that the set wants, or that stays for any other
// reason known to the inventory, would be deleted with it. An object that the set
// now names in another API group is not deleted under the old name.
//
// Pruning needs get and delete on the types in the inventory, and patch to hand
// objects over. With watch it sees at once when an object that finalizers hold is
// gone; without, it asks every two seconds. With list it sends one request for each
// object that goes, and a list for each type and namespace in which ten or more do;
// without, or where others have far more objects there, two. It needs no cluster
// role, and no discovery unless a type is no longer served.
//
// # The guard
//
// A render that came out empty, a path that moved, a name prefix that changed:
// before the first delete, [Guard] looks at what would go in all. It asks for a
// confirmation when nothing would be left of the set; when more than 50 objects
// would go and they are more than half of the set; and for each object whose
// deletion destroys what no apply brings back, see [ProtectedKinds], or that asks for
// it in Argo CD's words:
//
//	argocd.argoproj.io/sync-options: Prune=confirm
//
// Neither a team that renames some objects nor one that removes a service of a set
// meets it. Each object is measured by the set that it left, also when the Prune is
// tried again and what took its place has joined the set since.
//
// Then nothing is deleted, everything stays on record, and the [GuardError] says
// what would go and how to confirm it. A confirmation holds for exactly these
// objects, by UID: one that is kept or comes back confirms nothing else. If some
// deletions fail after it was given, those that are left may need another.
//
// # How objects are deleted
//
// Dependents of an object (the Pods of a ReplicaSet) are deleted in the background,
// or as PruneOptions.Propagation and the object's own annotation say:
//
//	gitopskit.dev/propagation: background | foreground | orphan
//	config.kubernetes.io/depends-on: apps/namespaces/shop/Deployment/db   (goes before it)
//
// Webhooks go first and namespaces, API services and definitions last; see
// [Pruner.Prune]. An object that finalizers hold takes no place from others. When
// the time is up, a [BlockedError] names the finalizers, and of a namespace or a
// definition what it says of what is left in it. Whatever was refused, by a webhook
// or for want of a right, stays on record with the reason and is tried again with
// the next Prune. Where one object fails because of another, the cause is named
// first.
//
// An object that leaves the set is kept if its metadata says so, in our words or in
// those that it may already carry (upper and lower case alike; the Flux ones as
// labels too):
//
//	gitopskit.dev/prune: disabled
//	kustomize.toolkit.fluxcd.io/prune: disabled
//	kustomize.toolkit.fluxcd.io/reconcile: disabled
//	kustomize.toolkit.fluxcd.io/ssa: ignore
//	client.lifecycle.config.k8s.io/deletion: detach
//	cli-utils.sigs.k8s.io/on-remove: keep
//	argocd.argoproj.io/sync-options: Prune=false   (one of several options)
//	helm.sh/resource-policy: keep
//
// It is reported as [Orphaned], with the reason, and leaves the record. It keeps the
// owner label: a set that names it again takes it up again.
//
// Where an applier watches the set and calls a controller when something changes, as
// ssa's WatchOptions.OnChange, it also tells of objects on their way out: that a
// finalizer is gone is of use to the next run. A run that finds nothing to do changes
// nothing, and wakes nobody.
//
// # Moving objects to another set
//
// If the new set applies an object before the old one drops it, there is nothing to
// do: it carries the new owner's label, is [Foreign] to the old set and leaves its
// record. In the opposite order, tell the old set: by PruneOptions.Elsewhere, which
// gives the object to the new set where Prune would delete it, or by
// [Pruner.Release] beforehand. There is no moment at which it is deleted. Fields
// that the old set's field manager applied stay with that manager, unless both have
// the same or the new one takes them over.
//
// An inventory is saved all or nothing, whatever its size and wherever the process
// is killed, and of several that save at once one wins: see [ClusterStore] for how.
//
// # ConfigMaps or Secrets
//
// Both hold the same, in the same sizes. Take ConfigMaps ([NewConfigMapStore])
// unless somebody may read ConfigMaps of the namespace who must not know the names
// of the set's objects or test guesses of its contents (see the threat model): many
// roles for people allow just that, among them the built-in view, which leaves
// Secrets out. A cluster that encrypts its Secrets encrypts the inventory with them.
// Secrets ([NewSecretStore]) need an identity that may get Secrets, though, and a
// role cannot name the shards of an inventory that grows: then give it a namespace
// of its own.
//
// # Sizes
//
// An entry takes about 52 bytes, 69 on the wire; UIDs and digests do not compress.
// Up to 2,000 entries are in one object of 104 kB, or of 300 KiB at most. Beyond, shards of 250 to 2,000
// entries (13 to 104 kB; 1,000 when they are new) lie beside the index, which takes
// 75 bytes for each. Up to 1,000 entries that changed since are kept in the index. So
// saving a change is one request of 2 to 80 kB. When there are more, the shards that
// they belong to are written anew: a create and a delete for each, and two writes of
// the index. A shard that grows beyond 2,000 entries is split, one that
// changes and has fewer than 250 joins its neighbour; no other shard is touched.
//
// 100,000 entries: 100 shards, 5.2 MB. A process that has just started loads them,
// compares them and saves a change in 0.3 s, with 102 requests. The entries take 27 MB
// of memory, and the store keeps the shards as they are stored, in 5 MB, so that the
// next round needs two requests. In all such a process has about 120 MiB at most.
//
// # Limits
//
// A ClusterStore holds [MaxEntries] entries in 2,000 shards, of at most
// [MaxStoredBytes] after compression and 8 MiB before, and 256 MiB in all; beyond it
// Save fails with [ErrTooLarge] and the stored inventory stands. Load refuses what
// claims to be larger before it reads it, and makes room for what is claimed: for
// 500,000 entries 88 MB. Prune waits two minutes for each object,
// eight at a time, unless told otherwise.
//
// A process that dies while it saves may leave shards that count for nothing. A
// later save that writes shards deletes them.
//
// Objects whose type the server does not know any more, in any version, count as
// gone: they went with their definition. Where an extension API server was
// unregistered and keeps its objects, they are forgotten.
//
// An object whose owner label somebody removed is reported as [Foreign] and left
// in the cluster, as is one that somebody else deleted and made again.
//
// An object on record without a UID is ours by its label alone where
// PruneOptions.Manager is empty: set it to the applier's field manager. Edges
// between objects count while both are being pruned; that an object which stays in
// the set depends on one that goes, nobody notices here.
//
// A request is sent up to four times to a server in trouble, over two seconds, or
// when the server says, within a minute. When none answers any more, the Prune
// ends. An annotation counts up to 1,000 dependencies, an error names up to 20
// finalizers, and a [GuardError] up to 100 objects. Ten or more objects of one type
// and namespace that finalizers hold share a list and a watch; of others at most 100
// are watched at a time. A list is left as soon as it holds 50 objects for each that
// is looked for.
//
// # Threat model
//
// Who may write the inventory's objects can make Prune look at other objects of
// types that the identity may delete, but not delete one without the owner label
// of the set, and make Save delete objects of the store's own kind, namespace and
// annotation. A damaged or hostile inventory ends in a [DamagedError] within bounded
// memory, and nothing is deleted; a shard that is missing or is not, byte for byte,
// what the index says is damage. Who may write the index can forget entries,
// which are then no longer pruned. The inventory holds names, UIDs and digests, no
// content of any object. A digest lets a reader confirm a guess of
// the whole object, though: give nobody the right to read the inventory who must
// not test guesses of weak passwords in the set's Secrets.
package gc
