package gc

import (
	"context"
	"encoding/base64"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const (
	configMapKind = "ConfigMap"
	secretKind    = "Secret"
	secretType    = "gitopskit.dev/inventory" //nolint:gosec // the type of the object, not what is in it

	// inventoryAnnotation is on every object of a store, with the name of its index.
	inventoryAnnotation = "gitopskit.dev/inventory"
)

// stored identifies an object as it was last seen.
type stored struct {
	uid     types.UID
	version string
	meta    map[string]any // its metadata, for the labels and owners that others added
}

// objects are the ConfigMaps or Secrets of a store.
type objects struct {
	client    *kube.Client
	dynamic   dynamic.ResourceInterface
	kind      string
	field     string // where the parts are
	gvr       schema.GroupVersionResource
	namespace string
	owner     string // value of inventoryAnnotation
	labels    map[string]string
}

func newObjects(c *kube.Client, kind, namespace, owner string, labels map[string]string) objects {
	o := objects{client: c, kind: kind, namespace: namespace, owner: owner, field: "binaryData"}
	o.gvr = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	if kind == secretKind {
		o.gvr.Resource, o.field = "secrets", "data"
	}
	o.dynamic = c.Dynamic.Resource(o.gvr).Namespace(namespace)
	o.labels = map[string]string{"app.kubernetes.io/managed-by": "gitopskit"}
	maps.Copy(o.labels, labels)
	return o
}

// get reads an object. Parts that are not base64 are left out.
func (o objects) get(ctx context.Context, name string) (stored, map[string][]byte, error) {
	u, err := o.dynamic.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return stored{}, nil, o.redact(err)
	}
	parts := map[string][]byte{}
	texts, _, _ := unstructured.NestedMap(u.Object, o.field)
	for key, text := range texts {
		if text, ok := text.(string); ok {
			if data, err := base64.StdEncoding.DecodeString(text); err == nil {
				parts[key] = data
			}
		}
	}
	return seen(u), parts, nil
}

func seen(u *unstructured.Unstructured) stored {
	u.SetManagedFields(nil)
	meta, _ := u.Object["metadata"].(map[string]any)
	return stored{uid: u.GetUID(), version: u.GetResourceVersion(), meta: meta}
}

// look reads an object's UID, and whether it belongs to this store.
func (o objects) look(ctx context.Context, name string) (types.UID, bool, error) {
	meta, err := o.client.GetMetadata(ctx, kube.Target{GroupVersionResource: o.gvr, Namespace: o.namespace, Name: name})
	if err != nil {
		return "", false, o.redact(err)
	}
	return meta.UID, meta.Annotations[inventoryAnnotation] == o.owner, nil
}

// put creates an object, or updates the one that was seen.
func (o objects) put(ctx context.Context, name string, before stored, parts map[string][]byte, labels, annotations map[string]string) (stored, error) {
	texts := make(map[string]any, len(parts))
	for key, data := range parts {
		texts[key] = base64.StdEncoding.EncodeToString(data)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": o.kind, o.field: texts}}
	if o.kind == secretKind {
		u.Object["type"] = secretType
	}
	if before.meta != nil {
		u.Object["metadata"] = before.meta
		u = u.DeepCopy()
	}
	u.SetNamespace(o.namespace)
	u.SetName(name)
	u.SetLabels(merged(u.GetLabels(), o.labels, labels))
	u.SetAnnotations(merged(u.GetAnnotations(), annotations, map[string]string{inventoryAnnotation: o.owner}))
	var err error
	if before.version == "" {
		u, err = o.dynamic.Create(ctx, u, metav1.CreateOptions{})
	} else {
		u.SetResourceVersion(before.version)
		u.SetUID(before.uid)
		u, err = o.dynamic.Update(ctx, u, metav1.UpdateOptions{})
	}
	if err != nil {
		return stored{}, o.redact(err)
	}
	return seen(u), nil
}

func merged(sets ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, set := range sets {
		maps.Copy(out, set)
	}
	return out
}

// remove deletes exactly the object that was seen, if a version is given.
// Otherwise it may have changed since, as by a label.
func (o objects) remove(ctx context.Context, name string, uid types.UID, version string) error {
	must := &metav1.Preconditions{UID: &uid}
	if version != "" {
		must.ResourceVersion = &version
	}
	return o.redact(o.dynamic.Delete(ctx, name, metav1.DeleteOptions{Preconditions: must}))
}

// redact keeps texts about Secrets out of errors: a webhook may quote them.
func (o objects) redact(err error) error {
	if o.kind != secretKind || apierrors.IsNotFound(err) {
		return err
	}
	return kube.Redact(err)
}
