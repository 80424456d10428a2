package conditions_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// observing is an object with an observed generation of its own.
type observing struct {
	*object
	observed int64
}

func (o observing) GetObservedGeneration() int64 { return o.observed }

func TestCheck(t *testing.T) {
	with := func(change func(*metav1.Condition)) metav1.Condition {
		c := cond("Ready", metav1.ConditionTrue, 2)
		change(&c)
		return c
	}
	ready, stalled := cond("Ready", metav1.ConditionTrue, 2), cond("Stalled", metav1.ConditionTrue, 2)
	notReady, reconciling := cond("Ready", metav1.ConditionFalse, 2), cond("Reconciling", metav1.ConditionTrue, 2)
	unknown := cond("Ready", metav1.ConditionUnknown, 2)
	for name, test := range map[string]struct {
		obj  conditions.Getter
		opts conditions.CheckOptions
		want []string
	}{
		"ready":             {obj: newObject(2, ready)},
		"stalled":           {obj: newObject(2, notReady, stalled)},
		"at work":           {obj: newObject(2, unknown, reconciling)},
		"at work, outdated": {obj: newObject(2, cond("Ready", metav1.ConditionTrue, 1), reconciling)},
		"failed for now":    {obj: newObject(2, notReady)},

		"nothing":           {obj: newObject(2), want: []string{"Ready: is missing: tools take an object without it for ready"}},
		"twice":             {obj: newObject(2, ready, ready), want: []string{"Ready: is there twice"}},
		"both":              {obj: newObject(2, notReady, reconciling, stalled), want: []string{"it is Reconciling and Stalled at once: work either goes on or does not"}},
		"stalled and ready": {obj: newObject(2, ready, stalled), want: []string{"Ready: is True on an object that is Stalled"}},
		"nobody waits":      {obj: newObject(2, unknown), want: []string{"Ready: is Unknown, and the object is neither Reconciling nor Stalled: nobody would wait for it"}},
		"outdated":          {obj: newObject(3, ready), want: []string{"Ready: speaks of generation 2 of 3, and the object is not Reconciling"}},
		"not over": {
			obj:  newObject(2, ready, cond("Reconciling", metav1.ConditionFalse, 2)),
			want: []string{"Reconciling: is False: a condition of negative polarity is there only while it is True"},
		},
		"negative": {
			obj: newObject(2, ready, cond("FetchFailed", metav1.ConditionUnknown, 2)), opts: conditions.CheckOptions{Negative: []string{"FetchFailed"}},
			want: []string{"FetchFailed: is Unknown: a condition of negative polarity is there only while it is True"},
		},
		"not known": {
			obj: newObject(2, ready, cond("Redy", metav1.ConditionTrue, 2)), opts: conditions.CheckOptions{Known: []string{"Built"}},
			want: []string{"Redy: is not a type that this object should have"},
		},
		"status":      {obj: newObject(2, with(func(c *metav1.Condition) { c.Status = "Maybe" })), want: []string{`Ready: status "Maybe" is not True, False or Unknown`}},
		"reason":      {obj: newObject(2, with(func(c *metav1.Condition) { c.Reason = "two words" })), want: []string{`Ready: the API server refuses reason "two words"`}},
		"message":     {obj: newObject(2, with(func(c *metav1.Condition) { c.Message = strings.Repeat("x", 32769) })), want: []string{"Ready: the message has 32769 bytes or is not UTF-8; the API server takes 32768"}},
		"no time":     {obj: newObject(2, with(func(c *metav1.Condition) { c.LastTransitionTime = metav1.Time{} })), want: []string{"Ready: has no last transition time"}},
		"future":      {obj: newObject(2, ready), opts: conditions.CheckOptions{Now: noon.Add(-5e9)}, want: []string{"Ready: its last transition lies in the future"}},
		"unobserved":  {obj: newObject(2, with(func(c *metav1.Condition) { c.ObservedGeneration = 0 })), want: []string{"Ready: has no observed generation"}},
		"ahead":       {obj: newObject(1, ready), want: []string{"Ready: was observed at generation 2, and the object has 1"}},
		"observed":    {obj: observing{newObject(2, ready), 2}},
		"not updated": {obj: observing{newObject(2, ready), 1}, want: []string{"it is Ready, and status.observedGeneration is 1 of 2"}},
		"too far":     {obj: observing{newObject(2, ready), 3}, want: []string{"status.observedGeneration is 3, and the object has 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range conditions.Check(test.obj, test.opts) {
				got = append(got, f.String())
			}
			require.Equal(t, test.want, got)
		})
	}
}

