package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// Defaults of PruneOptions.
const (
	DefaultConcurrency  = 8
	DefaultPruneTimeout = 2 * time.Minute
	DefaultManager      = "gitopskit" // the field manager of ssa.Applier, unless told otherwise
)

// Pruner deletes what left a set. It is safe for concurrent use.
type Pruner struct {
	client *kube.Client
	many   int // objects of one place that are listed and watched together
}

// NewPruner returns a Pruner for the cluster and the identity of cfg. It needs
// get and delete on the types of the objects that it is given, patch to hand them
// over, and watch on those whose deletion takes time because of finalizers (without
// it, it asks every two seconds). With list, it costs half of the requests. Only for a type that is no longer served as it was
// applied does it ask which versions there are, as everyone may.
func NewPruner(cfg *rest.Config) (*Pruner, error) {
	c, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Pruner{client: c, many: listFrom}, nil
}

// PruneOptions says what may be deleted and how. Owner is required.
type PruneOptions struct {
	// Owner is the value of OwnerLabel that an object must carry, on the very
	// version that is deleted.
	Owner string
	// Manager is the field manager that applies the set. Where the record of an
	// object is older than the object, because the answer to an apply was lost, what
	// this manager applied is ours, and nothing else. Empty means DefaultManager, and
	// that an object without a recorded UID is ours by its label alone.
	Manager string
	// Set is the size of the set before and after; Reconcile fills it in. Without
	// it the guard does not know shares, and takes any for too large.
	Set SetSize
	// Guard says what is not deleted without Confirm. Its zero value is on.
	Guard Guard
	// Confirm is the Confirm of a GuardError, and lets exactly the deletions pass
	// that it names.
	Confirm string
	// Elsewhere names the set that an object moves to, or "" for none: the object
	// is not deleted but given that set's owner label, and leaves this record. A
	// program that manages several sets looks it up in the others' targets. It is
	// called concurrently.
	Elsewhere func(Key) string
	// Propagation is what becomes of an object's dependents: background (the
	// default), foreground (they go first) or orphan (they stay). The object's
	// annotation PropagationAnnotation goes before it.
	Propagation metav1.DeletionPropagation
	// Concurrency is the number of requests at a time; default 8.
	Concurrency int
	// Timeout bounds the wait for one object to be gone, once the server has
	// accepted its deletion; default 2 minutes.
	Timeout time.Duration
	// Progress is called for each object as it is done, never concurrently.
	Progress func(Pruned)
}

// SetSize counts the objects of a set on record before and after it changed. The
// zero value means unknown.
type SetSize struct{ Before, After int }

// Outcome is what became of one object.
type Outcome string

// What Prune did with an object.
const (
	Deleted    Outcome = "deleted"     // deleted, and seen to be gone
	Absent     Outcome = "absent"      // it was gone already
	Orphaned   Outcome = "orphaned"    // left in the cluster because its metadata says so
	Foreign    Outcome = "foreign"     // left in the cluster because it is not ours (any more)
	HandedOver Outcome = "handed over" // left in the cluster, and no longer ours
	Failed     Outcome = "failed"      // still there; Err says why
)

// Pruned is the outcome for one object.
type Pruned struct {
	Key     Key
	Outcome Outcome
	Detail  string // for Orphaned, Foreign and HandedOver: why
	Err     error  // for Failed
}

// PruneResult is what became of every object that Prune was given.
type PruneResult struct {
	Objects []Pruned  // in the order of deletion; none where the guard refused
	Kept    Inventory // entries that failed, to stay in the inventory and be tried again
}

// Prune deletes the objects of gone and waits until each is seen to be gone.
// Each object costs one request, which deletes exactly the version that was looked
// at, and where fewer than ten go of one type and namespace, or listing them is
// refused, one for the look at its metadata. Where ten or more go, one list tells.
//
// First all are looked at. What then is to be deleted must pass the guard: else
// nothing is done, and the error is a *GuardError that names what would go and how
// to confirm it.
//
// Then they are deleted: first admission webhooks, then custom resources whose
// definition goes as well, then everything else, then namespaces, API services and
// resource definitions; and within these an object after those whose annotation
// config.kubernetes.io/depends-on names it. What fails does not stop the rest,
// unless no API server answers any more; the error is a *PruneError, and the result
// is complete in any case.
//
// A namespace or a definition of an object that stays is not deleted, since that
// would delete the object: it is Orphaned with an object that is left alone, and
// Failed, to be tried again, with one that failed. So is an object on which one
// depends that failed.
//
// A server that is overloaded or in trouble is asked again, after the time that it
// asks for, within a minute. A refusal is final until the next Prune.
func (p *Pruner) Prune(ctx context.Context, gone Inventory, opts PruneOptions) (PruneResult, error) {
	if err := opts.check(); err != nil {
		return PruneResult{Kept: gone}, err
	}
	gone = NewInventory(gone...) // ordered, whoever made it
	ctx, r := p.begin(ctx, opts)
	defer r.stop()
	cs := candidates(gone)
	r.lookAll(ctx, cs)
	settleParents(cs)
	if err := opts.Guard.check(cs, opts); err != nil && ctx.Err() == nil {
		return PruneResult{Kept: gone}, err
	}
	r.delete(ctx, cs)
	return resultOf(cs)
}

func (o *PruneOptions) check() error {
	if o.Owner == "" {
		return errors.New("prune: PruneOptions.Owner is empty; name the set whose objects may be deleted")
	}
	switch o.Propagation {
	case "":
		o.Propagation = metav1.DeletePropagationBackground
	case metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan:
	default:
		return fmt.Errorf("prune: PruneOptions.Propagation is %q; it must be %s, %s or %s", o.Propagation,
			metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultPruneTimeout
	}
	return nil
}

// checkOwner says whether a name can be the value of OwnerLabel.
func checkOwner(name string) error {
	if why := validation.IsValidLabelValue(name); len(why) > 0 {
		return fmt.Errorf("%q is no label value: %s", name, why[0])
	}
	return nil
}

// resultOf collects what became of the candidates, in the order of deletion.
func resultOf(cs []*candidate) (PruneResult, error) {
	var res PruneResult
	var failed, held []Pruned // causes before consequences
	for phase := range phaseCount {
		for _, c := range cs {
			if c.phase != phase {
				continue
			}
			res.Objects = append(res.Objects, c.done)
			if c.done.Outcome != Failed {
				continue
			}
			res.Kept = append(res.Kept, c.entry)
			if c.heldBy == nil {
				failed = append(failed, c.done)
			} else {
				held = append(held, c.done)
			}
		}
	}
	res.Kept = NewInventory(res.Kept...)
	if failed = append(failed, held...); len(failed) > 0 {
		return res, &PruneError{Failed: failed}
	}
	return res, nil
}
