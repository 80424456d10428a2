// Command ours is our side of the benchmarks of gc.
package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/bench/gc/entries"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/gc"
)

func main() {
	side.Main(map[string]side.Setup{
		"gc/inventory-100k": inventory(100_000),
	})
}

func openStore(cfg *rest.Config, namespace string) (gc.Store, error) {
	return gc.NewConfigMapStore(cfg, namespace, "inventory", gc.StoreOptions{})
}

// inventory loads, compares and saves an inventory in which one entry changed,
// each time with a new store, as a controller does that was just started.
func inventory(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		cfg, err := cluster.Config(env)
		if err != nil {
			return side.Work{}, err
		}
		namespace, err := cluster.NewNamespace(ctx, cfg)
		if err != nil {
			return side.Work{}, err
		}
		store, err := openStore(cfg, namespace)
		if err != nil {
			return side.Work{}, err
		}
		targets := inventoryOf(entries.Make(count))
		if err := store.Save(ctx, targets); err != nil {
			return side.Work{}, err
		}
		revision, place := 0, 0
		return side.Work{
			Prepare: func(context.Context) error {
				revision++
				place = revision * 7919 % count
				store, err = openStore(cfg, namespace)
				return err
			},
			Do: func(ctx context.Context) error {
				stored, err := store.Load(ctx)
				if err != nil {
					return err
				}
				if n := len(stored.Minus(targets)) + len(targets.Minus(stored)); n != 0 {
					return fmt.Errorf("%d objects came or went, though none did", n)
				}
				targets = stored.Union([]gc.Entry{changed(stored[place], revision)})
				return store.Save(ctx, targets)
			},
			Finish: func(ctx context.Context) error {
				if store, err = openStore(cfg, namespace); err != nil {
					return err
				}
				runtime.GC() // the look at what was saved should not be the peak
				stored, err := store.Load(ctx)
				if err != nil {
					return err
				}
				if !stored.Equal(targets) {
					return errors.New("the change was not saved")
				}
				return work.Expect(len(stored), count)
			},
		}, nil
	}
}

func inventoryOf(list []entries.Entry) gc.Inventory {
	out := make([]gc.Entry, 0, len(list))
	for _, e := range list {
		out = append(out, gc.Entry{
			Key:     gc.Key{Group: e.Group, Kind: e.Kind, Namespace: e.Namespace, Name: e.Name},
			Version: e.Version, Resource: e.Resource,
			UID: types.UID(e.UID), ResourceVersion: e.ResourceVersion, Generation: e.Generation,
			Intent: e.Intent, Owned: e.Owned,
		})
	}
	return gc.NewInventory(out...)
}

// changed is an entry after a change of its object.
func changed(e gc.Entry, revision int) gc.Entry {
	next := entries.Change(entries.Entry{}, revision)
	e.ResourceVersion, e.Generation, e.Intent = next.ResourceVersion, next.Generation, next.Intent
	return e
}
