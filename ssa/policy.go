package ssa

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Annotations by which an object asks to be treated in a way of its own. Values
// are compared without regard to case. PolicyAnnotation wins over Flux's three;
// among those, reconcile wins over ssa, and force goes with Override and Merge.
// Flux's count as labels too, as Flux has it.
const (
	PolicyAnnotation   = "gitopskit.dev/apply"     // one of the Policy values
	ConflictAnnotation = "gitopskit.dev/conflicts" // one of the ConflictPolicy values

	FluxPolicyAnnotation    = "kustomize.toolkit.fluxcd.io/ssa"       // Override, Merge, IfNotPresent, Ignore
	FluxForceAnnotation     = "kustomize.toolkit.fluxcd.io/force"     // enabled: as Recreate
	FluxReconcileAnnotation = "kustomize.toolkit.fluxcd.io/reconcile" // disabled: as Ignore
)

// Policy says how an object is brought about.
type Policy string

// The policies. Override is the default.
const (
	// Override applies the object. What kubectl applied to it becomes ours first,
	// so that fields that are not in the set vanish; see Options.Migrate.
	Override Policy = "override"
	// Merge applies the object and leaves every field that the set does not name,
	// also those that kubectl applied.
	Merge Policy = "merge"
	// IfNotPresent creates the object, and never touches one that exists.
	IfNotPresent Policy = "if-not-present"
	// Ignore does nothing. An object on the inventory stays on it.
	Ignore Policy = "ignore"
	// Recreate is Override, and deletes the object and makes it again where the
	// server says of nothing but fields that they cannot be changed. Namespaces and
	// CustomResourceDefinitions never are; volumes and claims only if they ask for it
	// themselves. An object of another set is left alone.
	Recreate Policy = "recreate"
)

var policies = [...]Policy{Override, Merge, IfNotPresent, Ignore, Recreate}

// ConflictPolicy says what is done about a field that another manager owns with
// another value.
type ConflictPolicy string

// The conflict policies. TakeOver is the default.
const (
	TakeOver ConflictPolicy = "take-over" // the set's value wins, and the field becomes ours
	Report   ConflictPolicy = "report"    // the object fails with a *ConflictError
	Leave    ConflictPolicy = "leave"     // the other's value stays, the rest is applied; see Change.Left
)

var conflictPolicies = [...]ConflictPolicy{TakeOver, Report, Leave}

// treatment is what an object's annotations and the options make of it.
type treatment struct {
	policy    Policy
	recreate  bool // with Override and Merge
	asked     bool // the object itself asks for recreate
	conflicts ConflictPolicy
	timeout   time.Duration // for recreate
}

// treatmentOf reads an object's annotations. What it does not say, the options do.
func treatmentOf(intent *unstructured.Unstructured, byDefault treatment) (treatment, error) {
	t := byDefault
	md := asMap(intent.Object["metadata"])
	annotations, labels := asMap(md["annotations"]), asMap(md["labels"])
	if v, ok := annotations[ConflictAnnotation].(string); ok {
		t.conflicts = ConflictPolicy(strings.ToLower(v))
	}
	if !slices.Contains(conflictPolicies[:], t.conflicts) {
		return t, fmt.Errorf("annotation %s is %q; it must be one of %q", ConflictAnnotation, clip.Quote(string(t.conflicts), maxQuoted), conflictPolicies)
	}
	if v, ok := annotations[PolicyAnnotation].(string); ok {
		t.policy = Policy(strings.ToLower(v))
		if !slices.Contains(policies[:], t.policy) {
			return t, fmt.Errorf("annotation %s is %q; it must be one of %q", PolicyAnnotation, clip.Quote(v, maxQuoted), policies)
		}
		t.recreate = t.policy == Recreate
		t.asked = t.recreate
		return t, nil
	}
	return t.flux(func(key string) string {
		if v, ok := annotations[key].(string); ok {
			return v
		}
		v, _ := labels[key].(string)
		return v
	})
}

func (t treatment) flux(said func(key string) string) (treatment, error) {
	switch v := said(FluxPolicyAnnotation); strings.ToLower(v) {
	case "":
	case "override":
		t.policy = Override
	case "merge":
		t.policy = Merge
	case "ifnotpresent":
		t.policy = IfNotPresent
	case "ignore":
		t.policy = Ignore
	default:
		return t, fmt.Errorf("annotation %s is %q; it must be Override, Merge, IfNotPresent or Ignore", FluxPolicyAnnotation, clip.Quote(v, maxQuoted))
	}
	if strings.EqualFold(said(FluxForceAnnotation), "enabled") {
		t.recreate, t.asked = true, true
	}
	if strings.EqualFold(said(FluxReconcileAnnotation), "disabled") {
		t.policy = Ignore
	}
	return t, nil
}

// byDefault is the treatment of objects without annotations.
func (a *Applier) byDefault(opts ApplyOptions) (treatment, error) {
	t := treatment{policy: opts.Policy, conflicts: opts.Conflicts, timeout: opts.RecreateTimeout}
	if t.timeout <= 0 {
		t.timeout = DefaultRecreateTimeout
	}
	if t.conflicts == "" {
		t.conflicts = a.conflicts
	}
	if t.policy == "" {
		t.policy = Override
	}
	if !slices.Contains(policies[:], t.policy) {
		return t, &OptionError{Option: "ApplyOptions.Policy", Reason: fmt.Sprintf("is %q; it must be one of %q", t.policy, policies)}
	}
	if !slices.Contains(conflictPolicies[:], t.conflicts) {
		return t, &OptionError{Option: "ApplyOptions.Conflicts", Reason: fmt.Sprintf("is %q; it must be one of %q", t.conflicts, conflictPolicies)}
	}
	t.recreate = t.policy == Recreate
	return t, nil
}

// handsOff tells an object in the cluster whose annotation says that it is to be
// left alone, whatever the set says: somebody works on it.
func handsOff(m metav1.Object) bool {
	return strings.EqualFold(said(m, PolicyAnnotation), string(Ignore)) ||
		strings.EqualFold(said(m, FluxPolicyAnnotation), string(Ignore)) ||
		strings.EqualFold(said(m, FluxReconcileAnnotation), "disabled")
}

// said is what an object in the cluster says in an annotation, or, if the
// annotation is one of Flux's, in a label.
func said(m metav1.Object, annotation string) string {
	if v, ok := m.GetAnnotations()[annotation]; ok || annotation == PolicyAnnotation {
		return v
	}
	return m.GetLabels()[annotation]
}

// ignore leaves an object as it is, on record as it was.
func (it *item) ignore() {
	it.done = true
	it.change.Action = Ignored
}

// maxQuoted bounds what somebody else wrote and a message repeats, in bytes.
const maxQuoted = 120

// withMetadata copies what it changes.
func withMetadata(u *unstructured.Unstructured, field string, value any) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: make(map[string]any, len(u.Object))}
	for k, v := range u.Object {
		out.Object[k] = v
	}
	old, _ := u.Object["metadata"].(map[string]any)
	md := make(map[string]any, len(old)+1)
	for k, v := range old {
		md[k] = v
	}
	md[field] = value
	out.Object["metadata"] = md
	return out
}
