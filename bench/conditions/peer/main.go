// Command peer is the peer's side of the benchmarks of conditions.
package main

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/runtime/conditions"
	"github.com/fluxcd/pkg/runtime/patch"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitopskit/gitopskit/bench/conditions/app"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

const ready = "Ready"

func main() {
	side.Main(map[string]side.Setup{"conditions/patch": report})
}

// report reports a new revision as often as a round does.
func report(ctx context.Context, env side.Env) (side.Work, error) {
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
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(app.Resource.GroupVersion(), &app.App{})
	metav1.AddToGroupVersion(scheme, app.Resource.GroupVersion())
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return side.Work{}, err
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		return side.Work{}, err
	}
	round := 0
	return side.Work{Do: func(ctx context.Context) error {
		round++
		for i := range app.Changes {
			patcher := patch.NewSerialPatcher(obj, c)
			obj.Status.Revision = fmt.Sprintf("main@sha1:%d-%d", round, i)
			conditions.MarkTrue(obj, ready, "Succeeded", "applied %s", obj.Status.Revision)
			err := patcher.Patch(ctx, obj, patch.WithOwnedConditions{Conditions: []string{ready}}, patch.WithFieldOwner("bench"))
			if err != nil {
				return err
			}
		}
		return nil
	}}, nil
}
