package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const (
	// typesAge is how old what is known of the server's types may be for a render:
	// templates ask what it serves.
	typesAge = time.Minute
	// typesPause bounds how often a type that is not known is looked for.
	typesPause = time.Second
)

var errNoType = errors.New("the server does not know its kind")

// typeCache knows what the server serves, for all identities.
type typeCache struct {
	client *kube.Client

	mu      sync.Mutex
	read    time.Time
	version string
	kinds   map[schema.GroupVersionKind]kube.Kind
}

// update reads the types if they are older than that.
func (t *typeCache) update(ctx context.Context, age time.Duration) error {
	if t.kinds != nil && time.Since(t.read) < age {
		return nil
	}
	kinds, err := t.client.Kinds(ctx)
	if err != nil {
		return fmt.Errorf("ask the server for its types: %s: %w", kube.Explain(err), err)
	}
	if t.version == "" {
		if t.version, err = t.client.Version(ctx); err != nil {
			return fmt.Errorf("ask the server for its version: %s: %w", kube.Explain(err), err)
		}
	}
	t.kinds = make(map[schema.GroupVersionKind]kube.Kind, len(kinds))
	for _, k := range kinds {
		if _, known := t.kinds[k.GroupVersionKind]; !known {
			t.kinds[k.GroupVersionKind] = k
		}
	}
	t.read = time.Now()
	return nil
}

// of returns the type of a kind. It asks the server if the kind is not known.
func (t *typeCache) of(ctx context.Context, gvk schema.GroupVersionKind) (kube.Kind, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.kinds[gvk]; ok {
		return k, nil
	}
	if err := t.update(ctx, typesPause); err != nil {
		return kube.Kind{}, err
	}
	if k, ok := t.kinds[gvk]; ok {
		return k, nil
	}
	return kube.Kind{}, fmt.Errorf("%w: %s in %s", errNoType, gvk.Kind, gvk.GroupVersion())
}

// forget makes the next question go to the server.
func (t *typeCache) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = time.Time{}
}

// capabilities are what templates are told of the server.
func (t *typeCache) capabilities(ctx context.Context) (version string, served []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.update(ctx, typesAge); err != nil {
		return "", nil, err
	}
	seen := map[string]bool{}
	for gvk := range t.kinds {
		group := gvk.GroupVersion().String()
		seen[group], seen[group+"/"+gvk.Kind] = true, true
	}
	for name := range seen {
		served = append(served, name)
	}
	slices.Sort(served)
	version, _, _ = strings.Cut(strings.TrimPrefix(t.version, "v"), "+")
	return version, served, nil
}

// target addresses an object, whose namespace is the release's if it has none and
// needs one.
func (j *job) target(ctx context.Context, obj *unstructured.Unstructured) (kube.Target, error) {
	kind, err := j.types.of(ctx, obj.GroupVersionKind())
	if err != nil {
		return kube.Target{}, &ObjectError{Object: objectOf(obj), Op: "map", Reason: err.Error(), Err: err}
	}
	switch {
	case !kind.Namespaced:
		obj.SetNamespace("")
	case obj.GetNamespace() == "":
		obj.SetNamespace(j.spec.Namespace)
	}
	t := kube.Target{GroupVersionResource: kind.GroupVersion().WithResource(kind.Resource), Namespace: obj.GetNamespace(), Name: obj.GetName()}
	if err := t.Check(); err != nil {
		return t, &ObjectError{Object: objectOf(obj), Op: "map", Reason: err.Error(), Err: &manifestError{err}}
	}
	return t, nil
}

// manifestError is a fault of the manifest.
type manifestError struct{ error }

func (manifestError) Terminal() bool { return true }
