package gc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"

	"k8s.io/client-go/rest"

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

// A render that came out empty: nothing is deleted without a confirmation, which
// holds for exactly what the error names.
func ExampleGuardError() {
	// A stand-in for an API server on which all objects are there and ours.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodDelete {
			fmt.Println("deleted", path.Base(r.URL.Path))
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
			return
		}
		fmt.Fprintf(w, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",
			"metadata":{"name":%q,"uid":"1","resourceVersion":"1","labels":{"gitopskit.dev/owner":"shop"}}}`, path.Base(r.URL.Path))
	}))
	defer server.Close()
	pruner, err := gc.NewPruner(&rest.Config{Host: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	store := &gc.MemoryStore{}
	if err := store.Save(ctx, gc.NewInventory(configMap("settings"), configMap("banner"))); err != nil {
		fmt.Println(err)
		return
	}
	steps := gc.Steps{
		Apply:        func(context.Context, gc.Inventory) (gc.Inventory, error) { return nil, nil },
		Pruner:       pruner,
		PruneOptions: gc.PruneOptions{Owner: "shop", Concurrency: 1},
	}
	_, err = gc.Reconcile(ctx, store, steps)
	var refused *gc.GuardError
	if errors.As(err, &refused) {
		fmt.Println(refused.Reasons[0])
		fmt.Println("would go:", refused.Objects)
	}

	steps.PruneOptions.Confirm = refused.Confirm // somebody said that it is meant
	report, err := gc.Reconcile(ctx, store, steps)
	fmt.Println("inventory:", len(report.Inventory), "error:", err)
	// Output:
	// nothing would be left of set "shop"
	// would go: [ConfigMap shop/banner ConfigMap shop/settings]
	// deleted banner
	// deleted settings
	// inventory: 0 error: <nil>
}