// What this package writes passes its own check.
func TestCheckOfOurOwn(t *testing.T) {
	for name, mark := range map[string]func(*object){
		"ready":       func(o *object) { conditions.MarkReady(o, "Succeeded", "", noon) },
		"stalled":     func(o *object) { conditions.MarkStalled(o, "Bad", "no", noon) },
		"reconciling": func(o *object) { conditions.MarkReconciling(o, "Progressing", "", noon) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newObject(3)
			mark(o)
			require.Empty(t, conditions.Check(o, conditions.CheckOptions{}))
		})
	}
}

func TestCheckChange(t *testing.T) {
	at := func(c metav1.Condition, change func(*metav1.Condition)) metav1.Condition {
		change(&c)
		return c
	}
	ready := cond("Ready", metav1.ConditionTrue, 2)
	for name, test := range map[string]struct {
		before, after *object
		want          []string
	}{
		"no change": {newObject(2, ready), newObject(2, ready), nil},
		"fails":     {newObject(2, ready), newObject(2, at(ready, func(c *metav1.Condition) { c.Status = "False"; c.LastTransitionTime = metav1.NewTime(later) })), nil},
		"new spec": {newObject(2, ready), newObject(3, at(ready, func(c *metav1.Condition) {
			c.Status, c.ObservedGeneration = "Unknown", 3
			c.LastTransitionTime = metav1.NewTime(later)
		})), nil},
		"time moved": {newObject(2, ready), newObject(2, at(ready, func(c *metav1.Condition) { c.LastTransitionTime = metav1.NewTime(later) })),
			[]string{"Ready: its last transition time changed, and its status did not"}},
		"time stayed": {newObject(2, ready), newObject(2, at(ready, func(c *metav1.Condition) { c.Status = "False" })),
			[]string{"Ready: its status changed, and its last transition time did not"}},
		"back in time": {newObject(2, ready), newObject(2, at(ready, func(c *metav1.Condition) { c.Status = "False"; c.LastTransitionTime = metav1.NewTime(noon.Add(-1e9)) })),
			[]string{"Ready: its last transition went back in time"}},
		"older generation": {newObject(2, ready), newObject(2, at(ready, func(c *metav1.Condition) { c.ObservedGeneration = 1 })),
			[]string{"Ready: its observed generation went back from 2 to 1"}},
		"flaps": {newObject(2, ready), newObject(2, at(ready, func(c *metav1.Condition) { c.Status = "Unknown"; c.LastTransitionTime = metav1.NewTime(later) })),
			[]string{"Ready: it was True for the generation at hand, and is Unknown now: it flaps"}},
		"goes missing": {newObject(2, ready), newObject(2), []string{"Ready: it was True for the generation at hand, and is Unknown now: it flaps"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range conditions.CheckChange(test.before, test.after) {
				got = append(got, f.String())
			}
			require.Equal(t, test.want, got)
		})
	}
}

func ExampleCheck() {
	o := newObject(1)
	conditions.MarkTrue(o, conditions.Stalled, "InvalidURL", "no such scheme", noon)
	conditions.MarkTrue(o, conditions.Ready, "Succeeded", "", noon)
	for _, fault := range conditions.Check(o, conditions.CheckOptions{}) {
		fmt.Println(fault)
	}
	// Output:
	// Ready: is True on an object that is Stalled
}
