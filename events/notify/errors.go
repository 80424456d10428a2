package notify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/internal/clip"
)

// OptionError says what is wrong with a provider's options. It holds nothing of them.
type OptionError struct {
	Provider string // the name of the platform
	Problem  string
}

func (e *OptionError) Error() string { return "notify: " + e.Provider + ": " + e.Problem }

// Terminal is true: the same options will be wrong again.
func (e *OptionError) Terminal() bool { return true }

func optionError(provider, format string, args ...any) error {
	return &OptionError{Provider: provider, Problem: fmt.Sprintf(format, args...)}
}

// RuleError says which part of a rule is not valid.
type RuleError struct {
	Rule    string // "namespace/name"
	Part    string // such as "exclusion 2", counted from zero
	Problem string
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("rule %s: %s %s", clip.Quote(e.Rule, 500), e.Part, e.Problem)
}

// Terminal is true: the same rule will be wrong again.
func (e *RuleError) Terminal() bool { return true }

// errNoLabels says that there is nobody to ask for labels.
var errNoLabels = errors.New("the rule has MatchLabels, and nobody to ask for labels: set Labels")

// LabelsError says that a rule could not be decided for want of an object's labels.
type LabelsError struct {
	Rule   string // "namespace/name"
	Object events.ObjectReference
	Err    error
}

func (e *LabelsError) Error() string {
	return fmt.Sprintf("rule %s: labels of %s: %v", clip.Quote(e.Rule, 500), clip.Quote(e.Object.String(), 600), e.Err)
}

func (e *LabelsError) Unwrap() error { return e.Err }

// ConflictError says that an event's metadata and what a rule adds say different things.
// The event went out with what is stronger.
type ConflictError struct {
	Rule   string // "namespace/name"
	Object events.ObjectReference
	Keys   []string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("rule %s: the metadata of %s, of its annotations and of the rule differ in %s: rename the weaker ones",
		clip.Quote(e.Rule, 500), clip.Quote(e.Object.String(), 600), clip.Quote(strings.Join(e.Keys, ", "), 300))
}

// Terminal is true: the same metadata will differ again.
func (e *ConflictError) Terminal() bool { return true }

// TargetError says that an event did not get to a target. It wraps what the target or its
// rule said.
type TargetError struct {
	Target string // the name of the target
	Err    error
}

func (e *TargetError) Error() string {
	return fmt.Sprintf("target %s: %v", clip.Quote(e.Target, 500), e.Err)
}

func (e *TargetError) Unwrap() error { return e.Err }
