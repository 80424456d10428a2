package release

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Action is something that is done to a release.
type Action string

// The actions.
const (
	Install      Action = "install"
	Upgrade      Action = "upgrade"
	Test         Action = "test"
	Rollback     Action = "rollback"
	Uninstall    Action = "uninstall"
	Unlock       Action = "unlock"
	CorrectDrift Action = "correct drift"
)

// Situation is what a release was found in, or left in.
type Situation string

// The situations.
const (
	Absent    Situation = "absent"      // it is not installed
	Unmanaged Situation = "unmanaged"   // it was installed by others
	OutOfSync Situation = "out of sync" // it is not what is desired
	Drifted   Situation = "drifted"     // its objects were changed
	Locked    Situation = "locked"      // an action on it did not end
	Untested  Situation = "untested"    // its tests have not run
	InSync    Situation = "in sync"
	Broken    Situation = "failed" // the last action on it failed
)

// Result is what was found and done. It is complete even if there was an error.
type Result struct {
	// State to give to the next Reconcile.
	State State
	// Situation in which the release was found, and then left.
	Found, Left Situation
	Why         string // of what was found, for people
	Steps       []Step // what was done, in its order; nothing if all was well
	// Drift of live objects that was found and, unless told so, not corrected.
	Drift []Change
	// Notes of the chart, where something was installed or upgraded.
	Notes string
}

// Step is one action.
type Step struct {
	Action  Action
	Why     string
	Version int // of the release, that it made or worked on
	Started time.Time
	Took    time.Duration
	Err     error
	Objects []Change
	Hooks   []HookResult
	// Log is what the engine did last, at most 40 lines.
	Log []string
}

// Object names an object.
type Object struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

func (o Object) secret() bool { return o.Group == "" && o.Kind == "Secret" }

// same ignores the API version: it is the same object in all of them.
func (o Object) same() Object {
	o.Version = ""
	return o
}

func objectOf(u *unstructured.Unstructured) Object {
	gvk := u.GroupVersionKind()
	return Object{gvk.Group, gvk.Version, gvk.Kind, u.GetNamespace(), u.GetName()}
}

// Op is what was done to an object.
type Op string

// What may become of an object.
const (
	Created    Op = "created"
	Configured Op = "configured"
	Unchanged  Op = "unchanged"
	Recreated  Op = "recreated"
	Deleted    Op = "deleted"
	Kept       Op = "kept" // not deleted, and why
	Refused    Op = "failed"
	Differs    Op = "differs" // drift that was found
	Missing    Op = "missing" // drift: it does not exist
)

// Change is what was done to, or found at, one object.
type Change struct {
	Object  Object
	Op      Op
	Message string
	Err     error
	Fields  []FieldChange // of drift
}

// FieldChange is a field whose live value is not that of the release.
type FieldChange struct {
	Path       string // JSON pointer
	Live, Want string // JSON, clipped; "***" in Secrets, empty where there is none
}

// HookResult is what became of a hook.
type HookResult struct {
	Event     string
	Object    Object
	Phase     string // Succeeded, Failed or Unknown
	Message   string
	Started   time.Time
	Completed time.Time
}

// Event is progress: an action that begins or ends, with the state so far, which a
// caller may store in case it is killed.
type Event struct {
	Release string
	Action  Action
	Done    bool
	Message string
	State   State
}

// maxLog is how many lines of a step are kept.
const maxLog = 40

func (s *Step) logf(format string, args ...any) {
	s.Log = append(s.Log, clip.Quote(fmt.Sprintf(format, args...), maxMessage))
	if len(s.Log) > maxLog {
		s.Log = s.Log[1:]
	}
}
