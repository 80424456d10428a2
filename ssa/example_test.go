package ssa_test

import (
	"context"
	"fmt"
	"log"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// A controller keeps the Applier, and hands each Apply the inventory of the last.
func Example() {
	reconcile := func(ctx context.Context, cfg *rest.Config, objects []*unstructured.Unstructured, last gc.Inventory) gc.Inventory {
		applier, err := ssa.New(cfg, ssa.Options{Manager: "shop-controller"})
		if err != nil {
			log.Fatal(err)
		}
		res, err := applier.Apply(ctx, objects, ssa.ApplyOptions{Owner: "shop", Previous: last})
		for _, change := range res.Changes {
			fmt.Println(change.Action, change.Key)
			for _, drift := range change.Drift {
				fmt.Println("  ", drift)
			}
		}
		if err != nil {
			log.Print(err) // the changes and the entries are complete all the same
		}
		return res.Entries
	}
	_ = reconcile
	// Output:
}

func ExampleDrift_String() {
	fmt.Println(ssa.Drift{Path: "spec.replicas", Manager: "kubectl-edit", Old: int64(5), New: int64(2)})
	fmt.Println(ssa.Drift{Path: "data.password", Manager: "kubectl-edit", Masked: true})
	// Output:
	// spec.replicas changed by kubectl-edit to 5, restored to 2
	// data.password changed by kubectl-edit (values withheld)
}
