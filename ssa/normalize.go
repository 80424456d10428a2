package ssa

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// serverFields are metadata that the server alone sets. Manifests that were
// exported from a cluster carry them, and an apply refuses some of them.
var serverFields = [...]string{
	"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
	"managedFields", "resourceVersion", "selfLink", "uid",
}

// normalize copies an object into the form whose repeated apply writes nothing:
// without nulls, which the server drops and applies again; without status, which
// is not ours; and with a Secret's stringData as data, because the server records
// ownership of the former and changes happen to the latter.
func normalize(obj *unstructured.Unstructured, key gc.Key, owner string) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: dropNulls(obj.DeepCopy().Object)}
	delete(u.Object, "status")
	if md, ok := u.Object["metadata"].(map[string]any); ok {
		for _, f := range serverFields {
			delete(md, f)
		}
	}
	if key.Namespace == "" {
		unstructured.RemoveNestedField(u.Object, "metadata", "namespace")
	} else {
		u.SetNamespace(key.Namespace)
	}
	if err := normalizeKind(u, key); err != nil {
		return nil, err
	}
	labels, _, err := unstructured.NestedStringMap(u.Object, "metadata", "labels")
	if err != nil {
		return nil, errors.New("metadata.labels must map strings to strings; quote numbers and booleans")
	}
	if _, _, err := unstructured.NestedStringMap(u.Object, "metadata", "annotations"); err != nil {
		return nil, errors.New("metadata.annotations must map strings to strings; quote numbers and booleans")
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[gc.OwnerLabel] = owner
	u.SetLabels(labels)
	return u, nil
}

func normalizeKind(u *unstructured.Unstructured, key gc.Key) error {
	switch {
	case key.Group == "" && key.Kind == "Secret":
		return foldStringData(u)
	case key.Group == "networking.k8s.io" && key.Kind == "NetworkPolicy":
		// An empty list means the same as none, and is written again by every apply.
		for _, f := range []string{"ingress", "egress"} {
			if rules, ok, _ := unstructured.NestedSlice(u.Object, "spec", f); ok && len(rules) == 0 {
				unstructured.RemoveNestedField(u.Object, "spec", f)
			}
		}
	}
	return nil
}

func foldStringData(u *unstructured.Unstructured) error {
	plain, ok := u.Object["stringData"]
	if !ok {
		return nil
	}
	values, ok := plain.(map[string]any)
	if !ok {
		return errors.New("stringData must map strings to strings")
	}
	data, ok := u.Object["data"].(map[string]any)
	if !ok {
		data = map[string]any{}
	}
	for k, v := range values {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("stringData.%s must be a string; quote it", k)
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	delete(u.Object, "stringData")
	u.Object["data"] = data
	return nil
}

func dropNulls(m map[string]any) map[string]any {
	for k, v := range m {
		if v == nil {
			delete(m, k)
			continue
		}
		dropNullsIn(v)
	}
	return m
}

func dropNullsIn(v any) {
	switch v := v.(type) {
	case map[string]any:
		dropNulls(v)
	case []any:
		for _, e := range v {
			dropNullsIn(e)
		}
	}
}

// intentDigest identifies what is sent and by whom. 128 bits are enough to tell
// changes of one's own apart, and the inventory holds one for each object.
func intentDigest(body []byte, manager string) string {
	h := sha256.New()
	h.Write(body) // map keys are sorted by the encoder
	h.Write([]byte{0})
	h.Write([]byte(manager))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil)[:16])
}
