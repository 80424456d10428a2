package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/internal/clip"
)

// Any stands for every kind, name or namespace in a [Source].
const Any = "*"

// The bounds of a [Rule], whose author need not be trusted.
const (
	// MaxExpressions is how many expressions one list holds.
	MaxExpressions = 100
	// MaxExpression is how long one expression is, in bytes.
	MaxExpression = 4096
)

// Rule says which events go somewhere, and what is added to them.
type Rule struct {
	// Name and Namespace are the rule's own. Sources without a namespace are in this
	// one.
	Name, Namespace string
	// Sources are what the events are about. An event that matches one of them is
	// selected. Without any, none is.
	Sources []Source
	// Severity is the least severity: [events.SeverityInfo] or
	// [events.SeverityError]. Empty means info. Traces are never selected.
	Severity events.Severity
	// Include are regular expressions, in the syntax of package regexp, of which one
	// has to match some part of the message. Empty includes all.
	Include []string
	// Exclude are regular expressions of which none may match. They win over Include.
	Exclude []string
	// Metadata is added to each event.
	Metadata map[string]string
	// Summary is added to each event as metadata, under [MetaSummary].
	Summary string
	// Suspended rules select nothing.
	Suspended bool
}

// Source says what events are about.
type Source struct {
	// APIVersion narrows Kind to one API group; its version does not matter. Empty
	// means any.
	APIVersion string
	// Kind is required. [Any] means every kind.
	Kind string
	// Namespace is the object's. Empty means the rule's, or any where the rule has none
	// either. [Any] means every namespace, and objects that are in none.
	Namespace string
	// Name is required. [Any] means every name.
	Name string
	// MatchLabels are labels that the object must have, see [LabelsFunc].
	MatchLabels map[string]string
}

// LabelsFunc returns the labels of an object. The router calls it at most once for each
// event, and only where a rule needs them to decide. Events wait for it: it should read
// from a cache.
type LabelsFunc func(ctx context.Context, object events.ObjectReference) (map[string]string, error)

// SelectorOptions configures a [Selector]. The zero value is ready to use.
type SelectorOptions struct {
	// NoCrossNamespace keeps rules that have a namespace from events of other
	// namespaces, and of objects that are in none.
	NoCrossNamespace bool
}

// Selector is a rule that is ready to be asked. It is safe for concurrent use.
type Selector struct {
	rule             Rule
	sources          []Source
	include, exclude []*regexp.Regexp
}

// NewSelector reads a rule. The error joins a [*RuleError] for each part of the rule that
// is not valid. The selector works all the same, without these parts: one wrong expression
// does not silence the others. A rule whose every inclusion is wrong includes nothing.
func NewSelector(rule Rule, opts SelectorOptions) (*Selector, error) {
	rule.Metadata = maps.Clone(rule.Metadata)
	s := &Selector{rule: rule}
	var problems []error
	report := func(part, format string, args ...any) {
		problems = append(problems, &RuleError{Rule: rule.id(), Part: part, Problem: fmt.Sprintf(format, args...)})
	}
	if rule.Severity != "" && rule.Severity != events.SeverityInfo && rule.Severity != events.SeverityError {
		s.rule.Severity = events.SeverityError
		report("the severity", "is neither info nor error; only errors are selected")
	}
	for i, source := range rule.Sources {
		if problem := s.add(source, opts); problem != "" {
			report(fmt.Sprintf("source %d", i), "%s", problem)
		}
	}
	for _, list := range []struct {
		name     string
		in       []string
		compiled *[]*regexp.Regexp
	}{{"inclusion", rule.Include, &s.include}, {"exclusion", rule.Exclude, &s.exclude}} {
		for i, expression := range list.in {
			re, problem := compile(i, expression)
			if problem != "" {
				report(fmt.Sprintf("%s %d", list.name, i), "%s", problem)
				continue
			}
			*list.compiled = append(*list.compiled, re)
		}
	}
	return s, errors.Join(problems...)
}

