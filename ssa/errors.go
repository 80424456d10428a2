package ssa

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// ObjectError says what is wrong with one object, and what to do.
type ObjectError struct {
	Key    gc.Key
	Op     string // "apply" or "skip"
	Reason string // for people; never holds a value of a Secret
	Err    error  // the cause, if there is one; in place of a Secret's, one that quotes nothing

	terminal bool
}

func (e *ObjectError) Error() string {
	if e.Key.Name == "" && e.Key.Kind == "" {
		return e.Op + ": " + e.Reason
	}
	return fmt.Sprintf("%s %s: %s", e.Op, e.Key, e.Reason)
}

// Unwrap returns the cause.
func (e *ObjectError) Unwrap() error { return e.Err }

// Terminal says that the object must be changed before another try can succeed.
func (e *ObjectError) Terminal() bool { return e.terminal }

// OptionError says which option is wrong, and why.
type OptionError struct {
	Option string // as in "ApplyOptions.Policy"
	Reason string
}

func (e *OptionError) Error() string { return "apply: " + e.Option + " " + e.Reason }

// Terminal says that another try fails as well.
func (e *OptionError) Terminal() bool { return true }

// InvalidSetError lists everything that is wrong with a set before anything is
// sent. Nothing was applied.
type InvalidSetError struct {
	Faults []error // *ObjectError or *UnknownKindError, never empty
}

func (e *InvalidSetError) Error() string { return "nothing was applied: " + list(e.Faults) }

// Unwrap returns the faults.
func (e *InvalidSetError) Unwrap() []error { return e.Faults }

// Terminal says that the set must be changed, unless all that it lacks is a
// definition that may still arrive.
func (e *InvalidSetError) Terminal() bool {
	for _, f := range e.Faults {
		var unknown *UnknownKindError
		if !errors.As(f, &unknown) {
			return true
		}
	}
	return false
}

// UnknownKindError says that the API server does not serve an object's type and
// that the set does not define it. A definition may still arrive.
type UnknownKindError struct {
	Key     gc.Key
	Version string
}

func (e *UnknownKindError) Error() string {
	gv := e.Version
	if e.Key.Group != "" {
		gv = e.Key.Group + "/" + e.Version
	}
	return fmt.Sprintf("apply %s: the API server does not serve %s of %s; install its CustomResourceDefinition, or correct apiVersion and kind",
		e.Key, e.Key.Kind, gv)
}

// ApplyError says which objects were not applied. The others were.
type ApplyError struct {
	Failed []Change // those that failed or were skipped, never empty
	Total  int      // objects in the set
}

func (e *ApplyError) Error() string {
	errs := e.Unwrap()
	if unreachable := asUnreachable(e); unreachable != nil {
		return fmt.Sprintf("%d of %d objects were not applied: %v", len(errs), e.Total, unreachable)
	}
	return fmt.Sprintf("%d of %d objects were not applied: %s", len(errs), e.Total, list(errs))
}

// Unwrap returns the errors of the objects that failed, then of those skipped.
func (e *ApplyError) Unwrap() []error {
	var failed, skipped []error
	for _, c := range e.Failed {
		if c.Action == Failed {
			failed = append(failed, c.Err)
		} else {
			skipped = append(skipped, c.Err)
		}
	}
	return append(failed, skipped...)
}

// Terminal says that another try cannot get any further before an object of the
// set is changed.
func (e *ApplyError) Terminal() bool {
	failed := false
	for _, c := range e.Failed {
		if c.Action != Failed {
			if errors.Unwrap(c.Err) != nil {
				return false // it was not its turn before the end
			}
			continue // it waits for one that failed
		}
		var t interface{ Terminal() bool }
		if !errors.As(c.Err, &t) || !t.Terminal() {
			return false
		}
		failed = true
	}
	return failed
}

// list shows the first few errors and counts the rest.
func list(errs []error) string {
	const most = 3
	var b strings.Builder
	for i, err := range errs[:min(most, len(errs))] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	if n := len(errs) - most; n > 0 {
		fmt.Fprintf(&b, "; and %d more", n)
	}
	return b.String()
}

// UnreachableError says that no API server answered. Try again later.
type UnreachableError struct {
	Server string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the API server at %s cannot be reached: %s; check that it runs and that the address is right",
		e.Server, kube.Explain(e.Err))
}

// Unwrap returns the network error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// OverloadedError says that the server refused one object after another because
// it is overloaded or in trouble, so that the rest was not tried. Try again later.
type OverloadedError struct{ Err error }

