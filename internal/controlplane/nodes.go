package controlplane

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var nodes = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}

// createNodes makes the nodes that kwok will report ready.
func createNodes(ctx context.Context, client dynamic.Interface, count int) error {
	for i := range count {
		if _, err := client.Resource(nodes).Create(ctx, newNode(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating a node: %w", err)
		}
	}
	return nil
}

func newNode(i int) *unstructured.Unstructured {
	name := fmt.Sprintf("node-%d", i)
	resources := map[string]any{"cpu": "64", "memory": "256Gi", "pods": "1000"}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Node",
		"metadata": map[string]any{
			"name":   name,
			"labels": map[string]any{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
		},
		"status": map[string]any{"capacity": resources, "allocatable": resources},
	}}
}

func nodesReady(ctx context.Context, client dynamic.Interface) error {
	list, err := client.Resource(nodes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		if !nodeReady(&list.Items[i]) {
			return errors.New("node " + list.Items[i].GetName() + " is not ready")
		}
	}
	return nil
}

func nodeReady(node *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(node.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" && c["status"] == "True" {
			return true
		}
	}
	return false
}