// add takes a source, or says why it cannot.
func (s *Selector) add(source Source, opts SelectorOptions) string {
	home := s.rule.Namespace
	switch {
	case source.Kind == "":
		return "has no kind: name one, or * for all"
	case source.Name == "":
		return "has no name: name one, or * for all"
	}
	if source.Namespace == "" {
		source.Namespace = home
	}
	if source.Namespace == "" {
		source.Namespace = Any
	}
	if opts.NoCrossNamespace && home != "" && source.Namespace != home {
		return "is in another namespace than the rule, which is not allowed"
	}
	source.MatchLabels = maps.Clone(source.MatchLabels)
	s.sources = append(s.sources, source)
	return ""
}

// compile reads an expression, or says what is wrong with it. The syntax has no
// back-references, so that matching takes time in proportion to the text.
func compile(i int, expression string) (*regexp.Regexp, string) {
	if i >= MaxExpressions {
		return nil, fmt.Sprintf("is one too many, the limit is %d", MaxExpressions)
	}
	if len(expression) > MaxExpression {
		return nil, fmt.Sprintf("has %d bytes, the limit is %d", len(expression), MaxExpression)
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, "is not a regular expression: " + clip.Quote(err.Error(), 200)
	}
	return re, ""
}

// id names the rule for errors.
func (r Rule) id() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

// Selection is an event that a rule selected.
type Selection struct {
	// Event has the rule's metadata.
	Event events.Event
	// Conflicts are the keys of metadata for which the object's annotations, the rule
	// and the controller say different things. The strongest is in Event.
	Conflicts []string
}

// Select asks the rule about an event, and adds the rule's metadata where the answer is
// yes. From the weakest to the strongest: the object's annotations, the rule's metadata,
// its summary, the controller's own. Labels may be nil where the rule has no MatchLabels.
//
// The error, a [*LabelsError], says that labels are needed to decide and could not be
// had.
func (s *Selector) Select(ctx context.Context, e events.Event, labels LabelsFunc) (Selection, bool, error) {
	// What costs the least is asked first.
	if s.rule.Suspended || !s.severe(e.Severity) {
		return Selection{}, false, nil
	}
	sure, undecided := s.named(e.InvolvedObject)
	if !sure && undecided == nil || !s.says(e.Message) {
		return Selection{}, false, nil
	}
	if !sure {
		ok, err := s.labeled(ctx, e.InvolvedObject, undecided, labels)
		if !ok || err != nil {
			return Selection{}, false, err
		}
	}
	combined, conflicts := combine(e, s.rule)
	return Selection{Event: combined, Conflicts: conflicts}, true, nil
}

func (s *Selector) severe(severity events.Severity) bool {
	return severity == events.SeverityError ||
		severity == events.SeverityInfo && s.rule.Severity != events.SeverityError
}

// says applies the expressions. A list whose every entry is wrong still counts as there.
func (s *Selector) says(message string) bool {
	return !matchesAny(s.exclude, message) &&
		(len(s.rule.Include) == 0 || matchesAny(s.include, message))
}

func matchesAny(all []*regexp.Regexp, text string) bool {
	for _, re := range all {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

// named looks for a source that names the object, and returns those that do but want to
// see labels first.
func (s *Selector) named(o events.ObjectReference) (sure bool, undecided []Source) {
	for _, source := range s.sources {
		switch {
		case !source.names(o):
		case len(source.MatchLabels) == 0:
			return true, nil
		default:
			undecided = append(undecided, source)
		}
	}
	return false, undecided
}

// labeled reports whether the object has the labels that one of the sources wants.
func (s *Selector) labeled(ctx context.Context, o events.ObjectReference, sources []Source, labels LabelsFunc) (bool, error) {
	if labels == nil {
		return false, &LabelsError{Rule: s.rule.id(), Object: o, Err: errNoLabels}
	}
	has, err := labels(ctx, o)
	if err != nil {
		return false, &LabelsError{Rule: s.rule.id(), Object: o, Err: err}
	}
	for _, source := range sources {
		if source.labeled(has) {
			return true, nil
		}
	}
	return false, nil
}

func (s Source) names(o events.ObjectReference) bool {
	is := func(want, got string) bool { return want == Any || want == got }
	return is(s.Kind, o.Kind) && is(s.Name, o.Name) && is(s.Namespace, o.Namespace) &&
		(s.APIVersion == "" || groupOf(s.APIVersion) == groupOf(o.APIVersion))
}

func (s Source) labeled(has map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, ok := has[key]; !ok || got != want {
			return false
		}
	}
	return true
}
