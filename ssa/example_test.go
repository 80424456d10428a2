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

// A controller that lives long watches: an apply that finds nothing to do sends no
// request, and outside changes need not wait for the next interval.
func ExampleApplier_Watch() {
	run := func(ctx context.Context, applier *ssa.Applier, enqueue func(owner string)) error {
		stop, err := applier.Watch(ctx, ssa.WatchOptions{
			OnChange: func(owner string, _ gc.Key) { enqueue(owner) },
		})
		if err != nil {
			return err
		}
		defer stop()
		<-ctx.Done() // and reconcile until then
		return nil
	}
	_ = run
	// Output:
}

// Each tenant's objects are applied with the rights of its own service account.
func ExampleClients() {
	clients, err := ssa.NewClients(&rest.Config{Host: "https://10.0.0.1"}, ssa.ClientsOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer clients.Close()
	id, err := ssa.ServiceAccount("shop", "deployer")
	if err != nil {
		log.Fatal(err)
	}
	_, err = clients.As(id)
	fmt.Println(id.User, err)
	_, err = clients.As(ssa.Identity{Groups: []string{"system:masters"}})
	fmt.Println(err)
	// Output:
	// system:serviceaccount:shop:deployer <nil>
	// impersonate: the user name is empty; name a user or a service account
}

func ExampleConfigFromKubeconfig() {
	_, err := ssa.ConfigFromKubeconfig([]byte(`
current-context: prod
contexts: [{name: prod, context: {cluster: prod, user: ci}}]
clusters: [{name: prod, cluster: {server: "https://10.0.0.1"}}]
users: [{name: ci, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: steal}}}]
`), ssa.KubeconfigOptions{})
	fmt.Println(err)
	// Output:
	// kubeconfig: user.exec: it runs a program on this machine; remove it, or set KubeconfigOptions.AllowExec if you trust whoever wrote it
}
