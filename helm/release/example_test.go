package release_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/helm"
	"github.com/gitopskit/gitopskit/helm/release"
)

// A controller keeps the Engine, and the state with its own status.
func Example() {
	reconcile := func(ctx context.Context, cfg *rest.Config, chart *helm.Chart, state release.State) release.State {
		engine, err := release.New(cfg, release.Options{Manager: "shop-controller"})
		if err != nil {
			log.Fatal(err)
		}
		result, err := engine.Reconcile(ctx, release.Spec{
			Name:      "corner",
			Namespace: "shop",
			Chart:     chart,
			Values:    map[string]any{"replicas": 2},
			Upgrade:   release.UpgradeOptions{Remediation: release.Remediation{Retries: 3}},
			Drift:     release.DriftOptions{Mode: release.DriftCorrect},
		}, state)
		if result == nil {
			log.Fatal(err) // the Spec is wrong
		}
		for _, step := range result.Steps {
			fmt.Println(step.Action, "because", step.Why)
		}
		if errors.Is(err, release.ErrExhausted) {
			log.Print("stalled: ", err)
		}
		return result.State
	}
	_ = reconcile
	// Output:
}

// A tenant's release is kept with the tenant's rights.
func ExampleEngine_As() {
	engine, err := release.New(&rest.Config{Host: "https://127.0.0.1:6443"}, release.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	_, err = engine.As("")
	fmt.Println(err)
	// Output: release: impersonate "": a name must not be empty, begin or end with white space, or hold control characters
}

func ExampleName() {
	fmt.Println(release.Name("corner"))
	fmt.Println(release.Name("a-namespace-with-a-long-name-the-name-of-a-release-in-it"))
	// Output:
	// corner
	// a-namespace-with-a-long-name-the-name-of-299d71a21e47
}

func ExampleActionError() {
	err := error(&release.ActionError{Release: "corner", Action: release.Upgrade, Remediation: release.Rollback,
		After: time.Minute, Err: errors.New("1 of 3 objects are not ready")})
	var failure *release.ActionError
	if errors.As(err, &failure) {
		fmt.Println(failure, failure.Terminal())
	}
	// Output: release corner: upgrade failed: 1 of 3 objects are not ready (then: rollback) false
}
