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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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
// whose deletion takes time because of finalizers. Only for a type that is no longer
// served as it was applied does it ask which versions there are, as everyone may.
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
// first admission webhooks, then custom resources whose definition goes as well,
// then everything else, then namespaces, API services and resource definitions.
// Each object costs two requests: one that looks at its metadata and one that
// deletes exactly that version. What fails does not stop the rest; the error is a
// *PruneError, and the result is complete in any case.
//
// A namespace or a definition of an object that stays is not deleted, since that
// would delete the object: it is Orphaned with an object that is left alone, and
// Failed, to be tried again, with one that failed.
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
	gone = NewInventory(gone...) // ordered, whoever made it
	var res PruneResult
	var failed []Pruned
	stays := map[Key]Pruned{} // parents of objects that stay, and one such object
	for _, phase := range phases(gone) {
		for i, done := range p.prunePhase(ctx, phase, stays, opts) {
			res.Objects = append(res.Objects, done)
			if done.Outcome == Failed {
				failed = append(failed, done)
				res.Kept = append(res.Kept, phase[i])
			}
			if done.Outcome != Deleted && done.Outcome != Absent {
				for _, parent := range phase[i].parents() {
					if stays[parent].Outcome != Failed {
						stays[parent] = done
					}
				}
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
// backend is deleted first would refuse every later delete; a custom resource
// whose controller is deleted first keeps its finalizers for ever; and an object
// whose definition or namespace is deleted first goes without its own look.
func phases(gone Inventory) [4]Inventory {
	var out [4]Inventory
	for _, e := range gone {
		phase := 2
		switch {
		case e.Group == "admissionregistration.k8s.io":
			phase = 0
		case gone.Has(e.parents()[0]):
			phase = 1
		case e.Group == "" && e.Kind == "Namespace", e.Group == definitions, e.Group == "apiregistration.k8s.io":
			phase = 3
		}
		out[phase] = append(out[phase], e)
	}
	return out
}

func (p *Pruner) prunePhase(ctx context.Context, phase Inventory, stays map[Key]Pruned, opts PruneOptions) []Pruned {
	out := make([]Pruned, len(phase))
	finished := make(chan int)
	var g errgroup.Group
	g.SetLimit(opts.Concurrency)
	go func() {
		defer close(finished)
		for i, e := range phase {
			g.Go(func() error {
				if child, ok := stays[e.Key]; ok {
					out[i] = leave(e, child)
				} else {
					out[i] = p.pruneOne(ctx, e, opts)
				}
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

// leave is the outcome of a namespace or definition that an object stays in.
func leave(e Entry, child Pruned) Pruned {
	if child.Outcome == Failed {
		return Pruned{Key: e.Key, Outcome: Failed, Err: fmt.Errorf("not tried: deleting it would delete %s, which failed", child.Key)}
	}
	return Pruned{Key: e.Key, Outcome: Orphaned, Detail: fmt.Sprintf("deleting it would delete %s, which stays", child.Key)}
}

func (p *Pruner) pruneOne(ctx context.Context, e Entry, opts PruneOptions) Pruned {
	done, err := p.remove(ctx, e, opts)
	if kube.TypeNotServed(err) {
		done, err = p.removeElsewhere(ctx, e, opts)
	}
	if err != nil {
		if e.Group == "" && e.Kind == "Secret" && !errors.Is(err, errStillThere) {
			err = kube.Redact(err)
		}
		return Pruned{Key: e.Key, Outcome: Failed, Err: err}
	}
	done.Key = e.Key
	return done
}

// removeElsewhere removes an object whose type is no longer served as it was
// applied. Another version of it may be. If none is, the definition was deleted,
// and its objects with it: then the object is gone.
func (p *Pruner) removeElsewhere(ctx context.Context, e Entry, opts PruneOptions) (Pruned, error) {
	versions, err := p.client.Versions(ctx, e.Group)
	if err != nil {
		return Pruned{}, fmt.Errorf("ask the API server for the versions of %s: %w", e.Group, err)
	}
	for _, v := range versions {
		gv := schema.GroupVersion{Group: e.Group, Version: v}
		list, err := p.client.Resources(ctx, gv)
		if err != nil {
			return Pruned{}, fmt.Errorf("ask the API server for the types of %s: %w", gv, err)
		}
		for _, r := range list.APIResources {
			if r.Name == e.Resource && r.Kind == e.Kind && r.Namespaced == (e.Namespace != "") {
				e.Version = v
				return p.remove(ctx, e, opts)
			}
		}
	}
	return Pruned{Outcome: Absent}, nil
}

// remove deletes one object, if it is there and ours.
func (p *Pruner) remove(ctx context.Context, e Entry, opts PruneOptions) (Pruned, error) {
	t := kube.Target{GroupVersionResource: e.GVR(), Namespace: e.Namespace, Name: e.Name}
	for attempt := 1; ; attempt++ {
		meta, err := p.client.GetMetadata(ctx, t)
		switch {
		case kube.TypeNotServed(err):
			return Pruned{}, err
		case apierrors.IsNotFound(err):
			return Pruned{Outcome: Absent}, nil
		case err != nil:
			return Pruned{}, err
		}
		if outcome, why := judge(e, meta, opts.Owner); outcome != "" {
			return Pruned{Outcome: outcome, Detail: why}, nil
		}
		propagation := metav1.DeletePropagationBackground
		done, err := p.client.Delete(ctx, t, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &meta.UID, ResourceVersion: &meta.ResourceVersion},
			PropagationPolicy: &propagation,
		})
		switch {
		case apierrors.IsNotFound(err):
			return Pruned{Outcome: Absent}, nil
		case apierrors.IsConflict(err) && attempt < deleteAttempts:
			continue // it changed since we looked: look again
		case err != nil:
			return Pruned{}, err
		}
		if !done {
			err = p.waitGone(ctx, t, meta, opts.Timeout)
		}
		return Pruned{Outcome: Deleted}, err
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

// rewatchDelay keeps a server that ends each watch at once from being flooded.
const rewatchDelay = 100 * time.Millisecond

// waitGone watches one object until it is gone or replaced. It bears with a server
// in trouble until the time is up.
func (p *Pruner) waitGone(ctx context.Context, t kube.Target, meta *metav1.PartialObjectMetadata, timeout time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		now, err := p.follow(limited, t, meta.UID)
		switch {
		case err == nil && now == nil:
			return nil
		case err == nil:
			meta = now
		case ctx.Err() != nil:
			return stillThere(ctx, meta, "the prune was ended")
		case limited.Err() != nil:
			return stillThere(limited, meta, fmt.Sprintf("%s are over", timeout))
		case !kube.Transient(err):
			return fmt.Errorf("deleted, but its end cannot be watched: %w", err)
		}
		select {
		case <-limited.Done():
		case <-time.After(rewatchDelay):
		}
	}
}

// follow watches an object until it is gone (nil) or the watch ends.
func (p *Pruner) follow(ctx context.Context, t kube.Target, uid types.UID) (*metav1.PartialObjectMetadata, error) {
	meta, err := p.client.GetMetadata(ctx, t)
	if apierrors.IsNotFound(err) || err == nil && meta.UID != uid {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w, err := p.client.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", t.Name).String(),
		ResourceVersion: meta.ResourceVersion,
	})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	for ev := range w.ResultChan() {
		now, ok := ev.Object.(*metav1.PartialObjectMetadata)
		switch {
		case !ok: // an error, such as a version that is too old: look again
			return meta, nil
		case ev.Type == watch.Deleted:
			return nil, nil
		}
		meta = now
	}
	return meta, nil
}

var errStillThere = errors.New("it is being deleted")

// stillThere says what holds an object whose end was not seen.
func stillThere(ctx context.Context, meta *metav1.PartialObjectMetadata, why string) error {
	if len(meta.Finalizers) == 0 {
		return fmt.Errorf("%w, and was still there when %s: %w", errStillThere, why, context.Cause(ctx))
	}
	return fmt.Errorf("%w, and when %s finalizers still hold it: %s; their controllers must remove them: %w",
		errStillThere, why, strings.Join(meta.Finalizers, ", "), context.Cause(ctx))
}
