// Command ours is our side of the benchmarks of helm.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing/fstest"
	"time"

	"github.com/gitopskit/gitopskit/bench/helm/charts"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/helm"
	"github.com/gitopskit/gitopskit/helm/release"
)

func main() {
	side.Main(map[string]side.Setup{
		"helm/noop-100":        noop(100),
		"helm/install-podinfo": install,
		"helm/upgrade-podinfo": upgrade,
	})
}

// keeper keeps releases of one chart in a namespace of its own.
type keeper struct {
	engine *release.Engine
	spec   release.Spec
	states map[string]release.State
}

func newKeeper(ctx context.Context, env side.Env) (*keeper, error) {
	cfg, err := cluster.Config(env)
	if err != nil {
		return nil, err
	}
	namespace, err := cluster.NewNamespace(ctx, cfg)
	if err != nil {
		return nil, err
	}
	tree := fstest.MapFS{}
	for name, text := range charts.Podinfo() {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	chart, err := helm.Load(ctx, tree, ".", helm.LoadOptions{})
	if err != nil {
		return nil, err
	}
	engine, err := release.New(cfg, release.Options{})
	return &keeper{engine: engine, spec: release.Spec{Name: "podinfo", Namespace: namespace, Chart: chart, Timeout: time.Minute},
		states: map[string]release.State{}}, err
}

// reconcile reconciles a release, and expects so many actions.
func (k *keeper) reconcile(ctx context.Context, name string, actions int) error {
	spec := k.spec
	spec.Name = name
	result, err := k.engine.Reconcile(ctx, spec, k.states[name])
	if err != nil {
		return err
	}
	k.states[name] = result.State
	if result.Left != release.InSync {
		return fmt.Errorf("release %s is %s", name, result.Left)
	}
	return work.Expect(len(result.Steps), actions)
}

// noop finds that nothing changed in any of the releases.
func noop(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		k, err := newKeeper(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		k.spec.Wait.Disable = true // there are no pods
		for i := range count {
			if err := k.reconcile(ctx, "podinfo-"+strconv.Itoa(i), 1); err != nil {
				return side.Work{}, err
			}
		}
		return side.Work{Do: func(ctx context.Context) error {
			for i := range count {
				if err := k.reconcile(ctx, "podinfo-"+strconv.Itoa(i), 0); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	}
}

// install installs until all is deployed and ready.
func install(ctx context.Context, env side.Env) (side.Work, error) {
	k, err := newKeeper(ctx, env)
	if err != nil {
		return side.Work{}, err
	}
	return side.Work{
		Do: func(ctx context.Context) error { return k.reconcile(ctx, "podinfo", 1) },
		Finish: func(ctx context.Context) error {
			result, err := k.engine.Uninstall(ctx, k.spec, k.states["podinfo"])
			if err != nil {
				return err
			}
			if result.Found == release.Absent {
				return errors.New("it was not installed")
			}
			delete(k.states, "podinfo")
			return nil
		},
	}, nil
}

// upgrade rolls a change out until all is deployed and ready.
func upgrade(ctx context.Context, env side.Env) (side.Work, error) {
	k, err := newKeeper(ctx, env)
	if err != nil {
		return side.Work{}, err
	}
	if err := k.reconcile(ctx, "podinfo", 1); err != nil {
		return side.Work{}, err
	}
	revision := 0
	return side.Work{Do: func(ctx context.Context) error {
		revision++
		k.spec.Values = map[string]any{"ui": map[string]any{"message": strconv.Itoa(revision)}}
		return k.reconcile(ctx, "podinfo", 1)
	}}, nil
}
