// Command ours is our side of the benchmarks of ssa.
package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

func main() {
	side.Main(map[string]side.Setup{
		"ssa/noop-1000": noop(1000),
	})
}

// noop is a reconcile with nothing to do: ConfigMaps that are in the cluster
// already, in one namespace, and are found to be as they should.
func noop(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		cfg, err := cluster.Config(env)
		if err != nil {
			return side.Work{}, err
		}
		namespace, err := cluster.NewNamespace(ctx, cfg)
		if err != nil {
			return side.Work{}, err
		}
		applier, err := ssa.New(cfg, ssa.Options{Manager: "bench"})
		if err != nil {
			return side.Work{}, err
		}
		r := &reconciler{applier: applier}
		if _, err := r.apply(ctx, objects.ConfigMaps(namespace, count)); err != nil {
			return side.Work{}, err
		}
		var list []*unstructured.Unstructured
		return side.Work{
			Prepare: func(context.Context) error {
				list = objects.ConfigMaps(namespace, count)
				return nil
			},
			Do: func(ctx context.Context) error { return r.unchanged(ctx, list) },
		}, nil
	}
}

// reconciler applies with the inventory of the time before.
type reconciler struct {
	applier   *ssa.Applier
	inventory gc.Inventory
}

func (r *reconciler) apply(ctx context.Context, list []*unstructured.Unstructured) (*ssa.Result, error) {
	res, err := r.applier.Apply(ctx, list, ssa.ApplyOptions{Owner: "bench", Previous: r.inventory})
	if err != nil {
		return nil, err
	}
	r.inventory = res.Entries
	return res, nil
}

func (r *reconciler) unchanged(ctx context.Context, list []*unstructured.Unstructured) error {
	res, err := r.apply(ctx, list)
	if err != nil {
		return err
	}
	for _, change := range res.Changes {
		if change.Action != ssa.Unchanged {
			return fmt.Errorf("%v was %v, though nothing was to do", change.Key, change.Action)
		}
	}
	return work.Expect(len(res.Changes), len(list))
}
