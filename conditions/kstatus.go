package conditions

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MarkReady says that the object is as its specification asks: [Ready] is True,
// [Reconciling] and [Stalled] are gone. It reports whether that changed anything.
func MarkReady(to Setter, reason, message string, now time.Time) bool {
	changed := MarkTrue(to, Ready, reason, message, now)
	return Delete(to, Reconciling, Stalled) || changed
}

// MarkReconciling says that work is under way: [Reconciling] is True and [Stalled]
// is gone. It reports whether that changed anything.
//
// [Ready] stays as it is while it speaks of the generation at hand, so that an
// object does not flap each time its controller looks at it. Where it is missing,
// or speaks of an earlier generation, it becomes Unknown with the same reason and
// message.
func MarkReconciling(to Setter, reason, message string, now time.Time) bool {
	changed := MarkTrue(to, Reconciling, reason, message, now)
	if ready := Get(to, Ready); ready == nil || outdated(to, *ready) {
		return MarkUnknown(to, Ready, reason, message, now) || changed
	}
	return changed
}

// MarkStalled says that work cannot go on before somebody changes something:
// [Stalled] is True, [Reconciling] is gone, and [Ready] is False with the same
// reason and message. It reports whether that changed anything.
func MarkStalled(to Setter, reason, message string, now time.Time) bool {
	changed := MarkTrue(to, Stalled, reason, message, now)
	return MarkFalse(to, Ready, reason, message, now) || changed
}

// outdated reports whether c was observed at an earlier generation than the
// object has. A condition that names no generation is taken at its word.
func outdated(from Getter, c metav1.Condition) bool {
	return c.ObservedGeneration != 0 && c.ObservedGeneration < from.GetGeneration()
}
