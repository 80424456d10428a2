package kustomize

import (
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// item is an object on its way through the layers. What kustomize computes again
// each time that it needs it is kept: the ids.
type item struct {
	res       *resource.Resource
	value     map[string]any // what the resource is in JSON; nil once it was changed
	id        resid.ResId
	was       []resid.ResId // the ids that it had before, oldest first
	generated bool
}

// newItem takes an object from a file, if there is nothing unusual about it.
func newItem(doc document) (*item, error) {
	if !ordinary(doc.value) || hasReserved(doc.value) {
		return nil, errUnsure
	}
	it := &item{res: &resource.Resource{RNode: *doc.node}, value: doc.value}
	it.id = it.res.CurId()
	return it, nil
}

// refresh is called when the identity of the resource may have changed.
func (it *item) refresh() {
	it.value = nil
	it.id = it.res.CurId()
	it.was = it.res.PrevIds()
}

// original is the id that the object had in its file.
func (it *item) original() resid.ResId {
	if len(it.was) > 0 {
		return it.was[0]
	}
	return it.id
}

// had reports whether the object has an id, or had it before.
func (it *item) had(id resid.ResId) bool {
	if id.Equals(it.id) {
		return true
	}
	for _, was := range it.was {
		if id.Equals(was) {
			return true
		}
	}
	return false
}

// final is the object as it leaves the build, or nil if it does not leave it.
func (it *item) final() (map[string]any, error) {
	object := it.value
	if object == nil {
		var err error
		if object, err = toMap(it.res.YNode()); err != nil {
			return nil, err
		}
		if !ordinary(object) {
			return nil, errUnsure
		}
	}
	meta, _ := object["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	if local, ok := annotations[konfig.IgnoredByKustomizeAnnotation]; ok && local != "false" {
		return nil, nil
	}
	for _, key := range resource.BuildAnnotations {
		delete(annotations, key)
	}
	if len(annotations) == 0 {
		delete(meta, "annotations")
	}
	return object, nil
}

// ordinary reports whether kustomize and its filters see an object as anyone
// would: its identity is made of strings, and so are its labels and annotations.
func ordinary(object map[string]any) bool {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if version == "" || kind == "" || name == "" || strings.HasSuffix(kind, "List") || strings.Contains(name+kind, ",") {
		return false
	}
	if ns, ok := meta["namespace"]; ok {
		if s, _ := ns.(string); s == "" || strings.Contains(s, ",") {
			return false
		}
	}
	return areStrings(meta["labels"]) && areStrings(meta["annotations"])
}

// areStrings reports whether a value is a map of strings, if there is one.
func areStrings(value any) bool {
	if value == nil {
		return true
	}
	m, ok := value.(map[string]any)
	for _, v := range m {
		if _, isString := v.(string); !isString {
			return false
		}
	}
	return ok
}

// hasReserved reports whether an object has annotations that mean something to
// kustomize while it builds.
func hasReserved(object map[string]any) bool {
	meta, _ := object["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	for key := range annotations {
		if isReserved(key) {
			return true
		}
	}
	return false
}

// isReserved reports whether kustomize gives a meaning of its own to an
// annotation, the one that keeps an object out of the result left aside.
func isReserved(key string) bool {
	return key != konfig.IgnoredByKustomizeAnnotation &&
		(strings.Contains(key, "config.kubernetes.io/") || strings.Contains(key, "config.k8s.io/"))
}

// unique reports whether no two objects have the same id.
func unique(items []*item) bool {
	type key struct{ group, version, kind, name, namespace string }
	seen := make(map[key]struct{}, len(items))
	for _, it := range items {
		seen[key{it.id.Group, it.id.Version, it.id.Kind, it.id.Name, it.id.EffectiveNamespace()}] = struct{}{}
	}
	return len(seen) == len(items)
}

// field returns the value of a key in a node that is a mapping, or nil.
func field(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
