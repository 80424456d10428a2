package gc

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// BlockedError says that an object is being deleted and was still there at the
// end of the wait, and what holds it. It stays on record.
type BlockedError struct {
	Key        Key
	Finalizers []string // their controllers must remove them
	// Conditions are what a namespace or definition says of its deletion: which
	// objects are left in it, and which finalizers hold them.
	Conditions []string
	Why        string // why the wait ended
	Err        error  // the context's
}

func (e *BlockedError) Error() string {
	msg := "it is being deleted, and was still there when " + e.Why
	if len(e.Finalizers) > 0 {
		msg = fmt.Sprintf("it is being deleted, and when %s finalizers still hold it: %s; their controllers must remove them",
			e.Why, strings.Join(e.Finalizers, ", "))
	}
	if len(e.Conditions) > 0 {
		msg += "; it says: " + strings.Join(e.Conditions, " ")
	}
	return fmt.Sprintf("%s: %v", msg, e.Err)
}

// Unwrap returns why the wait ended.
func (e *BlockedError) Unwrap() error { return e.Err }

const (
	// rewatchDelay keeps a server that ends each watch at once from being flooded; it
	// grows to pollDelay.
	rewatchDelay = 100 * time.Millisecond
	// pollDelay is how often an identity asks that may not watch.
	pollDelay = 2 * time.Second
	// lookTimeout bounds a question what blocks a deletion, after its time is up.
	lookTimeout = 5 * time.Second
	// maxBlockers bounds the finalizers and conditions that are named.
	maxBlockers = 20
)

// waitGone waits until an object is gone or replaced. It bears with a server in
// trouble until the time is up.
func (r *pruning) waitGone(ctx context.Context, c *candidate) error {
	limited, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if r.waitInCrowd(ctx, limited.Done(), c) {
		return nil
	}
	meta, mayWatch := c.meta, true
	for delay := rewatchDelay; limited.Err() == nil; delay = min(2*delay, pollDelay) {
		now, err := r.follow(limited, c, mayWatch)
		switch {
		case err == nil && now == nil:
			return nil
		case err == nil:
			meta = now
		case limited.Err() != nil:
		case apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err):
			if !mayWatch {
				return fmt.Errorf("deleted, but its end cannot be seen: %w", err)
			}
			mayWatch = false
			continue
		case !kube.Transient(err):
			return fmt.Errorf("deleted, but its end cannot be watched: %w", err)
		}
		if !mayWatch {
			delay = pollDelay
		}
		_ = pause(limited, delay) // the loop sees that it is over
	}
	return r.overdue(ctx, c, meta)
}

// overdue looks for the last time at an object whose end was not seen, and says
// what holds it.
func (r *pruning) overdue(ctx context.Context, c *candidate, meta *metav1.PartialObjectMetadata) error {
	if ctx.Err() != nil {
		return blocked(c, meta, "the prune was ended", context.Cause(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	now, err := r.still(limited, c)
	if err == nil && now == nil {
		return nil
	}
	if err == nil {
		meta = now
	}
	e := blocked(c, meta, fmt.Sprintf("%s were over", r.opts.Timeout), context.DeadlineExceeded)
	if c.phase == phaseParents {
		e.Conditions = r.conditions(ctx, c.target())
	}
	return e
}

// still reads the metadata of an object on its way; nil means that it is gone.
func (r *pruning) still(ctx context.Context, c *candidate) (*metav1.PartialObjectMetadata, error) {
	meta, err := r.client.GetMetadata(ctx, c.target())
	if apierrors.IsNotFound(err) || err == nil && meta.UID != c.meta.UID {
		return nil, nil
	}
	return meta, err
}

// follow watches an object until it is gone (nil) or the watch ends. The watch
// begins before the look, so that nothing is missed between them: one from the
// version of the object may be refused as too old.
func (r *pruning) follow(ctx context.Context, c *candidate, mayWatch bool) (*metav1.PartialObjectMetadata, error) {
	if !mayWatch {
		return r.still(ctx, c)
	}
	select {
	case r.watches <- struct{}{}:
		defer func() { <-r.watches }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t := c.target()
	w, err := r.client.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", t.Name).String(),
	})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	meta, err := r.still(ctx, c)
	if meta == nil || err != nil {
		return nil, err
	}
	for ev := range w.ResultChan() {
		now, ok := ev.Object.(*metav1.PartialObjectMetadata)
		switch {
		case !ok: // an error: look again
			return meta, nil
		case ev.Type == watch.Deleted || now.UID != c.meta.UID:
			return nil, nil
		}
		meta = now
	}
	return meta, nil
}

// blocked says what holds an object whose end was not seen.
func blocked(c *candidate, meta *metav1.PartialObjectMetadata, why string, cause error) *BlockedError {
	return &BlockedError{
		Key: c.entry.Key, Finalizers: meta.Finalizers[:min(maxBlockers, len(meta.Finalizers))],
		Why: why, Err: cause,
	}
}

// conditions reads what a namespace or definition says of its own deletion. It is
// one more request, and what it is for is lost with it.
func (r *pruning) conditions(ctx context.Context, t kube.Target) []string {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	u, err := r.client.Get(ctx, t)
	if err != nil {
		return nil
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var said []string
	for _, item := range list {
		cond, _ := item.(map[string]any)
		name, _ := cond["type"].(string)
		text, _ := cond["message"].(string)
		about := strings.HasPrefix(name, "Namespace") || name == "Terminating"
		if about && cond["status"] == "True" && text != "" && len(said) < maxBlockers {
			said = append(said, clip.Quote(text, maxQuoted))
		}
	}
	return said
}
