package conditions

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fault is something that is wrong with an object's conditions.
type Fault struct {
	Type    string // of the condition; empty if it is about several, or none
	Problem string
}

func (f Fault) String() string {
	if f.Type == "" {
		return f.Problem
	}
	return f.Type + ": " + f.Problem
}

// CheckOptions tell [Check] and [CheckChange] what to expect.
type CheckOptions struct {
	// Negative names the types that are bad news when they are True, and that this
	// controller keeps only while they are. [Reconciling] and [Stalled] always are.
	Negative []string
	// Known names all types that the object may have, beside [Ready], [Reconciling],
	// [Stalled] and the negative ones. Nil allows all.
	Known []string
	// Now is the time that no transition may lie after. Zero means [time.Now].
	Now time.Time
}

// Check tells a controller's author, in a test, what is wrong with the conditions
// of an object that was reconciled: where tools that follow kstatus would misread
// it, or the API server would refuse it. No faults means nothing was found.
//
//	require.Empty(t, conditions.Check(app, conditions.CheckOptions{}))
func Check(obj Getter, opts CheckOptions) []Fault {
	var faults []Fault
	add := func(conditionType, format string, args ...any) {
		faults = append(faults, Fault{Type: conditionType, Problem: fmt.Sprintf(format, args...)})
	}
	all := obj.GetConditions()
	for i, c := range all {
		if index(all, c.Type) != i {
			add(c.Type, "is there twice")
		}
		opts.checkFields(obj, c, add)
		opts.checkPolarity(c, add)
	}
	checkTogether(obj, add)
	return faults
}

type adder func(conditionType, format string, args ...any)

func (o CheckOptions) checkFields(obj Getter, c metav1.Condition, add adder) {
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	if b := bound(c); b.Status != c.Status {
		add(c.Type, "status %q is not True, False or Unknown", string(c.Status))
	} else if b.Reason != c.Reason {
		add(c.Type, "the API server refuses reason %q", c.Reason)
	} else if b.Message != c.Message {
		add(c.Type, "the message has %d bytes or is not UTF-8; the API server takes %d", len(c.Message), MaxMessage)
	}
	switch at := c.LastTransitionTime; {
	case at.IsZero():
		add(c.Type, "has no last transition time")
	case at.After(now.Add(time.Second)):
		add(c.Type, "its last transition lies in the future")
	}
	switch g := c.ObservedGeneration; {
	case g == 0 && obj.GetGeneration() > 0:
		add(c.Type, "has no observed generation")
	case g > obj.GetGeneration():
		add(c.Type, "was observed at generation %d, and the object has %d", g, obj.GetGeneration())
	}
}

func (o CheckOptions) checkPolarity(c metav1.Condition, add adder) {
	negative := transient(c.Type) || slices.Contains(o.Negative, c.Type)
	switch {
	case negative && c.Status != metav1.ConditionTrue:
		add(c.Type, "is %s: a condition of negative polarity is there only while it is True", c.Status)
	case !negative && c.Type != Ready && o.Known != nil && !slices.Contains(o.Known, c.Type):
		add(c.Type, "is not a type that this object should have")
	}
}

// checkTogether looks for what conditions must not say at once.
func checkTogether(obj Getter, add adder) {
	reconciling, stalled, ready := IsTrue(obj, Reconciling), IsTrue(obj, Stalled), Get(obj, Ready)
	switch {
	case reconciling && stalled:
		add("", "it is Reconciling and Stalled at once: work either goes on or does not")
	case ready == nil:
		add(Ready, "is missing: tools take an object without it for ready")
	case stalled && ready.Status != metav1.ConditionFalse:
		add(Ready, "is %s on an object that is Stalled", ready.Status)
	case !reconciling && !stalled && ready.Status == metav1.ConditionUnknown:
		add(Ready, "is Unknown, and the object is neither Reconciling nor Stalled: nobody would wait for it")
	case !reconciling && outdated(obj, *ready):
		add(Ready, "speaks of generation %d of %d, and the object is not Reconciling", ready.ObservedGeneration, obj.GetGeneration())
	}
	if o, ok := obj.(interface{ GetObservedGeneration() int64 }); ok {
		checkObserved(obj, o.GetObservedGeneration(), add)
	}
}

// checkObserved compares the status's own observed generation.
func checkObserved(obj Getter, observed int64, add adder) {
	switch {
	case observed > obj.GetGeneration():
		add("", "status.observedGeneration is %d, and the object has %d", observed, obj.GetGeneration())
	case observed != obj.GetGeneration() && IsTrue(obj, Ready) && !IsTrue(obj, Reconciling):
		add("", "it is Ready, and status.observedGeneration is %d of %d", observed, obj.GetGeneration())
	}
}

// CheckChange tells a controller's author, in a test, what is wrong with how one
// reconciliation changed the conditions: transition times that do not fit, and
// readiness that flaps without a reason.
func CheckChange(before, after Getter) []Fault {
	var faults []Fault
	add := func(conditionType, format string, args ...any) {
		faults = append(faults, Fault{Type: conditionType, Problem: fmt.Sprintf(format, args...)})
	}
	for _, c := range after.GetConditions() {
		old := Get(before, c.Type)
		if old == nil {
			continue
		}
		moved := !old.LastTransitionTime.Equal(&c.LastTransitionTime)
		switch {
		case moved && old.Status == c.Status:
			add(c.Type, "its last transition time changed, and its status did not")
		case !moved && old.Status != c.Status:
			add(c.Type, "its status changed, and its last transition time did not")
		case c.LastTransitionTime.Before(&old.LastTransitionTime):
			add(c.Type, "its last transition went back in time")
		}
		if c.ObservedGeneration < old.ObservedGeneration {
			add(c.Type, "its observed generation went back from %d to %d", old.ObservedGeneration, c.ObservedGeneration)
		}
	}
	was := Get(before, Ready)
	if was != nil && was.Status != metav1.ConditionUnknown && !outdated(after, *was) && IsUnknown(after, Ready) {
		add(Ready, "it was %s for the generation at hand, and is Unknown now: it flaps", was.Status)
	}
	return faults
}
