package ssa

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// serverFields are metadata that the server alone sets. Manifests that were
// exported from a cluster carry them, and an apply refuses some of them.
var serverFields = [...]string{
	"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
	"managedFields", "resourceVersion", "selfLink", "uid",
}

// scratch is memory for an intent that is only looked at, until the next one is
// made in it. A nil scratch gives each its own.
type scratch struct {
	maps [4]map[string]any
	hash hasher
}

// The maps of an intent that are not the object's own.
const (
	ofObject = iota
	ofMetadata
	ofLabels
	ofAnnotations
)

// maxScratch bounds the maps that are kept: to clear a large one takes time for
// each object after it.
const maxScratch = 64

// clone copies a map.
func (sc *scratch) clone(which int, m map[string]any) map[string]any {
	var out map[string]any
	switch {
	case sc == nil || len(m) > maxScratch:
		out = make(map[string]any, len(m)+1)
	case sc.maps[which] == nil:
		out = map[string]any{}
		sc.maps[which] = out
	default:
		out = sc.maps[which]
		clear(out)
	}
	maps.Copy(out, m)
	return out
}

// normalize copies an object into the form whose repeated apply writes nothing:
// without nulls, which the server drops and applies again; without status, which
// is not ours; and with a Secret's stringData as data, because the server records
// ownership of the former and changes happen to the latter.
//
// Only what is changed is copied, into the scratch if there is one. The rest is
// shared with the object, and read.
func normalize(obj *unstructured.Unstructured, key gc.Key, owner string, sc *scratch) (*unstructured.Unstructured, error) {
	nulls, err := inspect(obj.Object)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "."))
	}
	u := &unstructured.Unstructured{}
	if nulls {
		u.Object, _ = dropNulls(obj.Object).(map[string]any)
	} else {
		u.Object = sc.clone(ofObject, obj.Object)
	}
	delete(u.Object, "status")
	md, _ := u.Object["metadata"].(map[string]any)
	if md, err = normalizeMetadata(md, key, owner, sc); err != nil {
		return nil, err
	}
	u.Object["metadata"] = md
	return u, normalizeKind(u, key)
}

func normalizeMetadata(md map[string]any, key gc.Key, owner string, sc *scratch) (map[string]any, error) {
	md = sc.clone(ofMetadata, md)
	for _, f := range serverFields {
		delete(md, f)
	}
	delete(md, "namespace")
	if key.Namespace != "" {
		md["namespace"] = key.Namespace
	}
	labels, err := stringMap(md, "labels")
	if err != nil {
		return nil, err
	}
	labels = sc.clone(ofLabels, labels)
	labels[gc.OwnerLabel] = owner
	md["labels"] = labels
	annotations, err := stringMap(md, "annotations")
	if err != nil {
		return nil, err
	}
	if _, ok := annotations[lastApplied]; ok { // as in what kubectl exports: it quotes an older version
		annotations = sc.clone(ofAnnotations, annotations)
		delete(annotations, lastApplied)
		md["annotations"] = annotations
	}
	if len(annotations) == 0 {
		delete(md, "annotations")
	}
	return md, nil
}

// stringMap returns labels or annotations.
func stringMap(md map[string]any, field string) (map[string]any, error) {
	m, ok := md[field].(map[string]any)
	ok = ok || md[field] == nil
	for _, v := range m {
		_, text := v.(string)
		ok = ok && text
	}
	if !ok {
		return nil, fmt.Errorf("metadata.%s must map strings to strings; quote numbers and booleans", field)
	}
	return m, nil
}

