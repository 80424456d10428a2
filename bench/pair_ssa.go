package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	flux "github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// ssaNoop is a reconcile with nothing to do: ConfigMaps that are in the cluster
// already, in one namespace, which both sides find to be as they should.
func ssaNoop(name string, objects int) Pair {
	return Pair{
		Name:     name,
		PeerName: "github.com/fluxcd/pkg/ssa v0.78.0",
		Server:   true,
		Ours:     func(ctx context.Context, env Env) (Work, error) { return oursNoop(ctx, env, objects) },
		Peer:     func(ctx context.Context, env Env) (Work, error) { return peerNoop(ctx, env, objects) },
	}
}

func oursNoop(ctx context.Context, env Env, count int) (Work, error) {
	namespace, err := newNamespace(ctx, env)
	if err != nil {
		return Work{}, err
	}
	applier, err := ssa.New(env.Config, ssa.Options{Manager: "bench"})
	if err != nil {
		return Work{}, err
	}
	var inventory gc.Inventory
	apply := func(ctx context.Context, objects []*unstructured.Unstructured) (*ssa.Result, error) {
		res, err := applier.Apply(ctx, objects, ssa.ApplyOptions{Owner: "bench", Previous: inventory})
		if err == nil {
			inventory = res.Entries
		}
		return res, err
	}
	if _, err := apply(ctx, configMaps(namespace, count)); err != nil {
		return Work{}, err
	}
	var objects []*unstructured.Unstructured
	return Work{
		Prepare: func() { objects = configMaps(namespace, count) },
		Do: func(ctx context.Context) error {
			res, err := apply(ctx, objects)
			if err != nil {
				return err
			}
			for _, change := range res.Changes {
				if change.Action != ssa.Unchanged {
					return fmt.Errorf("%v was %v, though nothing was to do", change.Key, change.Action)
				}
			}
			return expect(len(res.Changes), count)
		},
	}, nil
}

func peerNoop(ctx context.Context, env Env, count int) (Work, error) {
	namespace, err := newNamespace(ctx, env)
	if err != nil {
		return Work{}, err
	}
	c, err := client.New(env.Config, client.Options{})
	if err != nil {
		return Work{}, err
	}
	poller := polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{})
	manager := flux.NewResourceManager(c, poller, flux.Owner{Field: "bench", Group: "bench.example.test"})
	if _, err := manager.ApplyAllStaged(ctx, configMaps(namespace, count), flux.DefaultApplyOptions()); err != nil {
		return Work{}, err
	}
	reconcile := func(ctx context.Context, objects []*unstructured.Unstructured) error {
		changes, err := manager.ApplyAllStaged(ctx, objects, flux.DefaultApplyOptions())
		if err != nil {
			return err
		}
		for _, change := range changes.Entries {
			if change.Action != flux.UnchangedAction {
				return fmt.Errorf("%s was %s, though nothing was to do", change.Subject, change.Action)
			}
		}
		return expect(len(changes.Entries), count)
	}
	best, err := fastest(ctx, []int{1, 4, 8, 16, 32}, func(ctx context.Context, concurrency int) error {
		manager.SetConcurrency(concurrency)
		return reconcile(ctx, configMaps(namespace, count))
	})
	if err != nil {
		return Work{}, err
	}
	manager.SetConcurrency(best)
	var objects []*unstructured.Unstructured
	return Work{
		Prepare: func() { objects = configMaps(namespace, count) },
		Do:      func(ctx context.Context) error { return reconcile(ctx, objects) },
	}, nil
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

// newNamespace makes a namespace for a side. It stays until the server ends.
func newNamespace(ctx context.Context, env Env) (string, error) {
	c, err := kubernetes.NewForConfig(rest.CopyConfig(env.Config))
	if err != nil {
		return "", err
	}
	made, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-" + env.Side + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return made.Name, nil
}

func configMaps(namespace string, count int) []*unstructured.Unstructured {
	objects := make([]*unstructured.Unstructured, count)
	for i := range objects {
		objects[i] = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   map[string]any{"name": fmt.Sprintf("config-%04d", i), "namespace": namespace},
			"data":       map[string]any{"key": "value", "number": fmt.Sprint(i)},
		}}
	}
	return objects
}
