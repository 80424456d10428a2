package main

import (
	"context"
	"fmt"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
	"github.com/gitopskit/gitopskit/gc"
)

// remove prunes ConfigMaps that were applied before.
func remove(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		r, err := newReconciler(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		pruner, err := gc.NewPruner(r.cfg)
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{
			Prepare: func(ctx context.Context) error {
				r.inventory = nil
				_, err := r.apply(ctx, objects.ConfigMaps(r.namespace, count))
				return err
			},
			Do: func(ctx context.Context) error {
				res, err := pruner.Prune(ctx, r.inventory, gc.PruneOptions{Owner: owner, Guard: gc.Guard{Off: true}}) // the whole set goes
				if err != nil {
					return err
				}
				for _, pruned := range res.Objects {
					if pruned.Outcome != gc.Deleted {
						return fmt.Errorf("%v was %v", pruned.Key, pruned.Outcome)
					}
				}
				return work.Expect(len(res.Objects), count)
			},
		}, nil
	}
}
