package gc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const storedKey = "inventory.json.gz"

// ConfigMapStore keeps an inventory in one ConfigMap. It holds names, versions
// and digests, no content of any object. It needs get, create, update and delete
// on that one ConfigMap; an empty inventory has none.
type ConfigMapStore struct {
	client dynamic.ResourceInterface
	where  string
	ns     string
	name   string
	labels map[string]string

	mu      sync.Mutex
	version string // resourceVersion of what was last loaded or saved; empty if absent
	uid     types.UID
}

// ConfigMapStoreOptions has a usable zero value.
type ConfigMapStoreOptions struct {
	Labels map[string]string // labels of the ConfigMap, beside app.kubernetes.io/managed-by
}

// NewConfigMapStore keeps the inventory in the ConfigMap namespace/name of the
// cluster that cfg points at. The namespace must exist.
func NewConfigMapStore(cfg *rest.Config, namespace, name string, opts ConfigMapStoreOptions) (*ConfigMapStore, error) {
	if namespace == "" || name == "" {
		return nil, errors.New("an inventory store needs a namespace and a name")
	}
	c, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	return &ConfigMapStore{
		client: c.Dynamic.Resource(gvr).Namespace(namespace),
		where:  fmt.Sprintf("ConfigMap %s/%s", namespace, name),
		ns:     namespace, name: name, labels: opts.Labels,
	}, nil
}

// Load implements Store.
func (s *ConfigMapStore) Load(ctx context.Context) (Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.version, s.uid = "", ""
		return nil, nil
	}
	if err != nil {
		return nil, s.fail("load", err)
	}
	text, _, err := unstructured.NestedString(u.Object, "binaryData", storedKey)
	if err != nil || text == "" {
		return nil, &DamagedError{Where: s.where, Err: fmt.Errorf("it has no binaryData %q", storedKey)}
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, &DamagedError{Where: s.where, Err: err}
	}
	inv, err := decode(data)
	if err != nil {
		return nil, &DamagedError{Where: s.where, Err: err}
	}
	s.version, s.uid = u.GetResourceVersion(), u.GetUID()
	return inv, nil
}

// Save implements Store.
func (s *ConfigMapStore) Save(ctx context.Context, inv Inventory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(inv) == 0 {
		return s.remove(ctx)
	}
	data, err := encode(inv)
	if err != nil {
		return fmt.Errorf("save the inventory in %s: %w", s.where, err)
	}
	obj := s.object(data)
	var saved *unstructured.Unstructured
	if s.version == "" {
		saved, err = s.client.Create(ctx, obj, metav1.CreateOptions{})
	} else {
		obj.SetResourceVersion(s.version)
		obj.SetUID(s.uid)
		saved, err = s.client.Update(ctx, obj, metav1.UpdateOptions{})
	}
	if err != nil {
		return s.fail("save", err)
	}
	s.version, s.uid = saved.GetResourceVersion(), saved.GetUID()
	return nil
}

func (s *ConfigMapStore) remove(ctx context.Context) error {
	if s.version == "" {
		return nil
	}
	err := s.client.Delete(ctx, s.name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &s.uid, ResourceVersion: &s.version},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return s.fail("save", err)
	}
	s.version, s.uid = "", ""
	return nil
}

func (s *ConfigMapStore) object(data []byte) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"binaryData": map[string]any{storedKey: base64.StdEncoding.EncodeToString(data)},
	}}
	obj.SetNamespace(s.ns)
	obj.SetName(s.name)
	labels := map[string]string{"app.kubernetes.io/managed-by": "gitopskit"}
	for k, v := range s.labels {
		labels[k] = v
	}
	obj.SetLabels(labels)
	return obj
}

func (s *ConfigMapStore) fail(op string, err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || op == "save" && apierrors.IsNotFound(err) && s.version != "" {
		return fmt.Errorf("%s the inventory in %s: %w", op, s.where, ErrConflict)
	}
	return &StoreError{Op: op, Where: s.where, Err: err}
}
