// Package rollout tells both sides when the server had what they wait for. It has
// a watch of its own, which is not counted, and which costs both the same.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Deployments is the type that is watched.
var Deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// grain is the least lag that is told: what is seen by two watches is not seen in
// the same instant.
const grain = 10 * time.Millisecond

// Rollout watches the Deployments of a namespace until all are healthy.
type Rollout struct {
	watch   watch.Interface
	waiting map[string]bool
}

// errHealthy says that there is nothing to wait for.
var errHealthy = errors.New("all Deployments are healthy before anybody waits for them")

// Settle waits until the Deployments of a namespace are healthy.
func Settle(ctx context.Context, cfg *rest.Config, namespace string) error {
	r, err := Watch(ctx, cfg, namespace)
	if errors.Is(err, errHealthy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.watch.Stop()
	_, err = r.follow()
	return err
}

// Watch begins to follow the Deployments of a namespace, of which there must be
// some that are not healthy.
func Watch(ctx context.Context, cfg *rest.Config, namespace string) (*Rollout, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	deployments := client.Resource(Deployments).Namespace(namespace)
	list, err := deployments.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	r := &Rollout{waiting: map[string]bool{}}
	for i := range list.Items {
		if err := r.see(&list.Items[i]); err != nil {
			return nil, err
		}
	}
	if len(r.waiting) == 0 {
		return nil, errHealthy
	}
	r.watch, err = deployments.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	return r, err
}

func (r *Rollout) see(u *unstructured.Unstructured) error {
	res, err := status.Compute(u)
	if err != nil {
		return err
	}
	if res.Status == status.CurrentStatus {
		delete(r.waiting, u.GetName())
	} else {
		r.waiting[u.GetName()] = true
	}
	return nil
}

// Lag runs wait, and returns how long it lasted after the last Deployment was
// healthy.
func (r *Rollout) Lag(wait func() error) (time.Duration, error) {
	defer r.watch.Stop()
	type end struct {
		at  time.Time
		err error
	}
	healthy := make(chan end, 1)
	go func() {
		at, err := r.follow()
		healthy <- end{at, err}
	}()
	if err := wait(); err != nil {
		return 0, err
	}
	seen := time.Now()
	select {
	case e := <-healthy:
		return max(seen.Sub(e.at), grain), e.err
	case <-time.After(10 * time.Second):
		return 0, errors.New("the wait was over before all Deployments were healthy")
	}
}

// follow returns when the last one was healthy.
func (r *Rollout) follow() (time.Time, error) {
	for ev := range r.watch.ResultChan() {
		u, ok := ev.Object.(*unstructured.Unstructured)
		if !ok {
			return time.Time{}, fmt.Errorf("the watch of Deployments ended: %v", ev.Object)
		}
		if err := r.see(u); err != nil {
			return time.Time{}, err
		}
		if len(r.waiting) == 0 {
			return time.Now(), nil
		}
	}
	return time.Time{}, errors.New("the watch of Deployments ended")
}
