// Command ours is our side of the benchmarks of ssa.
package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

func main() {
	side.Main(map[string]side.Setup{
		"ssa/noop-1000":          revise(1000, 0),
		"ssa/noop-10000":         revise(10_000, 0),
		"ssa/noop-10000-watched": reviseWith(newWatcher, 10_000, 0),
		"ssa/one-in-10000":       reviseWith(newWatcher, 10_000, 1),
		"ssa/create-1000":        create(1000),
		"ssa/change-1000":        revise(1000, 1000),
		"ssa/delete-1000":        remove(1000),
		"ssa/wait-1000":          wait(1000, 100),
	})
}

const owner = "bench"

// reconciler applies with the inventory of the time before.
type reconciler struct {
	cfg       *rest.Config
	namespace string
	applier   *ssa.Applier
	inventory gc.Inventory
}

// newReconciler returns one for a namespace of its own.
func newReconciler(ctx context.Context, env side.Env) (*reconciler, error) {
	cfg, err := cluster.Config(env)
	if err != nil {
		return nil, err
	}
	namespace, err := cluster.NewNamespace(ctx, cfg)
	if err != nil {
		return nil, err
	}
	applier, err := ssa.New(cfg, ssa.Options{Manager: "bench"})
	return &reconciler{cfg: cfg, namespace: namespace, applier: applier}, err
}

// newWatcher returns one whose applier keeps watches.
func newWatcher(ctx context.Context, env side.Env) (*reconciler, error) {
	r, err := newReconciler(ctx, env)
	if err != nil {
		return nil, err
	}
	_, err = r.applier.Watch(ctx, ssa.WatchOptions{})
	return r, err
}

func (r *reconciler) apply(ctx context.Context, list []*unstructured.Unstructured) (*ssa.Result, error) {
	res, err := r.applier.Apply(ctx, list, ssa.ApplyOptions{Owner: owner, Previous: r.inventory})
	if err != nil {
		return nil, err
	}
	r.inventory = res.Entries
	return res, nil
}

// did holds that so many objects were written, in the way that is expected, and
// that the others were left alone.
func did(res *ssa.Result, action ssa.Action, written, all int) error {
	for _, change := range res.Changes {
		if change.Action != action && change.Action != ssa.Unchanged {
			return fmt.Errorf("%v was %v", change.Key, change.Action)
		}
	}
	if err := work.Expect(len(res.Changes)-res.Count(ssa.Unchanged), written); err != nil {
		return err
	}
	return work.Expect(len(res.Changes), all)
}
