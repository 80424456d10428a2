package adopt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/gc"
)

// Type is what an inventory does not say about a kind.
type Type struct {
	Version    string // as in "v1"
	Resource   string // plural, as in "deployments"
	Namespaced bool
}

// Lookup finds the type of a kind. The version is empty where the inventory does
// not tell it: then it is any that the server serves, best the preferred one. An
// error makes the entry one that could not be read.
type Lookup func(kind schema.GroupKind, version string) (Type, error)

// Options say how an inventory is read. Lookup is required.
type Options struct {
	Lookup Lookup
	// Choose tells which one of several objects an id means, as by looking which of
	// them exists. Nil refuses ids with more than one meaning.
	Choose func(candidates []gc.Key) (gc.Key, error)
}

var errNoLookup = errors.New("adopt: Options.Lookup is nil; give the function that finds the resource of a kind")

// Flux reads status.inventory of a Kustomization or HelmRelease. One without an
// inventory is empty.
func Flux(obj *unstructured.Unstructured, opts Options) (gc.Inventory, error) {
	if opts.Lookup == nil {
		return nil, errNoLookup
	}
	list, _, err := unstructured.NestedSlice(obj.Object, "status", "inventory", "entries")
	if err != nil {
		return nil, &Error{Problems: []error{fmt.Errorf("status.inventory.entries of %s: %w", describe(obj), err)}}
	}
	r := reader{opts: opts}
	for i, item := range list {
		fields, _ := item.(map[string]any)
		id, ok := fields["id"].(string)
		version, _ := fields["v"].(string)
		if !ok {
			r.problems = append(r.problems, &IDError{Reason: fmt.Sprintf("entry %d has no id", i)})
			continue
		}
		r.add(id, version)
	}
	return r.done()
}

// InventoryIDLabel is on the ConfigMaps that cli-utils keeps its inventories in.
const InventoryIDLabel = "cli-utils.sigs.k8s.io/inventory-id"

// CLIUtils reads the data of an inventory ConfigMap. It fails if the ConfigMap
// does not have the InventoryIDLabel.
func CLIUtils(configMap *unstructured.Unstructured, opts Options) (gc.Inventory, error) {
	if opts.Lookup == nil {
		return nil, errNoLookup
	}
	if configMap.GetLabels()[InventoryIDLabel] == "" {
		return nil, &Error{Problems: []error{fmt.Errorf("%s has no label %s: it is no inventory", describe(configMap), InventoryIDLabel)}}
	}
	data, _, err := unstructured.NestedMap(configMap.Object, "data")
	if err != nil {
		return nil, &Error{Problems: []error{fmt.Errorf("data of %s: %w", describe(configMap), err)}}
	}
	r := reader{opts: opts}
	for id := range data {
		r.add(id, "")
	}
	return r.done()
}

func describe(obj *unstructured.Unstructured) string {
	return keyOf(obj).String()
}

