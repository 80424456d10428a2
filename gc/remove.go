package gc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const (
	// deleteAttempts bounds how often a delete is tried anew because the object
	// changed between the look and the delete, or because the answer was lost.
	deleteAttempts = 8
	// retryAttempts and retryDelay bound how often a request is sent to a server in
	// trouble that does not say when to come back, about two seconds. Where it does
	// (Retry-After), the client waits for that, within requestTimeout.
	retryAttempts  = 4
	retryDelay     = 100 * time.Millisecond
	requestTimeout = time.Minute
	// maxWatches bounds the objects that are watched at a time until they are gone.
	maxWatches = 100
)

// pruning is one call of Prune or Release.
type pruning struct {
	*Pruner
	opts    PruneOptions
	cancel  context.CancelCauseFunc // of the whole call
	watches chan struct{}
	letGo   bool       // Release: nothing is deleted
	mu      sync.Mutex // of Progress, in Release
}

func newPruning(p *Pruner, opts PruneOptions, cancel context.CancelCauseFunc) *pruning {
	return &pruning{Pruner: p, opts: opts, cancel: cancel, watches: make(chan struct{}, maxWatches)}
}

// each does something for all candidates, so many at a time.
func (r *pruning) each(ctx context.Context, cs []*candidate, do func(context.Context, *candidate)) {
	var g errgroup.Group
	g.SetLimit(r.opts.Concurrency)
	for _, c := range cs {
		g.Go(func() error {
			do(ctx, c)
			return nil
		})
	}
	_ = g.Wait() // none of them returns one
}

// failed settles a candidate. Where no server answers any more, it ends the call.
func (r *pruning) failed(ctx context.Context, c *candidate, err error) {
	var blocked *BlockedError
	switch {
	case errors.As(err, &blocked):
	case ctx.Err() != nil:
		err = fmt.Errorf("the prune was ended before it was done: %w", context.Cause(ctx))
	case kube.Unreachable(err):
		r.cancel(fmt.Errorf("no API server answers: %w", err))
	case c.entry.Group == "" && c.entry.Kind == "Secret":
		err = kube.Redact(err) // a refusal may quote its value
	}
	c.fail(err)
}

// look decides what is to become of a candidate.
func (r *pruning) look(ctx context.Context, c *candidate) {
	if !r.see(ctx, c) || r.opts.Elsewhere == nil {
		return
	}
	if c.moves = r.opts.Elsewhere(c.entry.Key); c.moves == r.opts.Owner {
		c.fail(errors.New("PruneOptions.Elsewhere names the set that it is leaving; return another, or \"\""))
	} else if err := checkOwner(c.moves); err != nil {
		c.fail(fmt.Errorf("PruneOptions.Elsewhere: %w", err))
	}
}

// see reads an object's metadata and settles the candidate if it is gone or must
// not be touched. It returns whether there is something to do.
func (r *pruning) see(ctx context.Context, c *candidate) bool {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := r.get(limited, c)
	err = inTime(ctx, err)
	switch {
	case err != nil:
		r.failed(ctx, c, err)
		return false
	case meta == nil:
		c.settle(Absent, "")
		return false
	}
	c.meta = meta
	if outcome, why := c.judge(r.opts, r.letGo); outcome != "" {
		c.settle(outcome, why)
		return false
	}
	if c.how, err = c.propagation(r.opts); err != nil && !r.letGo {
		c.fail(err)
		return false
	}
	c.pinned = meta.UID
	meta.ManagedFields = nil // the largest part, and no longer needed
	return true
}

