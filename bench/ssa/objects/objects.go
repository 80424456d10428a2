// Package objects holds the objects that both sides apply.
package objects

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ConfigMaps are so many small ones in a namespace.
func ConfigMaps(namespace string, count int) []*unstructured.Unstructured {
	list := make([]*unstructured.Unstructured, count)
	for i := range list {
		list[i] = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   map[string]any{"name": fmt.Sprintf("config-%04d", i), "namespace": namespace},
			"data":       map[string]any{"key": "value", "number": fmt.Sprint(i)},
		}}
	}
	return list
}

// Deployments are so many in a namespace, each with one replica.
func Deployments(namespace string, count int) []*unstructured.Unstructured {
	list := make([]*unstructured.Unstructured, count)
	for i := range list {
		name := fmt.Sprintf("app-%04d", i)
		labels := map[string]any{"app": name}
		list[i] = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1",
			"kind":       "Deployment",
			"metadata":   map[string]any{"name": name, "namespace": namespace},
			"spec": map[string]any{
				"replicas": int64(1),
				"selector": map[string]any{"matchLabels": labels},
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels},
					"spec": map[string]any{"containers": []any{
						map[string]any{"name": "app", "image": "registry.example.test/app:1"},
					}},
				},
			},
		}}
	}
	return list
}

// Revise gives so many of the objects, spread over the list, the content of a revision.
func Revise(list []*unstructured.Unstructured, count, revision int) error {
	for i := range count {
		obj := list[i*len(list)/count]
		path := []string{"data", "revision"}
		if obj.GetKind() == "Deployment" {
			path = []string{"spec", "template", "metadata", "annotations", "revision"}
		}
		if err := unstructured.SetNestedField(obj.Object, fmt.Sprint(revision), path...); err != nil {
			return err
		}
	}
	return nil
}
