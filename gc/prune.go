package gc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// Defaults of PruneOptions.
const (
	DefaultConcurrency  = 8
	DefaultPruneTimeout = 2 * time.Minute
)

// Annotations that keep an object when it leaves its set, with the value
// "disabled". The second is the one that manifests in the field already carry.
const (
	PruneAnnotation     = "gitopskit.dev/prune"
	FluxPruneAnnotation = "kustomize.toolkit.fluxcd.io/prune"
)

// deleteAttempts bounds how often a delete is tried anew because the object
// changed between the look and the delete.
const deleteAttempts = 5

// Pruner deletes what left a set. It is safe for concurrent use.
type Pruner struct {
	client *kube.Client
}

// NewPruner returns a Pruner for the cluster and the identity of cfg. It needs
// get and delete on the types of the objects that it is given, and watch on those
// whose deletion takes time because of finalizers; nothing else.
func NewPruner(cfg *rest.Config) (*Pruner, error) {
	c, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Pruner{client: c}, nil
}

// PruneOptions says what may be deleted and how. Owner is required.
type PruneOptions struct {
	// Owner is the value of OwnerLabel that an object must carry, on the very
	// version that is deleted.
	Owner string
	// Concurrency is the number of objects deleted at a time; default 8.
	Concurrency int
	// Timeout bounds the wait for one object to be gone; default 2 minutes.
	Timeout time.Duration
	// Progress is called for each object as it is done, never concurrently.
	Progress func(Pruned)
}

// Outcome is what became of one object.
type Outcome string

// What Prune did with an object.
const (
	Deleted  Outcome = "deleted"  // deleted, and seen to be gone
	Absent   Outcome = "absent"   // it was gone already
	Orphaned Outcome = "orphaned" // left in the cluster because its annotation says so
	Foreign  Outcome = "foreign"  // left in the cluster because it is not ours (any more)
	Failed   Outcome = "failed"   // still there; Err says why
)

// Pruned is the outcome for one object.
type Pruned struct {
	Key     Key
	Outcome Outcome
	Detail  string // for Orphaned and Foreign: why
	Err     error  // for Failed
}

// PruneResult is what became of every object that Prune was given.
type PruneResult struct {
	Objects []Pruned  // in the order of deletion
	Kept    Inventory // entries that failed, to stay in the inventory and be tried again
}

// Prune deletes the objects of gone and waits until each is seen to be gone:
// first admission webhooks, then everything else, then namespaces and resource
// definitions. Each object costs two requests: one that looks at its metadata and
// one that deletes exactly that version. What fails does not stop the rest; the
// error is a *PruneError, and the result is complete in any case.
func (p *Pruner) Prune(ctx context.Context, gone Inventory, opts PruneOptions) (PruneResult, error) {
	if opts.Owner == "" {
		return PruneResult{Kept: gone}, errors.New("prune: PruneOptions.Owner is empty; name the set whose objects may be deleted")
	}
	if opts.Concurrency <= 0 {
		opts.Concurrency = DefaultConcurrency
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultPruneTimeout
	}
	var res PruneResult
	var failed []Pruned
	for _, phase := range phases(gone) {
		for i, done := range p.prunePhase(ctx, phase, opts) {
			res.Objects = append(res.Objects, done)
			if done.Outcome == Failed {
				failed = append(failed, done)
				res.Kept = append(res.Kept, phase[i])
			}
		}
	}
	res.Kept = NewInventory(res.Kept...)
	if len(failed) > 0 {
		return res, &PruneError{Failed: failed}
	}
	return res, nil
}

// phases sorts objects into what must go one after the other: a webhook whose
// backend is deleted first would refuse every later delete, and an object whose
// definition or namespace is deleted first goes without its finalizers being seen.
func phases(gone Inventory) [3]Inventory {
	var out [3]Inventory
	for _, e := range gone {
		phase := 1
		switch {
		case e.Group == "admissionregistration.k8s.io":
			phase = 0
		case e.Group == "" && e.Kind == "Namespace", e.Group == "apiextensions.k8s.io":
			phase = 2
		}
		out[phase] = append(out[phase], e)
	}
	return out
}

func (p *Pruner) prunePhase(ctx context.Context, phase Inventory, opts PruneOptions) []Pruned {
	out := make([]Pruned, len(phase))
	finished := make(chan int)
	var g errgroup.Group
	g.SetLimit(opts.Concurrency)
	go func() {
		defer close(finished)
		for i, e := range phase {
			g.Go(func() error {
				out[i] = p.pruneOne(ctx, e, opts)
				finished <- i
				return nil
			})
		}
		_ = g.Wait()
	}()
	for i := range finished {
		if opts.Progress != nil {
			opts.Progress(out[i])
		}
	}
	return out
}

