// Command peer is the peer's side of the benchmarks of ssa.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	flux "github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
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
		manager, err := newManager(cfg)
		if err != nil {
			return side.Work{}, err
		}
		if _, err := manager.ApplyAllStaged(ctx, objects.ConfigMaps(namespace, count), flux.DefaultApplyOptions()); err != nil {
			return side.Work{}, err
		}
		best, err := fastest(ctx, []int{1, 4, 8, 16, 32}, func(ctx context.Context, concurrency int) error {
			manager.SetConcurrency(concurrency)
			return unchanged(ctx, manager, objects.ConfigMaps(namespace, count))
		})
		if err != nil {
			return side.Work{}, err
		}
		manager.SetConcurrency(best)
		var list []*unstructured.Unstructured
		return side.Work{
			Prepare: func(context.Context) error {
				list = objects.ConfigMaps(namespace, count)
				return nil
			},
			Do: func(ctx context.Context) error { return unchanged(ctx, manager, list) },
		}, nil
	}
}

func newManager(cfg *rest.Config) (*flux.ResourceManager, error) {
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{})
	return flux.NewResourceManager(c, poller, flux.Owner{Field: "bench", Group: "bench.example.test"}), nil
}

func unchanged(ctx context.Context, manager *flux.ResourceManager, list []*unstructured.Unstructured) error {
	changes, err := manager.ApplyAllStaged(ctx, list, flux.DefaultApplyOptions())
	if err != nil {
		return err
	}
	for _, change := range changes.Entries {
		if change.Action != flux.UnchangedAction {
			return fmt.Errorf("%s was %s, though nothing was to do", change.Subject, change.Action)
		}
	}
	return work.Expect(len(changes.Entries), len(list))
}

// fastest tries the settings and returns the one with which f took least time, so
// that a peer is measured at its best.
func fastest(ctx context.Context, settings []int, f func(context.Context, int) error) (int, error) {
	if len(settings) == 0 {
		return 0, errors.New("no settings to try")
	}
	best, least := settings[0], time.Duration(-1)
	for _, setting := range settings {
		start := time.Now()
		if err := f(ctx, setting); err != nil {
			return 0, err
		}
		if spent := time.Since(start); least < 0 || spent < least {
			best, least = setting, spent
		}
	}
	return best, nil
}
