package main

import (
	"context"
	"time"

	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
	"github.com/gitopskit/gitopskit/bench/ssa/rollout"
	"github.com/gitopskit/gitopskit/ssa"
)

// wait waits for Deployments, so many of which roll out. What counts is the time
// after the last of them was healthy.
func wait(count, changed int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		r, err := newReconciler(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		observer, err := cluster.Uncounted(env)
		if err != nil {
			return side.Work{}, err
		}
		if _, err := r.apply(ctx, objects.Deployments(r.namespace, count)); err != nil {
			return side.Work{}, err
		}
		all := func(ctx context.Context) error {
			_, err := r.applier.Wait(ctx, r.inventory, ssa.WaitOptions{Owner: owner})
			return err
		}
		if err := rollout.Settle(ctx, observer, r.namespace); err != nil {
			return side.Work{}, err
		}
		var server *rollout.Rollout
		var lag time.Duration
		revision := 0
		return side.Work{
			Prepare: func(ctx context.Context) error {
				revision++
				list := objects.Deployments(r.namespace, count)
				if err := objects.Revise(list, changed, revision); err != nil {
					return err
				}
				if _, err := r.apply(ctx, list); err != nil {
					return err
				}
				server, err = rollout.Watch(ctx, observer, r.namespace)
				return err
			},
			Do: func(ctx context.Context) error {
				lag, err = server.Lag(func() error { return all(ctx) })
				return err
			},
			Took: func() time.Duration { return lag },
		}, nil
	}
}
