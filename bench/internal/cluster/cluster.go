// Package cluster is what benchmarks with a server share. The programs of both
// sides link it, so it has the dynamic client and none that is typed.
package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// Config returns a configuration for a side's clients: counted, and without a
// limit on the client's side.
func Config(env side.Env) (*rest.Config, error) {
	cfg, err := clientcmd.RESTConfigFromKubeConfig(env.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	cfg.QPS = -1
	cfg.Wrap(env.Meter.Wrap)
	return cfg, nil
}

// Uncounted returns the configuration for what is beside the work.
func Uncounted(env side.Env) (*rest.Config, error) {
	env.Meter = &meter.Meter{}
	return Config(env)
}

// NewNamespace makes a namespace for a side. It stays until the server ends.
func NewNamespace(ctx context.Context, cfg *rest.Config) (string, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return "", err
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"generateName": "bench-"},
	}}
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	made, err := namespaces.Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return made.GetName(), nil
}
