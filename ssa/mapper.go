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

	mu     sync.Mutex
	kinds  kindMap
	asking map[schema.GroupVersion]chan struct{} // closed when the answer is there
}

func newMapper(c *kube.Client) *mapper {
	return &mapper{client: c, kinds: kindMap{}, asking: map[schema.GroupVersion]chan struct{}{}}
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
			kinds, err := m.ask(ctx, gv)
			if err != nil {
				return m.fail(gv, err)
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(found, kinds)
			return nil
		})
	}
	err := g.Wait()
	return found, err
}

// ask learns one group version. Those who want it at the same time wait for the
// first, and ask themselves only if that one learned nothing.
func (m *mapper) ask(ctx context.Context, gv schema.GroupVersion) (kindMap, error) {
	for {
		m.mu.Lock()
		turn, taken := m.asking[gv]
		if !taken {
			turn = make(chan struct{})
			m.asking[gv] = turn
			m.mu.Unlock()
			return m.fetch(ctx, gv, turn)
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-turn:
		}
		if kinds := m.learned(gv); len(kinds) > 0 {
			return kinds, nil
		}
	}
}

func (m *mapper) fetch(ctx context.Context, gv schema.GroupVersion, turn chan struct{}) (kindMap, error) {
	list, err := m.client.Resources(ctx, gv)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asking, gv)
	close(turn)
	if apierrors.IsNotFound(err) {
		return nil, nil // the objects of this version are reported by name
	}
	if err != nil {
		return nil, err
	}
	kinds := served(gv, list)
	maps.Copy(m.kinds, kinds)
	return kinds, nil
}

func (m *mapper) learned(gv schema.GroupVersion) kindMap {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := kindMap{}
	for gvk, k := range m.kinds {
		if gvk.GroupVersion() == gv {
			out[gvk] = k
		}
	}
	return out
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
