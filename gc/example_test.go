package gc_test

import (
	"context"
	"fmt"

	"github.com/gitopskit/gitopskit/gc"
)

func configMap(name string) gc.Entry {
	return gc.Entry{Key: gc.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}, Version: "v1", Resource: "configmaps"}
}

// Reconcile works with any applier and any way of deleting. Here both only tell
// what they were asked to do.
func ExampleReconcile() {
	ctx := context.Background()
	store := &gc.MemoryStore{}
	reconcile := func(want gc.Inventory) {
		report, err := gc.Reconcile(ctx, store, gc.Steps{
			Targets: want,
			Apply: func(context.Context, gc.Inventory) (gc.Inventory, error) {
				fmt.Println("apply", len(want))
				return want, nil
			},
			Prune: func(_ context.Context, gone gc.Inventory) (gc.PruneResult, error) {
				fmt.Println("prune", gone[0].Key)
				return gc.PruneResult{}, nil
			},
		})
		fmt.Println("inventory:", len(report.Inventory), "writes:", report.Writes, "error:", err)
	}
	reconcile(gc.NewInventory(configMap("settings"), configMap("banner")))
	reconcile(gc.NewInventory(configMap("settings")))
	reconcile(gc.NewInventory(configMap("settings")))
	// Output:
	// apply 2
	// inventory: 2 writes: 1 error: <nil>
	// apply 1
	// prune ConfigMap shop/banner
	// inventory: 1 writes: 1 error: <nil>
	// apply 1
	// inventory: 1 writes: 0 error: <nil>
}

func ExampleInventory_Minus() {
	before := gc.NewInventory(configMap("settings"), configMap("banner"))
	after := gc.NewInventory(configMap("settings"))
	for _, gone := range before.Minus(after) {
		fmt.Println(gone.Key)
	}
	// Output: ConfigMap shop/banner
}
