// Package app is the object whose status the benchmarks of conditions write.
package app

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Changes is how often a round changes the status.
const Changes = 100

// Resource is where the objects are.
var Resource = schema.GroupVersionResource{Group: "bench.example.test", Version: "v1", Resource: "apps"}

// App is a custom resource with conditions.
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Status            Status `json:"status,omitzero"`
}

// Status is what a controller reports.
type Status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Revision           string             `json:"revision,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// GetConditions returns the conditions.
func (a *App) GetConditions() []metav1.Condition { return a.Status.Conditions }

// SetConditions replaces the conditions.
func (a *App) SetConditions(c []metav1.Condition) { a.Status.Conditions = c }

// DeepCopyObject returns a copy that shares nothing with a.
func (a *App) DeepCopyObject() runtime.Object {
	out := *a
	out.ObjectMeta = *a.ObjectMeta.DeepCopy()
	out.Status.Conditions = append([]metav1.Condition(nil), a.Status.Conditions...)
	return &out
}

// Create makes the definition, if it is not there, and an object, and returns the
// object's name and namespace.
func Create(ctx context.Context, cfg *rest.Config, namespace string) (*App, error) {
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	definitions := c.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Create(ctx, definition(), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("define App: %w", err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Resource.GroupVersion().String(), "kind": "App", "metadata": map[string]any{"name": "app"},
	}}
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := c.Resource(Resource).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) { // the definition takes a moment
			return false, nil
		}
		return true, err
	})
	return &App{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: namespace}}, err
}

func definition() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "apps.bench.example.test"},
		"spec": map[string]any{
			"group": Resource.Group, "scope": "Namespaced",
			"names": map[string]any{"plural": "apps", "singular": "app", "kind": "App", "listKind": "AppList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				}}},
			}},
		},
	}}
}
