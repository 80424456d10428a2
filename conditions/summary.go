package conditions

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The reasons that this package writes where it has no other.
const (
	// ReasonSucceeded is the reason of a summary of nothing but absent
	// conditions of negative polarity.
	ReasonSucceeded = "Succeeded"
	// ReasonMissing is the reason of a summary that waits for a condition which
	// nobody has reported.
	ReasonMissing = "Missing"
	// ReasonOutdated is the reason of a summary that waits for a condition which
	// was observed at an earlier generation.
	ReasonOutdated = "Outdated"
	// ReasonUnspecified stands for a reason that is empty, which the API server
	// does not take.
	ReasonUnspecified = "Unspecified"
)

// SummaryOptions says what [Summarize] makes of what.
type SummaryOptions struct {
	// Type is the type of the summary. Empty means [Ready].
	Type string

	// Of names the condition types to summarize, the most important first. The
	// summary's own type is left out. Empty means all types that the object has,
	// in alphabetical order.
	Of []string

	// Negative names the types that are bad news when they are True, such as
	// FetchFailed, and no news when they are missing. [Reconciling] and
	// [Stalled] always are.
	Negative []string
}

// Summarize merges conditions into one and returns it; nothing is written. The
// same conditions give the same summary, whatever order the object has them in.
//
// Each condition falls in one of three groups:
//
//   - bad: False, or True with negative polarity;
//   - open: Unknown; observed at an earlier generation; missing, unless its
//     polarity is negative; and [Reconciling] while it is True, since work under
//     way is no failure;
//   - good: all others.
//
// If any is bad the summary is False; if not, and any is open, it is Unknown;
// otherwise it is True. Reason and message come from the first condition, in the
// order of [SummaryOptions].Of, of the group that decided. Where that group is bad
// or open and has several conditions, the message has a line "Type: message" for
// each of them, in that order. A good summary speaks with the first condition of
// positive polarity.
//
// With nothing to summarize the summary is Unknown: that nobody has said anything is
// no good news.
//
// The result has the object's generation and no transition time: [Set] knows that
// one.
func Summarize(from Getter, opts SummaryOptions) metav1.Condition {
	opts.Type = cmp.Or(opts.Type, Ready)
	types := opts.types(from)
	var bad, open, good []metav1.Condition
	if len(types) == 0 {
		open = append(open, condition("", metav1.ConditionUnknown, ReasonMissing, "no condition is reported yet"))
	}
	for _, conditionType := range types {
		c, group := opts.judge(from, conditionType)
		switch group {
		case isBad:
			bad = append(bad, c)
		case isOpen:
			open = append(open, c)
		case isGood:
			good = append(good, c)
		}
	}
	sum := opts.good(good)
	switch {
	case len(bad) > 0:
		sum = merge(metav1.ConditionFalse, bad)
	case len(open) > 0:
		sum = merge(metav1.ConditionUnknown, open)
	}
	sum.Type = opts.Type
	sum.ObservedGeneration = from.GetGeneration()
	return bound(sum)
}

type group int

const (
	isBad group = iota
	isOpen
	isGood
)

// types lists what to summarize, each once, in the order that decides.
func (o SummaryOptions) types(from Getter) []string {
	of := o.Of
	if len(of) == 0 {
		of = present(from)
	}
	var types []string
	for _, t := range of {
		if t != o.Type && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types
}

// present lists the types that the object has, in alphabetical order.
func present(from Getter) []string {
	var types []string
	for _, c := range from.GetConditions() {
		types = append(types, c.Type)
	}
	slices.Sort(types)
	return types
}

func (o SummaryOptions) negative(conditionType string) bool {
	return transient(conditionType) || slices.Contains(o.Negative, conditionType)
}

// judge returns the condition, or one that stands in for what is missing or
// outdated, and the group that it falls in.
func (o SummaryOptions) judge(from Getter, conditionType string) (metav1.Condition, group) {
	c := Get(from, conditionType)
	switch {
	case c == nil && o.negative(conditionType):
		return condition(conditionType, metav1.ConditionFalse, ReasonSucceeded, ""), isGood
	case c == nil || outdated(from, *c):
		return orUnknown(from, conditionType), isOpen
	case c.Status != metav1.ConditionTrue && c.Status != metav1.ConditionFalse:
		return *c, isOpen
	case conditionType == Reconciling && c.Status == metav1.ConditionTrue:
		return *c, isOpen
	case (c.Status == metav1.ConditionTrue) == o.negative(conditionType):
		return *c, isBad
	}
	return *c, isGood
}

// good sums up conditions that are all good.
func (o SummaryOptions) good(all []metav1.Condition) metav1.Condition {
	i := slices.IndexFunc(all, func(c metav1.Condition) bool { return !o.negative(c.Type) })
	if i < 0 {
		return condition("", metav1.ConditionTrue, ReasonSucceeded, "nothing is reported to be wrong")
	}
	return condition("", metav1.ConditionTrue, all[i].Reason, all[i].Message)
}

// merge sums up conditions that are bad or open.
func merge(s metav1.ConditionStatus, all []metav1.Condition) metav1.Condition {
	sum := condition("", s, all[0].Reason, all[0].Message)
	if len(all) == 1 {
		return sum
	}
	lines := make([]string, len(all))
	for i, c := range all {
		lines[i] = c.Type + ": " + c.Message
	}
	sum.Message = strings.Join(lines, "\n")
	return sum
}
