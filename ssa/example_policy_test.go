package ssa_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// An autoscaler decides upon replicas; the set says how many there are at first.
func ExampleIgnoreRule() {
	opts := ssa.ApplyOptions{Owner: "shop", Ignore: []ssa.IgnoreRule{{
		Target:   ssa.IgnoreTarget{Group: "apps", Kind: "Deployment", Labels: "autoscaled=true"},
		Pointers: []string{"/spec/replicas"},
		Mode:     ssa.Adopt,
	}}}
	_ = opts
	// Output:
}

// A pull request shows what it would change.
func ExampleApplier_Plan() {
	preview := func(ctx context.Context, applier *ssa.Applier, objects []*unstructured.Unstructured, last gc.Inventory) {
		plan, err := applier.Plan(ctx, objects, ssa.ApplyOptions{Owner: "shop", Previous: last})
		if _, werr := plan.WriteTo(os.Stdout, true); werr != nil {
			log.Print(werr)
		}
		if err != nil {
			log.Print(err) // the plan is complete all the same
		}
	}
	_ = preview
	// Output:
}

func ExampleCycleError() {
	key := func(name string) gc.Key { return gc.Key{Kind: "ConfigMap", Namespace: "shop", Name: name} }
	fmt.Println(&ssa.CycleError{Cycle: []gc.Key{key("a"), key("b")}})
	// Output:
	// apply: objects wait for each other: ConfigMap shop/a -> ConfigMap shop/b -> ConfigMap shop/a; remove one of these dependencies (annotation config.kubernetes.io/depends-on)
}