func (p *Pruner) pruneOne(ctx context.Context, e Entry, opts PruneOptions) Pruned {
	fail := func(err error) Pruned { return Pruned{Key: e.Key, Outcome: Failed, Err: err} }
	t := kube.Target{GroupVersionResource: e.GVR(), Namespace: e.Namespace, Name: e.Name}
	for attempt := 1; ; attempt++ {
		meta, err := p.client.GetMetadata(ctx, t)
		switch {
		case kube.TypeNotServed(err):
			return fail(fmt.Errorf("the API server does not serve %s: %w", e.GVR(), err))
		case apierrors.IsNotFound(err):
			return Pruned{Key: e.Key, Outcome: Absent}
		case err != nil:
			return fail(err)
		}
		if outcome, why := judge(e, meta, opts.Owner); outcome != "" {
			return Pruned{Key: e.Key, Outcome: outcome, Detail: why}
		}
		propagation := metav1.DeletePropagationBackground
		done, err := p.client.Delete(ctx, t, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &meta.UID, ResourceVersion: &meta.ResourceVersion},
			PropagationPolicy: &propagation,
		})
		switch {
		case apierrors.IsNotFound(err):
			return Pruned{Key: e.Key, Outcome: Absent}
		case apierrors.IsConflict(err) && attempt < deleteAttempts:
			continue // it changed since we looked: look again
		case err != nil:
			return fail(err)
		}
		if !done {
			if err := p.waitGone(ctx, t, meta, opts.Timeout); err != nil {
				return fail(err)
			}
		}
		return Pruned{Key: e.Key, Outcome: Deleted}
	}
}

// judge says why an object that is still there must not be deleted, if so.
func judge(e Entry, meta *metav1.PartialObjectMetadata, owner string) (Outcome, string) {
	for _, a := range []string{PruneAnnotation, FluxPruneAnnotation} {
		if strings.EqualFold(meta.Annotations[a], "disabled") {
			return Orphaned, "annotation " + a + ": disabled"
		}
	}
	if e.UID != "" && e.UID != meta.UID {
		return Foreign, "somebody deleted ours and made another of the same name"
	}
	if got := meta.Labels[OwnerLabel]; got != owner {
		return Foreign, fmt.Sprintf("label %s is %q, not %q", OwnerLabel, got, owner)
	}
	return "", ""
}

// waitGone watches one object until it is gone or replaced.
func (p *Pruner) waitGone(ctx context.Context, t kube.Target, meta *metav1.PartialObjectMetadata, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ri := p.client.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace)
	for {
		now, err := ri.Get(ctx, t.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && now.UID != meta.UID:
			return nil
		case ctx.Err() != nil:
			return stillThere(ctx, meta, timeout)
		case err != nil:
			return err
		}
		meta = now
		w, err := ri.Watch(ctx, metav1.ListOptions{
			FieldSelector:   fields.OneTermEqualSelector("metadata.name", t.Name).String(),
			ResourceVersion: now.ResourceVersion,
		})
		if err != nil {
			if ctx.Err() != nil {
				return stillThere(ctx, meta, timeout)
			}
			return fmt.Errorf("deleted, but its end cannot be watched: %w", err)
		}
		meta = follow(w, meta)
		w.Stop()
		if meta == nil {
			return nil
		}
		if ctx.Err() != nil {
			return stillThere(ctx, meta, timeout)
		}
	}
}

// follow reads events until the object is deleted (nil) or the watch ends.
func follow(w watch.Interface, meta *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	for ev := range w.ResultChan() {
		now, ok := ev.Object.(*metav1.PartialObjectMetadata)
		switch {
		case !ok:
			return meta
		case ev.Type == watch.Deleted:
			return nil
		}
		meta = now
	}
	return meta
}

func stillThere(ctx context.Context, meta *metav1.PartialObjectMetadata, timeout time.Duration) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if len(meta.Finalizers) > 0 {
		return fmt.Errorf("it is being deleted, and after %s finalizers still hold it: %s; their controllers must remove them: %w",
			timeout, strings.Join(meta.Finalizers, ", "), ctx.Err())
	}
	return fmt.Errorf("it is being deleted, and is still there after %s: %w", timeout, ctx.Err())
}
