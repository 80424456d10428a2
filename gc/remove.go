package gc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	letGo   bool // Release: nothing is deleted

	crowds  map[place]*crowd
	crowded sync.WaitGroup

	mu       sync.Mutex // of what follows, and of Progress in Release
	versions map[Entry]func() (string, error)
}

// begin begins a call that ends with stop.
func (p *Pruner) begin(ctx context.Context, opts PruneOptions) (context.Context, *pruning) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &pruning{Pruner: p, opts: opts, cancel: cancel, watches: make(chan struct{}, maxWatches),
		crowds: map[place]*crowd{}, versions: map[Entry]func() (string, error){}}
}

func (r *pruning) stop() {
	r.cancel(nil)
	r.crowded.Wait()
}

// each does something for all items, so many at a time as there may be requests.
func each[T any](r *pruning, items []T, do func(T)) {
	var g errgroup.Group
	g.SetLimit(r.opts.Concurrency)
	for _, item := range items {
		g.Go(func() error {
			do(item)
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
