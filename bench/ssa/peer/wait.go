package main

import (
	"context"
	"time"

	flux "github.com/fluxcd/pkg/ssa"

	"github.com/fluxcd/cli-utils/pkg/object"

	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
	"github.com/gitopskit/gitopskit/bench/ssa/rollout"
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
		list := objects.Deployments(r.namespace, count)
		if err := r.put(ctx, list); err != nil {
			return side.Work{}, err
		}
		set := object.UnstructuredSetToObjMetadataSet(list)
		all := func(ctx context.Context) error {
			// Every two seconds, as its own apply does; its default is five.
			return r.manager.WaitForSetWithContext(ctx, set, flux.WaitOptions{Interval: 2 * time.Second, Timeout: 5 * time.Minute})
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
				if err := r.put(ctx, list); err != nil {
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
