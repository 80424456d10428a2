// Package conditions reads and writes the status conditions of an object so that
// people, kubectl and kstatus understand them.
//
// An object takes part with three methods, of which [metav1.ObjectMeta] brings one:
//
//	func (o *App) GetConditions() []metav1.Condition  { return o.Status.Conditions }
//	func (o *App) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
//
// The shortest complete use, in a reconciler:
//
//	now := time.Now()
//	conditions.MarkReconciling(app, "Progressing", "applying "+revision, now)
//	if err := apply(ctx, app); err != nil {
//		conditions.MarkFalse(app, conditions.Ready, "ApplyFailed", err.Error(), now)
//		return err // Reconciling stays: it will be tried again
//	}
//	conditions.MarkReady(app, "Succeeded", "applied "+revision, now)
//
// # Guarantees
//
//   - A condition that is missing is Unknown.
//   - A last transition time changes only when the status does. Time comes from the
//     caller, in whole seconds as the wire format has them.
//   - The observed generation of what is written is the object's own.
//   - Reconciling and Stalled exist only while they are True, and never both.
//   - Ready does not flap: marking an object as reconciling leaves Ready alone while
//     it speaks of the generation at hand.
//   - The order of conditions stays, new ones come last, and a slice that
//     GetConditions returned is never written to, so an object from a shared cache
//     may be read through it.
//   - A summary depends on the conditions and the options alone: see [Summarize] for
//     the merge order. So do [Mirror] and [Aggregate], for conditions of other
//     objects.
//   - A [Patcher] writes what changed in one request for the status, one more where
//     metadata or spec changed, and none where nothing did. Conditions, finalizers and
//     owners that others wrote in the meantime stay; so does what one of them wrote
//     into a condition that this controller changed too, unless it owns that one.
//   - [Check] and [CheckChange] find, in a controller's tests, what tools that follow
//     kstatus would misread.
//
// # Limits
//
// Reasons are at most 1024 bytes and match what the API server takes: a character
// that does not belong becomes an underscore, what cannot stand first or last goes,
// and an empty reason becomes "Unspecified". Messages are at most 32768 bytes of
// valid UTF-8; a longer one loses its end, at a rune, and says " [truncated]". Types
// are constants of the program and written as they are.
//
// Functions that write are not safe for use on one object from several goroutines.
//
// A [Patcher] expects conditions at .status.conditions, and the status behind a
// subresource. It tries five times by default where others write in between. Lists
// other than conditions, finalizers and owners are replaced as a whole.
//
// # Threat model
//
// Messages often hold what an outsider wrote: an error of a server, the name of a
// file. Such text can neither make a status so large or malformed that the API server
// refuses it, nor cost more than a pass over it. What a message says is up to the
// caller: this package does not know a secret when it sees one.
package conditions
