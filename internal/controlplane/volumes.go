package controlplane

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// volumeCount is how many claims can be bound on one plane.
const volumeCount = 10

var (
	storageClasses = schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	volumes        = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
)

// createVolumes makes a default storage class and volumes of it, so that claims
// are bound: nothing here makes volumes on request.
func createVolumes(ctx context.Context, client dynamic.Interface) error {
	if _, err := client.Resource(storageClasses).Create(ctx, defaultStorageClass(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the storage class: %w", err)
	}
	for i := range volumeCount {
		if _, err := client.Resource(volumes).Create(ctx, newVolume(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating a volume: %w", err)
		}
	}
	return nil
}

func defaultStorageClass() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "storage.k8s.io/v1",
		"kind":       "StorageClass",
		"metadata": map[string]any{
			"name":        "standard",
			"annotations": map[string]any{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		"provisioner": "kubernetes.io/no-provisioner",
	}}
}

func newVolume(i int) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "PersistentVolume",
		"metadata":   map[string]any{"name": fmt.Sprintf("volume-%d", i)},
		"spec": map[string]any{
			"storageClassName":              "standard",
			"persistentVolumeReclaimPolicy": "Retain",
			"accessModes":                   []any{"ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"},
			"capacity":                      map[string]any{"storage": "1Ti"},
			// Nothing is ever written there: the pods are simulated.
			"hostPath": map[string]any{"path": fmt.Sprintf("/volumes/%d", i)},
		},
	}}
}
