package celhealth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/ssa"
)

// Defaults of Options, and the largest expression.
const (
	DefaultCostLimit = 1_000_000
	DefaultTimeout   = 100 * time.Millisecond
	MaxExpression    = 8 << 10 // bytes
)

// Annotations with which an object brings expressions of its own, where
// Options.Annotations allows it. Current is required, the others are not.
const (
	CurrentAnnotation    = "gitopskit.dev/health-current"
	InProgressAnnotation = "gitopskit.dev/health-in-progress"
	FailedAnnotation     = "gitopskit.dev/health-failed"
)

// Rule tells the health of the objects that it selects. APIVersion, Kind and
// Current are required. Of several rules for an object the first decides.
type Rule struct {
	// APIVersion and Kind select by type. Of the former the group alone counts: an
	// object is the same in every version.
	APIVersion, Kind string
	// Namespace, Name and Selector (a label selector, as in "app=web,tier!=test")
	// narrow it down, where they are set.
	Namespace, Name, Selector string

	InProgress string // asked first
	Failed     string // asked second
	Current    string // asked last; where it is false, too, the object is InProgress
}

// Options of New. The zero value is usable.
type Options struct {
	// CostLimit bounds one evaluation, in CEL's own unit; default 1,000,000.
	CostLimit uint64
	// Timeout bounds one evaluation; default 100 milliseconds.
	Timeout time.Duration
	// Annotations lets objects bring their own expressions, which then come before
	// every rule. By default annotations are not looked at. Kinds that Wait does not
	// look at, such as ConfigMap, need a rule all the same.
	Annotations bool
}

// RuleError says which expression is wrong. It is terminal.
type RuleError struct {
	Index int    // of the rule, from 0
	Kind  string // of the rule
	Field string // as in "Current"
	Err   error
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("health rule %d (%s): %s: %v; correct it", e.Index+1, e.Kind, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// Terminal says that another try cannot help.
func (e *RuleError) Terminal() bool { return true }

// New compiles rules into checks for ssa.WaitOptions. The error joins a *RuleError
// for each expression that is wrong.
func New(rules []Rule, opts Options) ([]ssa.HealthCheck, error) {
	c, err := newCompiler(opts)
	if err != nil {
		return nil, err
	}
	var checks []ssa.HealthCheck
	if opts.Annotations {
		checks = append(checks, ssa.HealthCheck{Func: c.byAnnotation})
	}
	var faults []error
	for i, r := range rules {
		check, err := c.check(i, r)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		checks = append(checks, check)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return checks, nil
}

func (c *compiler) check(i int, r Rule) (ssa.HealthCheck, error) {
	wrong := func(field string, err error) (ssa.HealthCheck, error) {
		return ssa.HealthCheck{}, &RuleError{Index: i, Kind: r.Kind, Field: field, Err: err}
	}
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	switch {
	case err != nil:
		return wrong("APIVersion", err)
	case r.APIVersion == "":
		return wrong("APIVersion", errors.New("it is empty"))
	case r.Kind == "":
		return wrong("Kind", errors.New("it is empty"))
	}
	selector, err := labels.Parse(r.Selector)
	if err != nil {
		return wrong("Selector", err)
	}
	verdict, field, err := c.verdict(r.InProgress, r.Failed, r.Current)
	if err != nil {
		return wrong(field, err)
	}
	return ssa.HealthCheck{Group: gv.Group, Kind: r.Kind, Func: func(ctx context.Context, obj *unstructured.Unstructured) (ssa.Status, string, error) {
		if r.Namespace != "" && r.Namespace != obj.GetNamespace() || r.Name != "" && r.Name != obj.GetName() ||
			!selector.Matches(labels.Set(obj.GetLabels())) {
			return "", "", nil
		}
		return verdict.of(ctx, obj)
	}}, nil
}

// byAnnotation judges objects that bring their own expressions.
func (c *compiler) byAnnotation(ctx context.Context, obj *unstructured.Unstructured) (ssa.Status, string, error) {
	a := obj.GetAnnotations()
	inProgress, failed, current := a[InProgressAnnotation], a[FailedAnnotation], a[CurrentAnnotation]
	if inProgress == "" && failed == "" && current == "" {
		return "", "", nil
	}
	verdict, err := c.remembered(inProgress, failed, current)
	if err != nil {
		return "", "", err
	}
	return verdict.of(ctx, obj)
}
