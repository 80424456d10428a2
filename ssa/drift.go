package ssa

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fieldTree is a set of fields in the form of managedFields: keys are "f:name"
// for a field, `k:{"name":"app"}` for an element of a list by its keys, `v:"x"`
// for an element of a set, and "." for the parent itself. A tree without keys
// owns everything below it.
type fieldTree map[string]any

type fieldOwner struct {
	manager string
	fields  fieldTree
}

// drift compares an object before and after our apply, in the fields that we own
// after it, and names who owned what was found. It asks no schema: which list
// elements belong together stands in the keys of managedFields.
func drift(before, after *unstructured.Unstructured, manager string, secret bool) []Drift {
	var ours fieldTree
	for _, e := range after.GetManagedFields() {
		if isOurs(e, manager) {
			ours = parseFields(e)
		}
	}
	d := differ{secret: secret}
	for _, e := range before.GetManagedFields() {
		if !isOurs(e, manager) {
			d.others = append(d.others, fieldOwner{e.Manager, parseFields(e)})
		}
	}
	d.compare(ours, before.Object, after.Object, nil)
	return d.found
}

func parseFields(e metav1.ManagedFieldsEntry) fieldTree {
	var t fieldTree
	if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &t) != nil {
		return nil
	}
	return t
}

type differ struct {
	others []fieldOwner
	secret bool
	found  []Drift
}

// compare walks the fields that we own. Values may be absent (nil) on either side.
func (d *differ) compare(ours fieldTree, before, after any, path []string) {
	if len(path) > 0 && (len(ours) == 0 || len(ours) == 1 && ours["."] != nil) {
		if !reflect.DeepEqual(before, after) {
			d.add(path, before, after)
		}
		return
	}
	if reordered(ours, before, after) {
		d.add(path, before, after)
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if key == "." {
			continue
		}
		sub, _ := ours[key].(map[string]any)
		b, a := child(before, key), child(after, key)
		if b == nil && a != nil && strings.HasPrefix(key, "k:") {
			d.add(append(path, key), nil, a) // a whole element is gone: one line, not one per field
			continue
		}
		d.compare(sub, b, a, append(slices.Clip(path), key))
	}
}

// reordered reports that the elements of a list that we own stand in another
// order: which comes first has a meaning, and nothing else tells of it.
func reordered(ours fieldTree, before, after any) bool {
	old, _ := before.([]any)
	now, _ := after.([]any)
	if len(old) < 2 || len(now) < 2 {
		return false
	}
	type places struct{ was, is int }
	var ps []places
	for key := range ours {
		if p := (places{indexOf(old, key), indexOf(now, key)}); p.was >= 0 && p.is >= 0 {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b places) int { return cmp.Compare(a.is, b.is) })
	return !slices.IsSortedFunc(ps, func(a, b places) int { return cmp.Compare(a.was, b.was) })
}

func (d *differ) add(path []string, before, after any) {
	x := Drift{Path: pathText(path), Manager: d.ownerOf(path), Old: before, New: after}
	if before == nil {
		x.Manager = ""
	}
	if d.secret {
		x.Old, x.New, x.Masked = nil, nil, true
	}
	d.found = append(d.found, x)
}

func (d *differ) ownerOf(path []string) string {
	for _, o := range d.others {
		if owns(o.fields, path) {
			return o.manager
		}
	}
	return ""
}

func owns(t fieldTree, path []string) bool {
	for _, key := range path {
		sub, ok := t[key]
		if !ok {
			return false
		}
		m, _ := sub.(map[string]any)
		if len(m) == 0 {
			return true // owns everything below
		}
		t = m
	}
	return true
}

// child is the value that one key of managedFields points at, nil if absent.
func child(v any, key string) any {
	kind, rest, _ := strings.Cut(key, ":")
	if kind == "f" {
		m, _ := v.(map[string]any)
		return m[rest]
	}
	items, _ := v.([]any)
	if i := indexOf(items, key); i >= 0 {
		return items[i]
	}
	return nil
}

// indexOf is the place of the element that a key names, -1 if there is none.
func indexOf(items []any, key string) int {
	kind, rest, _ := strings.Cut(key, ":")
	switch kind {
	case "k":
		var want map[string]any
		if json.Unmarshal([]byte(rest), &want) != nil {
			return -1
		}
		return slices.IndexFunc(items, func(it any) bool {
			m, ok := it.(map[string]any)
			return ok && hasKeys(m, want)
		})
	case "v":
		var want any
		if json.Unmarshal([]byte(rest), &want) != nil {
			return -1
		}
		return slices.IndexFunc(items, func(it any) bool { return sameScalar(it, want) })
	}
	return -1
}

func hasKeys(m, want map[string]any) bool {
	for k, v := range want {
		if got, ok := m[k]; ok && !sameScalar(got, v) {
			return false
		}
		// A key with a default, such as a port's protocol, may be absent.
	}
	return true
}

// sameScalar compares what two JSON decoders made of a value: one reads whole
// numbers as int64, the other as float64.
func sameScalar(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// pathText writes a path for people: spec.containers[name=app].image.
func pathText(path []string) string {
	var b strings.Builder
	for _, key := range path {
		kind, rest, _ := strings.Cut(key, ":")
		switch kind {
		case "f":
			writeField(&b, rest)
		case "k":
			var keys map[string]any
			_ = json.Unmarshal([]byte(rest), &keys)
			parts := make([]string, 0, len(keys))
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				parts = append(parts, fmt.Sprintf("%s=%v", k, keys[k]))
			}
			fmt.Fprintf(&b, "[%s]", strings.Join(parts, ","))
		default:
			fmt.Fprintf(&b, "[%s]", rest)
		}
	}
	return b.String()
}

func writeField(b *strings.Builder, name string) {
	if strings.ContainsAny(name, "./[]") {
		fmt.Fprintf(b, "[%q]", name)
		return
	}
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	b.WriteString(name)
}
