package fluxssa

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is how the API server serves a type.
type kind struct {
	resource   string
	namespaced bool
}

type kindMap map[schema.GroupVersionKind]kind

func kindOf(m *meta.RESTMapping) kind {
	return kind{resource: m.Resource.Resource, namespaced: m.Scope.Name() == meta.RESTScopeNameNamespace}
}

// defined returns the types that a set defines itself, which the server does not
// know yet.
func defined(objs []*unstructured.Unstructured) kindMap {
	out := kindMap{}
	for _, obj := range objs {
		if obj == nil || obj.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}) {
			continue
		}
		text := func(path ...string) string {
			s, _, _ := unstructured.NestedString(obj.Object, path...)
			return s
		}
		k := kind{resource: text("spec", "names", "plural"), namespaced: text("spec", "scope") == "Namespaced"}
		versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
		for _, v := range versions {
			version, _ := v.(map[string]any)
			name, _ := version["name"].(string)
			if served, _ := version["served"].(bool); served && k.resource != "" {
				out[schema.GroupVersionKind{Group: text("spec", "group"), Version: name, Kind: text("spec", "names", "kind")}] = k
			}
		}
	}
	return out
}
