package conditions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReasonNothing is the reason of an aggregate of no objects.
const ReasonNothing = "NothingToAggregate"

// MirrorOptions says what [Mirror] looks at and what it makes of it.
type MirrorOptions struct {
	// Type is the condition to look at. Empty means [Ready].
	Type string
	// As is the type of the result. Empty means the same as Type.
	As string
	// Name is put before the message, so that people see whose condition it is.
	Name string
}

// Mirror returns a condition of another object, such as that of a dependency, for
// an object of one's own; nothing is written. It is Unknown where the other object
// does not have it, or has it for an earlier generation.
//
// The result has neither generation nor transition time: [Set] knows them.
func Mirror(from Getter, opts MirrorOptions) metav1.Condition {
	t := cmp.Or(opts.Type, Ready)
	c := orUnknown(from, t)
	message := c.Message
	if opts.Name != "" {
		message = strings.TrimSuffix(opts.Name+": "+message, ": ")
	}
	return bound(condition(cmp.Or(opts.As, t), c.Status, c.Reason, message))
}

// orUnknown returns a condition, or an Unknown one that says why there is none.
func orUnknown(from Getter, conditionType string) metav1.Condition {
	c := Get(from, conditionType)
	switch {
	case c == nil:
		return condition(conditionType, metav1.ConditionUnknown, ReasonMissing,
			fmt.Sprintf("condition %s is not reported yet", conditionType))
	case outdated(from, *c):
		return condition(conditionType, metav1.ConditionUnknown, ReasonOutdated,
			fmt.Sprintf("condition %s was reported for generation %d, not yet for %d",
				conditionType, c.ObservedGeneration, from.GetGeneration()))
	}
	return *c
}

// Source is an object that takes part in an aggregate.
type Source struct {
	Name string // for the message, such as "Deployment shop/web"
	Getter
}

// AggregateOptions says what [Aggregate] looks at and what it makes of it.
type AggregateOptions struct {
	// Type is the condition to look at. Empty means [Ready].
	Type string
	// As is the type of the result. Empty means the same as Type.
	As string
	// Negative says that True is bad news.
	Negative bool
	// Most is how many objects the message names. Zero means 10.
	Most int
	// Empty is the status of an aggregate of no objects. Empty means Unknown: that
	// nobody has said anything is no good news.
	Empty metav1.ConditionStatus
}

// Aggregate merges the same condition of many objects into one and returns it;
// nothing is written. The same objects give the same condition, in whatever order
// they come.
//
// If any of them is bad (False, or True with negative polarity), the result is; if
// not, and any is Unknown, missing or outdated, it is Unknown; otherwise it is
// good. The reason is that of the first object by name in the group that decided.
// The message counts the objects of a bad or open group, and names the first of
// them with their own messages, one on each line.
//
// The result has neither generation nor transition time: [Set] knows them.
func Aggregate(sources []Source, opts AggregateOptions) metav1.Condition {
	t := cmp.Or(opts.Type, Ready)
	as := cmp.Or(opts.As, t)
	if len(sources) == 0 {
		return bound(condition(as, cmp.Or(opts.Empty, metav1.ConditionUnknown), ReasonNothing, "there are no objects"))
	}
	good, bad := metav1.ConditionTrue, metav1.ConditionFalse
	if opts.Negative {
		good, bad = bad, good
	}
	groups := map[metav1.ConditionStatus][]named{}
	for _, s := range byName(sources) {
		c := bound(orUnknown(s, t))
		if opts.Negative && !Has(s, t) {
			c.Status = good // no news is good news
		}
		groups[c.Status] = append(groups[c.Status], named{s.Name, c})
	}
	for _, status := range []metav1.ConditionStatus{bad, metav1.ConditionUnknown} {
		if list := groups[status]; len(list) > 0 {
			return bound(condition(as, status, list[0].Reason, report(list, len(sources), t, status, cmp.Or(opts.Most, 10))))
		}
	}
	list := groups[good]
	return bound(condition(as, good, list[0].Reason, fmt.Sprintf("all %d objects have %s %s", len(list), t, good)))
}

// named is a condition and whose it is.
type named struct {
	name string
	metav1.Condition
}

func byName(sources []Source) []Source {
	return slices.SortedStableFunc(slices.Values(sources), func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
}

func report(list []named, all int, conditionType string, status metav1.ConditionStatus, most int) string {
	lines := []string{fmt.Sprintf("%d of %d objects have %s %s:", len(list), all, conditionType, status)}
	for _, n := range list[:min(len(list), most)] {
		lines = append(lines, strings.TrimSuffix(n.name+": "+n.Message, ": "))
	}
	if more := len(list) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}
