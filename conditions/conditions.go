package conditions

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The condition types that kstatus gives a meaning to.
const (
	// Ready is the summary: the object is as its specification asks.
	Ready = "Ready"
	// Reconciling says that work towards the specification is under way. It
	// has negative polarity and is present only while it is True.
	Reconciling = "Reconciling"
	// Stalled says that work cannot go on before somebody changes something.
	// It has negative polarity and is present only while it is True.
	Stalled = "Stalled"
)

// Getter is an object that has conditions. Any API type that embeds
// [metav1.ObjectMeta] has GetGeneration already.
type Getter interface {
	// GetConditions returns the object's conditions. This package never writes
	// into the slice.
	GetConditions() []metav1.Condition
	// GetGeneration returns the generation of the specification at hand.
	GetGeneration() int64
}

// Setter is an object whose conditions can be replaced.
type Setter interface {
	Getter
	// SetConditions replaces the object's conditions. It is called only when
	// something changes, and with a slice that the object may keep.
	SetConditions([]metav1.Condition)
}

// Get returns a copy of the condition of the given type, or nil where the object
// has none.
func Get(from Getter, conditionType string) *metav1.Condition {
	found := from.GetConditions()
	i := index(found, conditionType)
	if i < 0 {
		return nil
	}
	c := found[i]
	return &c
}

// Has reports whether the object has a condition of the given type, whatever its
// status.
func Has(from Getter, conditionType string) bool {
	return index(from.GetConditions(), conditionType) >= 0
}

// IsTrue reports whether the condition is present and True. It does not look at
// the generation that the condition was observed at.
func IsTrue(from Getter, conditionType string) bool {
	return status(from, conditionType) == metav1.ConditionTrue
}

// IsFalse reports whether the condition is present and False. It does not look at
// the generation that the condition was observed at.
func IsFalse(from Getter, conditionType string) bool {
	return status(from, conditionType) == metav1.ConditionFalse
}

// IsUnknown reports whether the condition is Unknown or missing.
func IsUnknown(from Getter, conditionType string) bool {
	return status(from, conditionType) == metav1.ConditionUnknown
}

// Set writes a condition and reports whether that changed anything.
//
// The observed generation becomes the object's own. The last transition time of
// an existing condition stays where its status does; otherwise it is the one in c,
// or now where c has none. A zero now means [time.Now].
//
// Reason and message are brought within the bounds that the API server puts on
// them, see the package documentation. A status other than True and False becomes
// Unknown. The type is written as it is.
//
// [Reconciling] and [Stalled] are present only while they are True: setting one of
// them to True removes the other, and setting one to anything else removes it.
func Set(to Setter, c metav1.Condition, now time.Time) bool {
	if transient(c.Type) && c.Status != metav1.ConditionTrue {
		return Delete(to, c.Type)
	}
	before := to.GetConditions()
	after := put(before, complete(to, c, now))
	switch c.Type {
	case Reconciling:
		after = without(after, Stalled)
	case Stalled:
		after = without(after, Reconciling)
	}
	return replace(to, before, after)
}

// MarkTrue sets the condition to True. See [Set] for what the other arguments do.
func MarkTrue(to Setter, conditionType, reason, message string, now time.Time) bool {
	return Set(to, condition(conditionType, metav1.ConditionTrue, reason, message), now)
}

// MarkFalse sets the condition to False. See [Set] for what the other arguments do.
func MarkFalse(to Setter, conditionType, reason, message string, now time.Time) bool {
	return Set(to, condition(conditionType, metav1.ConditionFalse, reason, message), now)
}

// MarkUnknown sets the condition to Unknown. See [Set] for what the other
// arguments do.
func MarkUnknown(to Setter, conditionType, reason, message string, now time.Time) bool {
	return Set(to, condition(conditionType, metav1.ConditionUnknown, reason, message), now)
}

// Delete removes the conditions of the given types and reports whether there were
// any.
func Delete(to Setter, conditionTypes ...string) bool {
	before := to.GetConditions()
	return replace(to, before, without(before, conditionTypes...))
}

func condition(conditionType string, s metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: s, Reason: reason, Message: message}
}

func index(in []metav1.Condition, conditionType string) int {
	return slices.IndexFunc(in, func(c metav1.Condition) bool { return c.Type == conditionType })
}

func status(from Getter, conditionType string) metav1.ConditionStatus {
	c := Get(from, conditionType)
	if c == nil || (c.Status != metav1.ConditionTrue && c.Status != metav1.ConditionFalse) {
		return metav1.ConditionUnknown
	}
	return c.Status
}

// transient reports whether conditions of the type exist only while they are True.
func transient(conditionType string) bool {
	return conditionType == Reconciling || conditionType == Stalled
}

// complete returns c as it is to be stored on the object.
func complete(from Getter, c metav1.Condition, now time.Time) metav1.Condition {
	c = bound(c)
	c.ObservedGeneration = from.GetGeneration()
	if old := Get(from, c.Type); old != nil && old.Status == c.Status && !old.LastTransitionTime.IsZero() {
		c.LastTransitionTime = old.LastTransitionTime
		return c
	}
	if c.LastTransitionTime.IsZero() {
		if now.IsZero() {
			now = time.Now()
		}
		// The wire format has whole seconds. Keeping more in memory would make
		// an object differ from itself once it was read back.
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	}
	return c
}

// put returns a copy of in with c in the place of the first condition of its type,
// or at the end. The order of the others stays, so that a patch holds no more than
// what changed.
func put(in []metav1.Condition, c metav1.Condition) []metav1.Condition {
	i := index(in, c.Type)
	if i < 0 {
		return append(slices.Clone(in), c)
	}
	// A status with two conditions of one type is broken; the rest of them go.
	rest := without(in[i+1:], c.Type)
	return slices.Concat(in[:i], []metav1.Condition{c}, rest)
}

// without returns a copy of in that has none of the types.
func without(in []metav1.Condition, conditionTypes ...string) []metav1.Condition {
	return slices.DeleteFunc(slices.Clone(in), func(c metav1.Condition) bool {
		return slices.Contains(conditionTypes, c.Type)
	})
}

func replace(to Setter, before, after []metav1.Condition) bool {
	if slices.EqualFunc(before, after, equal) {
		return false
	}
	to.SetConditions(after)
	return true
}

func equal(a, b metav1.Condition) bool {
	at, bt := a.LastTransitionTime, b.LastTransitionTime
	a.LastTransitionTime, b.LastTransitionTime = metav1.Time{}, metav1.Time{}
	return a == b && at.Equal(&bt)
}