func keyOf(obj *unstructured.Unstructured) gc.Key {
	gvk := obj.GroupVersionKind()
	return gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// reader collects entries and problems.
type reader struct {
	opts     Options
	entries  []gc.Entry
	problems []error
}

func (r *reader) add(id, version string) {
	e, err := r.read(id, version)
	if err != nil {
		r.problems = append(r.problems, err)
		return
	}
	r.entries = append(r.entries, e)
}

func (r *reader) read(id, version string) (gc.Entry, error) {
	candidates, err := parse(id)
	if err != nil {
		return gc.Entry{}, err
	}
	key := candidates[0]
	if len(candidates) > 1 {
		if r.opts.Choose == nil {
			return gc.Entry{}, &AmbiguousError{ID: id, Candidates: candidates}
		}
		if key, err = r.opts.Choose(slices.Clone(candidates)); err != nil {
			return gc.Entry{}, &IDError{ID: id, Reason: "it means several objects, and none was chosen", Err: err}
		}
		if !slices.Contains(candidates, key) {
			return gc.Entry{}, &IDError{ID: id, Reason: fmt.Sprintf("%s was chosen, which it does not mean", key)}
		}
	}
	t, err := r.typeOf(id, schema.GroupKind{Group: key.Group, Kind: key.Kind}, version)
	if err != nil {
		return gc.Entry{}, err
	}
	switch {
	case t.Namespaced && key.Namespace == "":
		return gc.Entry{}, &IDError{ID: id, Reason: key.Kind + " is namespaced, and it names no namespace"}
	case !t.Namespaced && key.Namespace != "":
		return gc.Entry{}, &IDError{ID: id, Reason: key.Kind + " is cluster-scoped, and it names a namespace"}
	}
	return gc.Entry{Key: key, Version: t.Version, Resource: t.Resource}, nil
}

func (r *reader) typeOf(id string, kind schema.GroupKind, version string) (Type, error) {
	t, err := r.opts.Lookup(kind, version)
	if err != nil {
		return t, &IDError{ID: id, Reason: "the type of " + kind.String() + " was not found", Err: err}
	}
	if t.Version == "" || t.Resource == "" {
		return t, &IDError{ID: id, Reason: "Options.Lookup gave no version or resource for " + kind.String()}
	}
	return t, nil
}

func (r *reader) done() (gc.Inventory, error) {
	inv := gc.NewInventory(r.entries...)
	if len(inv) > gc.MaxEntries {
		return nil, &Error{Problems: []error{fmt.Errorf("%d entries of at most %d", len(inv), gc.MaxEntries)}}
	}
	if len(r.problems) > 0 {
		slices.SortFunc(r.problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return inv, &Error{Problems: r.problems}
	}
	return inv, nil
}

// List returns the metadata of the objects of one type that a label selector
// selects, in one namespace, or cluster-scoped ones if that is empty.
type List func(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector string) ([]metav1.PartialObjectMetadata, error)

// maxLists bounds what a parent that announces many kinds and namespaces costs.
const maxLists = 10_000

// ApplySet reads the members of the ApplySet with that parent: the objects with its
// label, of the kinds and in the namespaces that it announces. Their UIDs are known.
// An error of list is returned as it is.
func ApplySet(ctx context.Context, parent *unstructured.Unstructured, list List, opts Options) (gc.Inventory, error) {
	if opts.Lookup == nil {
		return nil, errNoLookup
	}
	if list == nil {
		return nil, errors.New("adopt: list is nil; give the function that lists objects by label")
	}
	key := keyOf(parent)
	id := gc.ApplySetID(key)
	if got := parent.GetLabels()[gc.ApplySetIDLabel]; got != id {
		return nil, &Error{Problems: []error{fmt.Errorf("label %s of %s is %q, and that of its ApplySet would be %q", gc.ApplySetIDLabel, key, got, id)}}
	}
	kinds := commaSplit(parent.GetAnnotations()[gc.ApplySetGroupKindsAnnotation])
	namespaces := commaSplit(parent.GetAnnotations()[gc.ApplySetNamespacesAnnotation])
	if key.Namespace != "" && !slices.Contains(namespaces, key.Namespace) {
		namespaces = append(namespaces, key.Namespace)
	}
	if len(kinds)*max(1, len(namespaces)) > maxLists {
		return nil, &Error{Problems: []error{fmt.Errorf("%s announces %d kinds and %d namespaces: more than %d lists", key, len(kinds), len(namespaces), maxLists)}}
	}
	r := reader{opts: opts}
	for _, kind := range kinds {
		if err := r.list(ctx, schema.ParseGroupKind(kind), namespaces, list, id); err != nil {
			return nil, err
		}
	}
	return r.done()
}

func commaSplit(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// list adds the members of one kind.
func (r *reader) list(ctx context.Context, kind schema.GroupKind, namespaces []string, list List, id string) error {
	t, err := r.typeOf(kind.String(), kind, "")
	if err != nil {
		r.problems = append(r.problems, err)
		return nil
	}
	if !t.Namespaced {
		namespaces = []string{""}
	}
	gvr := schema.GroupVersionResource{Group: kind.Group, Version: t.Version, Resource: t.Resource}
	for _, ns := range namespaces {
		items, err := list(ctx, gvr, ns, gc.ApplySetPartOfLabel+"="+id)
		if err != nil {
			return fmt.Errorf("list %s in %q: %w", gvr.GroupResource(), ns, err)
		}
		for _, item := range items {
			if item.Labels[gc.ApplySetPartOfLabel] != id || item.Namespace != ns {
				continue // the list was not as asked for
			}
			r.entries = append(r.entries, gc.Entry{
				Key:     gc.Key{Group: kind.Group, Kind: kind.Kind, Namespace: item.Namespace, Name: item.Name},
				Version: t.Version, Resource: t.Resource, UID: item.UID,
			})
		}
	}
	return nil
}
