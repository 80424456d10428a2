// Package dynamicclient lets a [conditions.Patcher] write through client-go's
// dynamic client. It is a package of its own so that conditions costs nothing of
// client-go.
//
//	client := dynamicclient.New(dynamic, schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "apps"})
//	patcher, err := conditions.NewPatcher(app, conditions.PatchOptions{})
//	…
//	_, err = patcher.Patch(ctx, client)
package dynamicclient

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/conditions"
)

// Options configure a client. The zero value is ready to use.
type Options struct {
	// FieldManager is the name that the server notes beside the fields that are
	// written. Empty leaves it to the server, which takes the program's name.
	FieldManager string
}

// New returns a client for objects of one resource. It is safe for concurrent use.
func New(c dynamic.Interface, resource schema.GroupVersionResource, opts Options) conditions.Client {
	return &client{c.Resource(resource), opts}
}

type client struct {
	resource dynamic.NamespaceableResourceInterface
	opts     Options
}

func (c *client) Get(ctx context.Context, obj conditions.Object) error {
	answer, err := c.resource.Namespace(obj.GetNamespace()).Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	return decode(answer, obj)
}

func (c *client) Patch(ctx context.Context, obj conditions.Object, patch []byte, subresource string) error {
	var sub []string
	if subresource != "" {
		sub = []string{subresource}
	}
	answer, err := c.resource.Namespace(obj.GetNamespace()).Patch(ctx, obj.GetName(), types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: c.opts.FieldManager}, sub...)
	if err != nil {
		return err
	}
	return decode(answer, obj)
}

func decode(answer *unstructured.Unstructured, into conditions.Object) error {
	if o, ok := into.(*Object); ok {
		o.Unstructured = answer
		return nil
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, into)
}

// Object is an object of any kind that keeps its conditions at .status.conditions.
// What is there and is no condition counts as none.
type Object struct{ *unstructured.Unstructured }

var _ conditions.Object = (*Object)(nil)

// GetConditions decodes the conditions.
func (o *Object) GetConditions() []metav1.Condition {
	var status struct {
		Conditions []metav1.Condition `json:"conditions"`
	}
	content, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status")
	fields, _ := content.(map[string]any)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &status); err != nil {
		return nil
	}
	return status.Conditions
}

// SetConditions encodes the conditions.
func (o *Object) SetConditions(list []metav1.Condition) {
	encoded := make([]any, 0, len(list))
	for i := range list {
		// A condition has nothing but text, numbers and times.
		if c, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&list[i]); err == nil {
			encoded = append(encoded, c)
		}
	}
	status, ok := o.Object["status"].(map[string]any)
	if !ok {
		status = map[string]any{}
		o.Object["status"] = status
	}
	status["conditions"] = encoded
}

// DeepCopyObject returns a copy that shares nothing with o.
func (o *Object) DeepCopyObject() runtime.Object { return &Object{o.DeepCopy()} }
