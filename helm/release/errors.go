package release

import (
	"errors"
	"fmt"
	"time"

	"github.com/gitopskit/gitopskit/internal/clip"
)

var (
	// ErrExhausted is what every [ExhaustedError] is.
	ErrExhausted = errors.New("no retries remain")
	// ErrNoRollbackTarget says that there is no version to roll back to.
	ErrNoRollbackTarget = errors.New("there is no earlier version to roll back to")
	// ErrBusy is what every [BusyError] is.
	ErrBusy = errors.New("somebody else is changing the release")
)

// SpecError refuses a [Spec]. Nothing was sent.
type SpecError struct{ Field, Reason string }

func (e *SpecError) Error() string {
	return fmt.Sprintf("release: Spec.%s: %s; correct it", e.Field, e.Reason)
}

// Terminal reports that trying again does not help.
func (e *SpecError) Terminal() bool { return true }

// IdentityError refuses an identity that the server would take for another one.
type IdentityError struct{ Name string }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("release: impersonate %.100q: a name must not be empty, begin or end with white space, or hold control characters", e.Name)
}

// Terminal reports that trying again does not help.
func (e *IdentityError) Terminal() bool { return true }

// StorageError says that the history of a release could not be read or written.
// Of what the server said, only the code and the fields are kept.
type StorageError struct {
	Release, Namespace, Op string
	Err                    error
}

func (e *StorageError) Error() string {
	return fmt.Sprintf("release %s: %s in namespace %s: %v; it needs the rights to list, get, create, update and delete Secrets there",
		e.Release, e.Op, e.Namespace, e.Err)
}

// Unwrap returns the server's error.
func (e *StorageError) Unwrap() error { return e.Err }

// RecordError says that a Secret of the history does not hold what it should.
type RecordError struct {
	Namespace, Name string // of the Secret
	Err             error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("Secret %s/%s: %v", e.Namespace, e.Name, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *RecordError) Unwrap() error { return e.Err }

// TooLargeError says that a release does not fit into a Secret.
type TooLargeError struct {
	Release string
	Bytes   int // compressed
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("release %s: chart, values and objects have %d bytes when compressed, and a Secret holds %d; make the chart smaller",
		e.Release, e.Bytes, maxStored)
}

// Terminal reports that trying again does not help.
func (e *TooLargeError) Terminal() bool { return true }

// BusyError says that somebody else changed the release's history meanwhile. The
// next Reconcile sees what they made of it.
type BusyError struct {
	Release string
	Version int
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("release %s: somebody else changed version %d meanwhile; try again", e.Release, e.Version)
}

// Is reports that the error is an [ErrBusy].
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// OwnedError says that an object exists and belongs to somebody else.
type OwnedError struct {
	Release string
	Object  Object
	Reason  string
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("release %s: %s exists and is not the release's: %s; delete it, rename yours, or set TakeOwnership", e.Release, e.Object, e.Reason)
}

// Terminal reports that trying again does not help.
func (e *OwnedError) Terminal() bool { return true }

// ObjectError says what the server did not accept.
type ObjectError struct {
	Object Object
	Op     string // apply, delete, read or map
	Reason string // withheld where it may quote a secret
	Err    error
}

func (e *ObjectError) Error() string { return fmt.Sprintf("%s %s: %s", e.Op, e.Object, e.Reason) }

// Unwrap returns the server's error.
func (e *ObjectError) Unwrap() error { return e.Err }

// HealthError says which objects did not become ready.
type HealthError struct {
	Objects []Health
	Total   int
	Err     error
}

func (e *HealthError) Error() string {
	const most = 3
	text := fmt.Sprintf("%d of %d objects are not ready", len(e.Objects), e.Total)
	if e.Err != nil && !errors.Is(e.Err, errBroken) {
		text += ": " + e.Err.Error()
	}
	for i, h := range e.Objects {
		if i == most {
			return fmt.Sprintf("%s; and %d more", text, len(e.Objects)-most)
		}
		text += fmt.Sprintf("; %s is %s (%s)", h.Object, h.Status, h.Message)
	}
	return text
}

// Unwrap returns what ended the wait.
func (e *HealthError) Unwrap() error { return e.Err }

// HookError says which hook failed.
type HookError struct {
	Event  string // such as pre-install, or test
	Object Object
	Err    error
}

func (e *HookError) Error() string { return fmt.Sprintf("%s hook %s: %v", e.Event, e.Object, e.Err) }

// Unwrap returns why.
func (e *HookError) Unwrap() error { return e.Err }

// ActionError says which action failed, and what was done about it.
type ActionError struct {
	Release string
	Action  Action
	// Remediation that was done after it; may be empty.
	Remediation Action
	// After this time it may be tried again; zero leaves that to the caller.
	After time.Duration
	Err   error
}

func (e *ActionError) Error() string {
	text := fmt.Sprintf("release %s: %s failed: %s", e.Release, e.Action, clip.Quote(e.Err.Error(), maxMessage))
	if e.Remediation != "" {
		text += fmt.Sprintf(" (then: %s)", e.Remediation)
	}
	return text
}

// Unwrap returns why.
func (e *ActionError) Unwrap() error { return e.Err }

// Terminal reports whether trying again does not help.
func (e *ActionError) Terminal() bool {
	var t interface{ Terminal() bool }
	return errors.As(e.Err, &t) && t.Terminal()
}

// ExhaustedError says that a release failed as often as it may. It is tried again
// when its Spec changes, or its Epoch.
type ExhaustedError struct {
	Release  string
	Failures int
	Last     string // what the last failure was
	Err      error  // the last failure, if it was in this call
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("release %s failed %d times and no retries remain: %s; change the chart, its values or the Epoch",
		e.Release, e.Failures, clip.Quote(e.Last, maxMessage))
}

// Is reports that the error is an [ErrExhausted].
func (e *ExhaustedError) Is(target error) bool { return target == ErrExhausted }

// Unwrap returns the last failure.
func (e *ExhaustedError) Unwrap() error { return e.Err }

// Terminal reports that trying again does not help.
func (e *ExhaustedError) Terminal() bool { return true }

// RollbackTargetError says that a failed upgrade cannot be undone.
type RollbackTargetError struct {
	Release string
	Version int // that failed
	Err     error
}

func (e *RollbackTargetError) Error() string {
	return fmt.Sprintf("release %s: version %d failed, and %v: %v; correct the chart or its values", e.Release, e.Version, ErrNoRollbackTarget, e.Err)
}

// Is reports that the error is an [ErrNoRollbackTarget].
func (e *RollbackTargetError) Is(target error) bool { return target == ErrNoRollbackTarget }

// Unwrap returns the failure.
func (e *RollbackTargetError) Unwrap() error { return e.Err }

// Terminal reports that trying again does not help.
func (e *RollbackTargetError) Terminal() bool { return true }

// maxMessage bounds what others say in errors and results.
const maxMessage = 1 << 10
