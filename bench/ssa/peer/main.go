// Command peer is the peer's side of the benchmarks of ssa.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/clusterreader"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	flux "github.com/fluxcd/pkg/ssa"
	"golang.org/x/sync/errgroup"
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
		"ssa/noop-1000":          revise(1000, 0),
		"ssa/noop-10000":         revise(10_000, 0),
		"ssa/noop-10000-watched": revise(10_000, 0),
		"ssa/one-in-10000":       revise(10_000, 1),
		"ssa/create-1000":        create(1000),
		"ssa/change-1000":        revise(1000, 1000),
		"ssa/delete-1000":        remove(1000),
		"ssa/wait-1000":          wait(1000, 100),
	})
}

const manager = "bench"

// reconciler applies with the concurrency at which the peer is fastest.
type reconciler struct {
	cfg       *rest.Config
	client    client.Client
	namespace string
	manager   *flux.ResourceManager
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
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return nil, err
	}
	// Its cache of what it lists makes a poll of many Deployments take minutes: for
	// each it goes through all. Without, it asks the server about each.
	poller := polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{
		ClusterReaderFactory: engine.ClusterReaderFactoryFunc(clusterreader.NewDirectClusterReader),
	})
	m := flux.NewResourceManager(c, poller, flux.Owner{Field: manager, Group: "bench.example.test"})
	return &reconciler{cfg: cfg, client: c, namespace: namespace, manager: m}, nil
}

// tune finds the best concurrency, with as many objects of the benchmark as tell
// it. They are in the cluster from then on.
func (r *reconciler) tune(ctx context.Context, count int) error {
	count = min(count, 1000)
	if err := r.put(ctx, objects.ConfigMaps(r.namespace, count)); err != nil {
		return err
	}
	best, err := fastest(ctx, []int{1, 4, 8, 16, 32}, func(ctx context.Context, concurrency int) error {
		r.manager.SetConcurrency(concurrency)
		return r.apply(ctx, objects.ConfigMaps(r.namespace, count), flux.ConfiguredAction, 0)
	})
	r.manager.SetConcurrency(best)
	return err
}

// put brings objects about as the manager does, but faster: what it applies, it
// applies one after the other.
func (r *reconciler) put(ctx context.Context, list []*unstructured.Unstructured) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, obj := range list {
		g.Go(func() error {
			return r.client.Patch(ctx, obj, client.Apply, client.ForceOwnership, client.FieldOwner(manager)) //nolint:staticcheck // as the peer does it
		})
	}
	return g.Wait()
}

// apply holds that so many objects were written, in the way that is expected, and
// that the others were left alone.
func (r *reconciler) apply(ctx context.Context, list []*unstructured.Unstructured, action flux.Action, written int) error {
	changes, err := r.manager.ApplyAllStaged(ctx, list, flux.DefaultApplyOptions())
	if err != nil {
		return err
	}
	for _, change := range changes.Entries {
		switch change.Action {
		case action:
			written--
		case flux.UnchangedAction:
		default:
			return fmt.Errorf("%s was %s", change.Subject, change.Action)
		}
	}
	if written != 0 {
		return fmt.Errorf("%d objects fewer were %s than expected", written, action)
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
