package gc

import (
	"cmp"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// OwnerLabel names the set that an object belongs to. Apply sets it, and Prune
// deletes nothing that does not carry it with the expected value. Its value is a
// label value: at most 63 letters, digits, '-', '_' and '.'.
const OwnerLabel = "gitopskit.dev/owner"

// Key identifies an object across API versions: the same object keeps its Key
// when its kind moves from v1beta1 to v1.
type Key struct {
	Group     string `json:"group,omitempty"`     // empty for the core group
	Kind      string `json:"kind"`                // singular, as in a manifest
	Namespace string `json:"namespace,omitempty"` // empty for cluster-scoped kinds
	Name      string `json:"name"`
}

// String is for people: "Deployment.apps default/web", "Namespace web". It
// cannot be parsed back, on purpose: names may hold any separator.
func (k Key) String() string {
	kind := schema.GroupKind{Group: k.Group, Kind: k.Kind}.String()
	if k.Namespace == "" {
		return kind + " " + k.Name
	}
	return kind + " " + k.Namespace + "/" + k.Name
}

// Compare orders keys by group, kind, namespace and name.
func (k Key) Compare(o Key) int {
	return cmp.Or(
		cmp.Compare(k.Group, o.Group),
		cmp.Compare(k.Kind, o.Kind),
		cmp.Compare(k.Namespace, o.Namespace),
		cmp.Compare(k.Name, o.Name),
	)
}

// Entry is one object that was applied, with what is needed to find it again
// without discovery, to tell it from a namesake, and to see from its metadata
// alone whether somebody changed it.
type Entry struct {
	Key
	Version  string `json:"version"`  // API version that it was applied with, as in "v1"
	Resource string `json:"resource"` // plural resource name, as in "deployments"

	// What the server said about it after the last apply. All empty while the
	// object is about to be applied for the first time.
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	Generation      int64     `json:"generation,omitempty"` // 0 for kinds that have none

	// Intent is a digest of the configuration as it was sent, Owned one of the
	// field manager's entry as the server recorded it. Their form is the applier's.
	Intent string `json:"intent,omitempty"`
	Owned  string `json:"owned,omitempty"`

	// LeftOf is, of an object that left its set and is still to be deleted, the size
	// of the set that it left; 0 if nothing joined the set since. Reconcile keeps it:
	// what joins in the place of what left does not hide from the guard how much
	// that was.
	LeftOf int64 `json:"leftOf,omitempty"`
}

// GVR is the resource to address the object by.
func (e Entry) GVR() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: e.Group, Version: e.Version, Resource: e.Resource}
}

// GVK is the object's type.
func (e Entry) GVK() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: e.Group, Version: e.Version, Kind: e.Kind}
}

// parents are the keys of the objects whose deletion deletes this one as well.
func (e Entry) parents() []Key {
	ks := []Key{{Group: definitions, Kind: "CustomResourceDefinition", Name: e.Resource + "." + e.Group}}
	if e.Namespace != "" {
		ks = append(ks, Key{Kind: "Namespace", Name: e.Namespace})
	}
	return ks
}

const definitions = "apiextensions.k8s.io"
