// Command ours is our side of the benchmarks of conditions.
package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/bench/conditions/app"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/conditions"
	"github.com/gitopskit/gitopskit/conditions/dynamicclient"
)

func main() {
	side.Main(map[string]side.Setup{"conditions/patch": patch})
}

// patch reports a new revision as often as a round does.
func patch(ctx context.Context, env side.Env) (side.Work, error) {
	beside, err := cluster.Uncounted(env)
	if err != nil {
		return side.Work{}, err
	}
	namespace, err := cluster.NewNamespace(ctx, beside)
	if err != nil {
		return side.Work{}, err
	}
	obj, err := app.Create(ctx, beside, namespace)
	if err != nil {
		return side.Work{}, err
	}
	cfg, err := cluster.Config(env)
	if err != nil {
		return side.Work{}, err
	}
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return side.Work{}, err
	}
	client := dynamicclient.New(c, app.Resource, dynamicclient.Options{FieldManager: "bench"})
	if err := client.Get(ctx, obj); err != nil {
		return side.Work{}, err
	}
	round := 0
	return side.Work{Do: func(ctx context.Context) error {
		round++
		for i := range app.Changes {
			patcher, err := conditions.NewPatcher(obj, conditions.PatchOptions{})
			if err != nil {
				return err
			}
			obj.Status.Revision = fmt.Sprintf("main@sha1:%d-%d", round, i)
			conditions.MarkReady(obj, "Succeeded", "applied "+obj.Status.Revision, time.Now())
			if _, err := patcher.Patch(ctx, client); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}
