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
