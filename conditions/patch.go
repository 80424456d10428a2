package conditions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Object is an API object with conditions at .status.conditions: any type that
// embeds [metav1.TypeMeta] and [metav1.ObjectMeta], has DeepCopyObject, and the two
// methods of [Setter].
type Object interface {
	metav1.Object
	runtime.Object
	Setter
}

// Client writes objects to an API server. Every client library is a few lines away
// from it; see the examples for controller-runtime, and the package
// conditions/dynamic for client-go.
type Client interface {
	// Get replaces obj by what the server has, not a cache.
	Get(ctx context.Context, obj Object) error
	// Patch sends a JSON merge patch for obj, or for its subresource if that is not
	// empty, and replaces obj by the answer. An error that the server gave has a method
	// Status() metav1.Status somewhere in its chain, as those of client-go have.
	Patch(ctx context.Context, obj Object, patch []byte, subresource string) error
}

// PatchOptions configure a [Patcher]. The zero value is ready to use.
type PatchOptions struct {
	// Owned names condition types that are this controller's alone: where somebody
	// else changed one of them as well, theirs is overwritten. [Ready], [Reconciling]
	// and [Stalled] always are.
	Owned []string
	// Attempts bounds how often a write is tried when others write in between. Zero
	// means [DefaultAttempts].
	Attempts int
}

// DefaultAttempts is how often a [Patcher] tries by default.
const DefaultAttempts = 5

// PatchResult says what a patch did, also where it failed in the end.
type PatchResult struct {
	Requests int  // that were sent: none if nothing had changed
	Body     bool // metadata, spec or the like were written
	Status   bool // the status was written
}

// ConflictError says that a condition was changed by this controller and by
// somebody else at once, and is not owned by this one. Reconciling again solves it.
type ConflictError struct {
	Object string // kind, namespace and name
	Type   string // of the condition
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: condition %s was changed by somebody else in the meantime: reconcile again, or own it", e.Object, e.Type)
}

// Patcher writes what a reconciliation changed on an object, in the fewest
// requests: none if nothing changed, one for the status, one more if metadata or
// spec changed too.
//
// Only fields that changed are sent. Conditions, finalizers and owners that others
// wrote in the meantime stay: a write that would overwrite them is refused by the
// server, and done again on top of theirs.
//
// A Patcher is for one object and one goroutine.
type Patcher struct {
	obj   Object
	was   *state
	owned []string
	most  int
}

// NewPatcher remembers the object as it is. Call it before the first change, right
// after the object was read.
func NewPatcher(obj Object, opts PatchOptions) (*Patcher, error) {
	if obj.GetResourceVersion() == "" {
		return nil, fmt.Errorf("patch %s: it has no resource version: read it from the server first", nameOf(obj))
	}
	was, err := stateOf(obj)
	if err != nil {
		return nil, fmt.Errorf("patch %s: %w", nameOf(obj), err)
	}
	return &Patcher{
		obj: obj, was: was,
		owned: append([]string{Ready, Reconciling, Stalled}, opts.Owned...),
		most:  cmp.Or(opts.Attempts, DefaultAttempts),
	}, nil
}

// Patch writes what changed since [NewPatcher], or since the last Patch that
// succeeded. Afterwards the object has its new resource version and generation, and
// the conditions that others wrote.
func (p *Patcher) Patch(ctx context.Context, c Client) (PatchResult, error) {
	var res PatchResult
	err := p.patch(ctx, c, &res)
	if err != nil {
		return res, fmt.Errorf("patch %s: %w", nameOf(p.obj), err)
	}
	return res, nil
}

func (p *Patcher) patch(ctx context.Context, c Client, res *PatchResult) error {
	want, err := stateOf(p.obj)
	if err != nil {
		return err
	}
	w := &write{patcher: p, client: c, want: want, latest: p.was, res: res}
	if res.Body, err = w.send(ctx, "", w.body); err != nil {
		return err
	}
	if res.Status, err = w.send(ctx, "status", w.status); err != nil {
		return err
	}
	p.obj.SetResourceVersion(w.latest.version)
	p.obj.SetGeneration(w.latest.generation)
	if merged, err := w.conditions(); err == nil {
		replace(p.obj, p.obj.GetConditions(), merged)
	}
	p.was, err = stateOf(p.obj)
	return err
}

// write is one call of Patch.
type write struct {
	patcher *Patcher
	client  Client
	want    *state
	latest  *state // what the server is known to have
	res     *PatchResult
}

// send writes one resource, again on top of what others wrote while that is in the
// way, and reports whether there was anything to write.
func (w *write) send(ctx context.Context, subresource string, patch func() ([]byte, error)) (bool, error) {
	for attempt := 1; ; attempt++ {
		data, err := patch()
		if err != nil || data == nil {
			return false, err
		}
		err = w.request(func(obj Object) error { return w.client.Patch(ctx, obj, data, subresource) })
		if err == nil {
			return true, nil
		}
		if !isConflict(err) || attempt == w.patcher.most {
			return false, err
		}
		if err := pause(ctx, attempt); err != nil {
			return false, err
		}
		if err := w.request(func(obj Object) error { return w.client.Get(ctx, obj) }); err != nil {
			return false, err
		}
	}
}

// request sends one request, for a copy: the answer would overwrite what is still to
// be written.
func (w *write) request(do func(Object) error) error {
	obj, ok := w.patcher.obj.DeepCopyObject().(Object)
	if !ok {
		return errors.New("its DeepCopyObject returns another type")
	}
	w.res.Requests++
	if err := do(obj); err != nil {
		return err
	}
	latest, err := stateOf(obj)
	if err != nil {
		return err
	}
	if latest.uid != w.want.uid {
		return fmt.Errorf("it was deleted, and made anew with uid %s", latest.uid)
	}
	w.latest = latest
	return nil
}

func isConflict(err error) bool {
	var answer interface{ Status() metav1.Status }
	return errors.As(err, &answer) && answer.Status().Reason == metav1.StatusReasonConflict
}

// pause waits longer each time, and never the same time as another writer.
func pause(ctx context.Context, attempt int) error {
	longest := 20 * time.Millisecond << attempt
	timer := time.NewTimer(longest/2 + rand.N(longest/2)) //nolint:gosec // nothing depends on it
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func nameOf(obj Object) string {
	kind := cmp.Or(obj.GetObjectKind().GroupVersionKind().Kind, fmt.Sprintf("%T", obj))
	if obj.GetNamespace() == "" {
		return kind + " " + obj.GetName()
	}
	return kind + " " + obj.GetNamespace() + "/" + obj.GetName()
}
