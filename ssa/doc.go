// Package ssa makes a cluster match a set of objects by server-side apply, and
// says what it did.
//
// An [Applier] belongs to one cluster and one identity, and is kept. Its Apply
// takes the objects and the inventory of the last time, and returns what became
// of each object and the inventory for the next time. Its Wait returns when the
// objects are healthy.
//
//	applier, err := ssa.New(cfg, ssa.Options{Manager: "shop-controller"})
//	res, err := applier.Apply(ctx, objects, ssa.ApplyOptions{Owner: "shop", Previous: inventory})
//	for _, change := range res.Changes {
//		fmt.Println(change.Key, change.Action, change.Drift, change.Err)
//	}
//	health, err := applier.Wait(ctx, res.Entries, ssa.WaitOptions{Owner: "shop"})
//
// What is to be removed, and where the inventory is kept between two runs, is the
// business of package gc, whose Reconcile puts all of it in the right order.
// [Applier.Plan] tells what an Apply would do, for people and for programs.
//
// # What an object may ask for
//
// By default an object is overridden: fields are taken over from other managers,
// and what kubectl apply and Options.Migrate wrote before is made the set's own, so
// that what the set does not name vanishes. The annotation [PolicyAnnotation] asks
// for something else: merge, if-not-present, ignore or recreate. Flux's annotations
// ssa, force and reconcile are understood as well, as labels too. One that says
// ignore on the object in the cluster keeps Apply's hands off it, and nothing is
// written. Merge, if-not-present and recreate count on the set's object alone.
//
// [ConflictAnnotation] says what is done about fields that others own with other
// values: take them over, report them, or leave them. ApplyOptions.Ignore takes
// fields out of the apply of objects that a rule selects.
//
// [DependsAnnotation] names objects of the set that must be there before. One that
// is not in the set is an error, because nothing would ever start the object. Being
// applied is enough, unless ApplyOptions.WaitForDependencies asks for health too.
//
// # Guarantees
//
// A reconcile costs what changed. Objects that nobody touched since the inventory
// was taken cost one metadata list for each of their types in each namespace, and
// no request each; an identity that may not list pays one small read per object,
// and Result.Notes says so. The definitions of a set's custom resources, if it does
// not bring them itself, cost one small request for all. Where [Applier.Watch] runs
// none of this costs anything.
// An object that is new or has changed in the set costs one request. One that
// somebody else changed costs two: a look at what they did, and the correction. One
// that exists and is not in the inventory costs three, once, because it may ask to
// be left alone; where 50 or more of a type are not there, one list spares that.
//
// An outside change is seen by the object's own bookkeeping: an equal
// resourceVersion proves that nothing was written. Otherwise, for kinds whose
// metadata.generation counts their changes, generation, our entry in
// metadata.managedFields and the labels and annotations that we own tell a change
// of ours from a status update; every other object is sent to the server, which
// knows best. Custom resources are asked for as well when their definition has
// changed since they were applied: it may have taken fields from them, or given them
// new ones, without a write. An identical apply writes nothing: objects are brought
// into a normal form first. Where a predecessor's fields are to become ours, that
// costs two requests more, once.
//
// The whole truth comes back. Whatever ends an Apply (an object that is refused, a
// context that ends, a server that goes away), the result holds what happened to
// every object, and an inventory that has forgotten none. One object's failure
// stops only those that need it.
//
// Each object starts when its own needs are there: its namespace, its definition,
// the role that it binds, what it says it depends on. Webhook configurations come
// last. A definition and its custom resources can be in one set; a custom resource
// whose definition is made by a controller of the set depends on that controller,
// and is waited for up to 30 seconds; one whose definition the server does not
// accept is a [DefinitionError] within two. A cycle is an error that names it.
//
// Drift is reported with field, old and new value, and the manager who wrote it.
// Values of Secrets are in no result and in no error, nor in any error that it
// wraps. Nothing is logged.
//
// Apply deletes an object for one reason alone: its policy is recreate, and the
// server says of nothing but fields that they cannot be changed. It then deletes
// the very object that it looked at, waits until that is gone, and makes it again.
// A plain validation error never deletes, nor does one among others. Namespaces and
// definitions, and objects of other sets, are never recreated.
//
// A server in short trouble (429, 5xx) is asked again three times. When 16 objects
// one after the other meet it in trouble, the rest is put off. What the server says
// about an object itself, or about a webhook, is not asked for again.
//
// A Plan writes nothing. It shows no value of a Secret, and no annotation that
// quotes an object; what it prints cannot steer a terminal.
//
// # Limits
//
// Metadata cannot show everything. Not seen, until the object is changed or every
// one is asked for: a value that others put under a map that we own as empty; what a
// lossy conversion between two versions of a custom resource destroyed; and what a
// changed definition does to its objects, where the identity may not read
// definitions, which Result.Notes tells. So Apply asks for every object of a set
// about once an hour (Options.FullInterval), at two requests each. When is kept in the
// inventory: a restart does not check everything at once, and a program that applies
// once and ends, such as a CronJob, checks as often as one that stays, if it stores
// what Apply returns. Without an inventory every object is asked for in any case.
//
// What a watch reports comes some milliseconds late, so an Apply may miss what
// others did just before it; the next one sees it, as does WatchOptions.OnChange.
// What this Applier wrote itself is never late. A watch that was silent for three
// minutes is not believed, which bounds the delay when a connection dies without a
// sound; servers give a sign of life every minute. A watch costs about 400 bytes
// for each object, whatever its size. One more follows the definitions of the
// cluster, for all sets that have custom resources.
//
// The server compresses long lists. Where the network is fast, that takes longer than
// it saves: DisableCompression of rest.Config makes them a third shorter in time.
//
// An Apply takes about 700 bytes for each object beside the objects themselves and
// the inventory, and what is sent for those in flight. The objects must not be
// changed before it returns.
//
// Quantities are sent as they are written. Where another manager applies the same
// object as well, a spelling that the server changes (1000m for 1) makes each
// apply that is sent a write.
//
// Two appliers with one field manager on one object do not see each other's
// changes of the same second. Give each its own Manager. Where an object passes
// from one Manager to another, both own its fields from then on, and those that the
// new set does not name stay: name the old one in Options.Migrate to take them over.
//
// Wait keeps one watch for each type and namespace, no goroutine and no request
// for an object, for 5 minutes unless told otherwise. It survives an API server
// that is away for up to 15 seconds, and watches that expire. What an object's
// health is, kstatus says, or checks of your own, in Go or in CEL (package
// ssa/celhealth). Two things differ from kstatus: a Job is ready when it is
// complete, and custom resources that tell nothing may be waited for. A finished
// Job that vanishes counts if the wait saw its end; one that was gone before counts
// with WaitOptions.GoneJobs.
//
// ApplyOptions.Validate is off by default. A dry run costs the server nearly what
// the apply costs (a set of 1,000 new objects took 2.9 s with it and 1.7 s without);
// it cannot judge what needs namespaces, definitions or webhooks of the same set;
// and an Apply that fails in the middle loses nothing: the rest of the set is
// applied, and the next Apply sends what failed. Switch it on where half a change
// is worse than none.
//
// An object of a type that the set's own controllers have yet to define is not
// among Targets. Killed just after it was applied for the first time, the inventory
// learns of it with the next Apply of the set.
//
// A Plan foresees what one apply does. It tells by its own reckoning what a
// migration removes. Of an object that would be recreated it asks whether it could
// be deleted, and takes for granted that the new one would be accepted.
//
// # Threat model
//
// The objects of a set come from outside. They cannot make Apply touch or delete an
// object that they do not name, or put another set's owner label on an object: the
// label is Apply's own. They can ask for themselves to be recreated; an object that
// exists and belongs to no set, or to the same one, is deleted then. What they may
// ask for is bounded: 100 dependencies each, 100 ignore rules of 100 pointers of
// 1 KiB, 1,000 fields and 2,000 lines of a diff for each object, 16 MiB of a plan. Definitions in a set cannot change how the
// types of Kubernetes itself are addressed or ordered. What they may create is up
// to the rights of the identity in the rest.Config; give it no more than the set
// needs. The API server is trusted.
//
// [Clients] makes appliers that act as a set's own service account or user, on one
// pool of connections and one knowledge of types. An identity that the server would
// take for nobody, and so for the program itself, is an error before any request.
// [ConfigFromKubeconfig] reads a kubeconfig that comes from outside: what would run
// a program, read a file, skip the check of the server or take a detour is refused
// unless allowed, one by one.
package ssa