func (e *OverloadedError) Error() string {
	return "the API server is overloaded or in trouble; try again later: " + kube.Explain(e.Err)
}

// Unwrap returns the server's last answer.
func (e *OverloadedError) Unwrap() error { return e.Err }

// DiscoveryError says that the server refused to say which types it serves.
type DiscoveryError struct {
	GroupVersion string
	Err          error
}

func (e *DiscoveryError) Error() string {
	return fmt.Sprintf("ask the API server for the types of %s: %s", e.GroupVersion, kube.Explain(e.Err))
}

// Unwrap returns the server's error.
func (e *DiscoveryError) Unwrap() error { return e.Err }

func asUnreachable(err error) error {
	var u *UnreachableError
	if errors.As(err, &u) {
		return u
	}
	return nil
}

func isSecret(k gc.Key) bool { return k.Group == "" && k.Kind == "Secret" }

// explain turns the failure of one object into an error for people.
func (a *Applier) explain(ctx context.Context, it *item, err error) error {
	e := &ObjectError{Key: it.entry.Key, Op: "apply", Err: err}
	var deleting *deletingError
	var conflict *ConflictError
	var unknown *UnknownKindError
	var definition *DefinitionError
	switch {
	case errors.As(err, &unknown):
		return unknown
	case errors.As(err, &definition):
		e.Reason = definition.Error()
		return e
	case errors.As(err, &conflict):
		e.Reason = conflict.Error()
		return e
	case errors.As(err, &deleting):
		e.Reason = deleting.Error()
		if f := deleting.meta.Finalizers; len(f) > 0 {
			e.Reason += "; finalizers hold it: " + strings.Join(f, ", ")
		}
		return e
	case kube.Unreachable(err) && ctx.Err() == nil:
		e.Err = &UnreachableError{Server: a.client.Host(), Err: err}
		e.Reason = e.Err.Error()
		return e
	}
	if isSecret(it.entry.Key) {
		e.Err = kube.Redact(err)
	}
	if ctx.Err() != nil && !refused(err) {
		e.Reason = "the apply was ended before the answer came, and may have been carried out: " + kube.Explain(e.Err)
		return e
	}
	e.Reason = kube.Explain(e.Err) + remedy(it, err)
	e.terminal = isTerminal(err) && !ended(err)
	return e
}

// ended tells an answer that was not the last word, because the context ended
// before another try.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func remedy(it *item, err error) string {
	switch {
	case kube.TypeNotServed(err) && it.definer() != nil:
		return "; the type is not served yet: look at the status of " + it.definer().entry.Key.String()
	case kube.TypeNotServed(err):
		return "; the type is not served (any more): install its CustomResourceDefinition"
	case missingNamespace(err):
		return "; create the namespace first, or put it into the set"
	case apierrors.HasStatusCause(err, namespaceTerminating):
		return "; apply again when the namespace is gone"
	case apierrors.IsForbidden(err):
		return "; the identity lacks a right, or an admission rule refused it"
	case immutable(err):
		return "; the field cannot be changed: delete the object first, keep the old value, or let it be recreated (annotation " + PolicyAnnotation + ")"
	case tooLarge(err):
		return "; make the object smaller"
	case apierrors.IsMethodNotSupported(err):
		return "; objects of this type cannot be applied: remove it from the set"
	case isTerminal(err):
		return "; correct the manifest"
	}
	return ""
}

// namespaceTerminating is the cause that the server names (corev1's constant,
// without the cost of that package).
const namespaceTerminating metav1.CauseType = "NamespaceTerminating"

func missingNamespace(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) &&
		status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

func isTerminal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || isSchemaError(err) ||
		apierrors.IsMethodNotSupported(err) || tooLarge(err)
}

// tooLarge recognises an object that the server or its storage has no room for.
// The latter is reported as an internal error.
func tooLarge(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsRequestEntityTooLargeError(err) || errors.As(err, &status) &&
		status.Status().Code == http.StatusInternalServerError && (strings.Contains(status.Status().Message, "etcdserver: request is too large") ||
		strings.Contains(status.Status().Message, "message larger than max"))
}

// isSchemaError recognises an object that does not fit its type's schema, which
// the server reports as an internal error.
func isSchemaError(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusInternalServerError {
		return false
	}
	m := status.Status().Message
	return strings.Contains(m, "failed to create typed patch object") || strings.Contains(m, "unable to convert unstructured object to ")
}
