package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// ReleaseOptions says which objects are let go. Owner is required.
type ReleaseOptions struct {
	Owner       string       // the set that lets go; as PruneOptions.Owner
	To          string       // the set that takes over; empty: none, the owner label is removed
	Manager     string       // as PruneOptions.Manager
	Concurrency int          // requests at a time; default 8
	Progress    func(Pruned) // called for each object as it is done, never concurrently
}

// Release lets objects go without deleting them, on the very version that was
// looked at: their owner label is given to another set, or removed. From then on
// Prune takes them for Foreign, and they leave the record of the set that let go.
// Call it before that set drops them. It needs get and patch, and looks at many by a
// list, as Prune does.
//
// Objects that are absent, or are not ours, are left as they are. The error is a
// *PruneError with those that could not be released; nothing happened to them.
func (p *Pruner) Release(ctx context.Context, entries Inventory, opts ReleaseOptions) (PruneResult, error) {
	po := PruneOptions{Owner: opts.Owner, Manager: opts.Manager, Concurrency: opts.Concurrency, Progress: opts.Progress}
	if err := po.check(); err != nil {
		return PruneResult{Kept: entries}, err
	}
	if err := checkOwner(opts.To); err != nil {
		return PruneResult{Kept: entries}, fmt.Errorf("release: ReleaseOptions.To %w", err)
	}
	if opts.To == opts.Owner {
		return PruneResult{Kept: entries}, errors.New("release: ReleaseOptions.To is the set that lets go; name another, or none")
	}
	ctx, r := p.begin(ctx, po)
	defer r.stop()
	r.letGo = true
	cs := candidates(NewInventory(entries...))
	r.lookAll(ctx, cs)
	each(r, cs, func(c *candidate) {
		if !c.settled {
			c.moves = opts.To
			r.handOver(ctx, c)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.report(c)
	})
	return resultOf(cs)
}

// handOver gives the object to the set that it moves to.
func (r *pruning) handOver(ctx context.Context, c *candidate) {
	if ctx.Err() != nil {
		c.ended(ctx)
		return
	}
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for attempt, delay := 1, retryDelay; ; attempt++ {
		err := r.relabel(limited, c)
		trouble := kube.Transient(err)
		switch {
		case err == nil:
			c.settle(HandedOver, handedTo(c.moves))
			return
		case attempt == deleteAttempts, trouble && attempt >= retryAttempts,
			!trouble && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err),
			trouble && pause(limited, delay) != nil:
			r.failed(ctx, c, inTime(ctx, err))
			return
		}
		delay *= 2
		if !r.see(ctx, c) { // it may have been done, and only the answer was lost
			return
		}
	}
}

func handedTo(set string) string {
	if set == "" {
		return "to nobody"
	}
	return fmt.Sprintf("to set %q", set)
}

// relabel changes the owner label of the version that was looked at.
func (r *pruning) relabel(ctx context.Context, c *candidate) error {
	t := c.target()
	if err := t.Check(); err != nil {
		return err
	}
	var owner any
	if c.moves != "" {
		owner = c.moves
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": c.meta.UID, "resourceVersion": c.meta.ResourceVersion,
		"labels": map[string]any{OwnerLabel: owner},
	}})
	if err != nil {
		return err
	}
	_, err = r.client.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace).
		Patch(ctx, t.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: managerOr(r.opts.Manager)})
	return err
}