// get reads an object's metadata; nil means that it is gone. Its type may no
// longer be served as it was applied, but in another version. If in none, the
// definition was deleted, and its objects with it.
func (r *pruning) get(ctx context.Context, c *candidate) (*metav1.PartialObjectMetadata, error) {
	read := func() (*metav1.PartialObjectMetadata, error) { return r.client.GetMetadata(ctx, c.target()) }
	meta, err := retry(ctx, read)
	if kube.TypeNotServed(err) {
		version, findErr := r.servedVersion(ctx, c.entry)
		if findErr != nil || version == "" {
			return nil, findErr
		}
		c.version = version
		meta, err = retry(ctx, read)
		if kube.TypeNotServed(err) {
			return nil, err
		}
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return meta, err
}

// servedVersion finds a version in which the server knows an object's type; empty
// if there is none. While a definition comes or goes, a group may name a version
// that is not there: then it asks again, and rather fails than forgets an object.
func (r *pruning) servedVersion(ctx context.Context, e Entry) (string, error) {
	for delay, attempt := retryDelay, 1; ; delay, attempt = 4*delay, attempt+1 {
		v, err := r.findVersion(ctx, e)
		if !apierrors.IsNotFound(err) || attempt == retryAttempts || pause(ctx, delay) != nil {
			return v, err
		}
	}
}

func (r *pruning) findVersion(ctx context.Context, e Entry) (string, error) {
	versions, err := retry(ctx, func() ([]string, error) { return r.client.Versions(ctx, e.Group) })
	if err != nil {
		return "", fmt.Errorf("ask the API server for the versions of %s: %w", e.Group, err)
	}
	for _, v := range versions {
		gv := schema.GroupVersion{Group: e.Group, Version: v}
		list, err := retry(ctx, func() (*metav1.APIResourceList, error) { return r.client.Resources(ctx, gv) })
		if err != nil {
			return "", fmt.Errorf("ask the API server for the types of %s: %w", gv, err)
		}
		for _, res := range list.APIResources {
			if res.Name == e.Resource && res.Kind == e.Kind && res.Namespaced == (e.Namespace != "") {
				return v, nil
			}
		}
	}
	return "", nil
}

// retry sends a request again while the server is in trouble, within bounds.
func retry[T any](ctx context.Context, send func() (T, error)) (T, error) {
	for delay, attempt := retryDelay, 1; ; delay, attempt = 4*delay, attempt+1 {
		v, err := send()
		if err == nil || attempt == retryAttempts || !kube.Transient(err) || pause(ctx, delay) != nil {
			return v, err
		}
	}
}

// inTime says that the server took too long, where that is what an error means.
func inTime(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("not answered within %s: %w", requestTimeout, err)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// remove deletes the version of an object that was looked at, and waits until it
// is gone. It calls waiting when it has no more requests to send.
func (r *pruning) remove(ctx context.Context, c *candidate, waiting func()) {
	if ctx.Err() != nil {
		c.ended(ctx)
		return
	}
	gone, err := r.deleteSeen(ctx, c)
	if err == nil && !gone && !c.settled {
		waiting()
		err = r.waitGone(ctx, c)
	}
	switch {
	case err != nil:
		r.failed(ctx, c, err)
	case !c.settled:
		c.settle(Deleted, "")
	}
}

// deleteSeen deletes an object. It looks again whenever it is not the version any
// more that was looked at, or may not be; then it may settle the candidate as well.
func (r *pruning) deleteSeen(ctx context.Context, c *candidate) (gone bool, err error) {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	sent := false // a delete that may have been carried out
	for attempt, delay := 1, retryDelay; ; attempt++ {
		if c.meta.DeletionTimestamp != nil {
			return false, nil // on its way
		}
		gone, err := r.deleteVersion(limited, c)
		trouble := kube.Transient(err)
		switch {
		case err == nil:
			return gone, nil
		case attempt == deleteAttempts, trouble && attempt >= retryAttempts,
			!trouble && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return false, inTime(ctx, err)
		case trouble:
			sent = true
			if pause(limited, delay) != nil {
				return false, inTime(ctx, err)
			}
			delay *= 4
		}
		if r.see(ctx, c) {
			continue
		}
		if sent && !c.stays() {
			c.settle(Deleted, "")
		}
		return false, nil
	}
}

func (r *pruning) deleteVersion(ctx context.Context, c *candidate) (gone bool, err error) {
	return r.client.Delete(ctx, c.target(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &c.meta.UID, ResourceVersion: &c.meta.ResourceVersion},
		PropagationPolicy: &c.how,
	})
}
