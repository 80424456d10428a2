package ssa

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// kind is how the API server serves a type.
type kind struct {
	resource   string
	namespaced bool
}

type kindMap map[schema.GroupVersionKind]kind

// mapper learns types by asking for the group versions that sets use, one request
// each, once. What a set's own definitions say needs no request at all.
type mapper struct {
	client *kube.Client

	mu    sync.Mutex
	kinds kindMap
}

func newMapper(c *kube.Client) *mapper {
	return &mapper{client: c, kinds: kindMap{}}
}

// forSet returns the kinds of a set. Those that the server does not know are absent.
func (m *mapper) forSet(ctx context.Context, objs []*unstructured.Unstructured) (kindMap, error) {
	out, defined := kindMap{}, kindMap{}
	for _, obj := range objs {
		maps.Copy(defined, definedBy(obj))
	}
	missing := map[schema.GroupVersion]bool{}
	m.mu.Lock()
	for _, obj := range objs {
		gvk := obj.GroupVersionKind()
		if k, ok := defined[gvk]; ok && !strings.HasSuffix(gvk.Group, ".k8s.io") {
			out[gvk] = k
		} else if k, ok := m.kinds[gvk]; ok {
			out[gvk] = k
		} else {
			missing[gvk.GroupVersion()] = true
		}
	}
	m.mu.Unlock()
	found, err := m.discover(ctx, missing)
	for _, kinds := range []kindMap{found, defined} {
		for gvk, k := range kinds {
			if _, ok := out[gvk]; !ok {
				out[gvk] = k
			}
		}
	}
	return out, err
}

// forget makes the next set that uses a kind ask for it again.
func (m *mapper) forget(gvk schema.GroupVersionKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kinds, gvk)
}

func (m *mapper) discover(ctx context.Context, gvs map[schema.GroupVersion]bool) (kindMap, error) {
	found := kindMap{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for gv := range gvs {
		g.Go(func() error {
			list, err := m.client.Resources(ctx, gv)
			if apierrors.IsNotFound(err) {
				return nil // the objects of this version are reported by name
			}
			if err != nil {
				return m.fail(gv, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for gvk, k := range served(gv, list) {
				found[gvk] = k
			}
			return nil
		})
	}
	err := g.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for gvk, k := range found {
		m.kinds[gvk] = k
	}
	return found, err
}

func (m *mapper) fail(gv schema.GroupVersion, err error) error {
	if kube.Unreachable(err) {
		return &UnreachableError{Server: m.client.Host(), Err: err}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &DiscoveryError{GroupVersion: gv.String(), Err: err}
}

func served(gv schema.GroupVersion, list *metav1.APIResourceList) kindMap {
	out := kindMap{}
	for _, r := range list.APIResources {
		if subresource := strings.Contains(r.Name, "/"); !subresource {
			out[gv.WithKind(r.Kind)] = kind{resource: r.Name, namespaced: r.Namespaced}
		}
	}
	return out
}

// definedBy returns the types that an object defines, if it is a
// CustomResourceDefinition. A definition cannot redefine what Kubernetes brings
// itself: its own groups have no dot in their names, or end in .k8s.io, and of
// the latter forSet asks the server first.
func definedBy(obj *unstructured.Unstructured) kindMap {
	if obj.GroupVersionKind().GroupKind() != crdKind {
		return nil
	}
	spec, _ := obj.Object["spec"].(map[string]any)
	names, _ := spec["names"].(map[string]any)
	group, _ := spec["group"].(string)
	name, _ := names["kind"].(string)
	plural, _ := names["plural"].(string)
	versions, _ := spec["versions"].([]any)
	if !strings.Contains(group, ".") || group == crdKind.Group {
		return nil
	}
	out := kindMap{}
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if served, _ := version["served"].(bool); !served {
			continue
		}
		v, _ := version["name"].(string)
		out[schema.GroupVersionKind{Group: group, Version: v, Kind: name}] = kind{resource: plural, namespaced: spec["scope"] == "Namespaced"}
	}
	return out
}

var crdKind = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