func normalizeKind(u *unstructured.Unstructured, key gc.Key) error {
	switch {
	case key.Group == "" && key.Kind == "Secret":
		return foldStringData(u)
	case key.Group == "networking.k8s.io" && key.Kind == "NetworkPolicy":
		// An empty list means the same as none, and is written again by every apply.
		spec, ok := u.Object["spec"].(map[string]any)
		if !ok {
			return nil
		}
		spec = maps.Clone(spec)
		for _, f := range []string{"ingress", "egress"} {
			if rules, ok := spec[f].([]any); ok && len(rules) == 0 {
				delete(spec, f)
			}
		}
		u.Object["spec"] = spec
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
	old, ok := u.Object["data"].(map[string]any)
	if !ok && u.Object["data"] != nil {
		return errors.New("data must map strings to base64 strings")
	}
	data := make(map[string]any, len(old)+len(values))
	maps.Copy(data, old)
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

// inspect reports whether a value holds nulls at any depth. What JSON does not
// have is an error: objects that were built in Go, and not decoded, may hold it.
func inspect(v any) (nulls bool, err error) {
	switch v := v.(type) {
	case nil:
		return true, nil
	case string, bool, int64, int, int32, json.Number:
		return false, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false, fmt.Errorf(" is %v, which JSON does not have", v)
		}
		return false, nil
	case map[string]any:
		for k, e := range v {
			null, err := inspect(e)
			if err != nil {
				return false, fmt.Errorf(".%s%w", k, err)
			}
			nulls = nulls || null
		}
		return nulls, nil
	case []any:
		for _, e := range v {
			null, err := inspect(e)
			if err != nil {
				return false, fmt.Errorf("[]%w", err)
			}
			nulls = nulls || null
		}
		return nulls, nil
	}
	return false, fmt.Errorf(" holds a Go %T; use map[string]any, []any, string, bool, int64 and float64 alone", v)
}

// dropNulls copies a value without the fields that are null.
func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if e != nil {
				out[k] = dropNulls(e)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, dropNulls(e))
		}
		return out
	}
	return v
}

// intentDigest identifies what is sent, by whom and how, and what of it is not. 128
// bits are enough to tell changes of one's own apart, and the inventory holds one
// for each object.
func (h *hasher) intentDigest(intent map[string]any, manager string, conflicts ConflictPolicy, adopt [][]string) []byte {
	h.text, h.names = h.text[:0], h.names[:0]
	h.value(intent)
	b := appendText(h.text, 'm', manager)
	if conflicts != TakeOver {
		b = appendText(b, 'c', string(conflicts))
	}
	for _, path := range adopt {
		b = binary.AppendUvarint(append(b, 'a'), uint64(len(path)))
		for _, name := range path {
			b = appendText(b, 'k', name)
		}
	}
	sum := sha256.Sum256(b)
	h.text = base64.RawStdEncoding.AppendEncode(b[:0], sum[:16])
	return h.text
}

// hasher writes values of JSON types in a form of their own for hashing, into
// memory that is used again. That costs a fraction of encoding them, which is then
// needed only for what is sent.
type hasher struct {
	text  []byte
	names []string // of the fields of the maps that enclose the value
}

func (h *hasher) value(v any) {
	switch v := v.(type) {
	case map[string]any:
		h.fields(v)
	case []any:
		h.text = binary.AppendUvarint(append(h.text, '['), uint64(len(v)))
		for _, e := range v {
			h.value(e)
		}
	case string:
		h.text = appendText(h.text, 's', v)
	case int64:
		var digits [20]byte
		h.text = appendText(h.text, 'n', strconv.AppendInt(digits[:0], v, 10))
	case float64:
		if whole := int64(v); float64(whole) == v { // some decoders make every number a float64
			h.value(whole)
			return
		}
		h.text = appendText(h.text, 'f', strconv.FormatFloat(v, 'g', -1, 64))
	default:
		h.text = appendText(h.text, 'n', fmt.Sprint(v))
	}
}

func (h *hasher) fields(m map[string]any) {
	outer := len(h.names)
	for k := range m {
		h.names = append(h.names, k)
	}
	slices.Sort(h.names[outer:])
	h.text = binary.AppendUvarint(append(h.text, '{'), uint64(len(m)))
	for i := range len(m) { // h.names may move meanwhile
		name := h.names[outer+i]
		h.text = appendText(h.text, 'k', name)
		h.value(m[name])
	}
	h.names = h.names[:outer]
}

// appendText writes a string with its kind and length, so that no two values look
// alike.
func appendText[T string | []byte](b []byte, kind byte, s T) []byte {
	b = binary.AppendUvarint(append(b, kind), uint64(len(s)))
	return append(b, s...)
}
