package main

import (
	"context"
	"fmt"

	flux "github.com/fluxcd/pkg/ssa"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
)

// remove deletes ConfigMaps that were applied before, if they are still of the
// set. ConfigMaps are gone at once, so there is nothing to wait for.
func remove(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		r, err := newReconciler(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		opts := flux.DefaultDeleteOptions()
		opts.Inclusions = r.manager.GetOwnerLabels("set", r.namespace)
		opts.Exclusions = map[string]string{"bench.example.test/prune": "disabled"}
		return side.Work{
			Prepare: func(ctx context.Context) error {
				list := objects.ConfigMaps(r.namespace, count)
				r.manager.SetOwnerLabels(list, "set", r.namespace)
				return r.put(ctx, list)
			},
			Do: func(ctx context.Context) error {
				changes, err := r.manager.DeleteAll(ctx, objects.ConfigMaps(r.namespace, count), opts)
				if err != nil {
					return err
				}
				for _, change := range changes.Entries {
					if change.Action != flux.DeletedAction {
						return fmt.Errorf("%s was %s", change.Subject, change.Action)
					}
				}
				return work.Expect(len(changes.Entries), count)
			},
		}, nil
	}
}
