package ssa

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Bounds of what a plan says of one object.
const (
	maxFields     = 1000
	maxFieldValue = 4 << 10 // bytes of a text
)

// FieldChange is one field that differs. A field that is added or removed is nil
// on one side. Objects and lists are taken apart, so that a value is a string, a
// number, a boolean, or an empty object or list.
type FieldChange struct {
	Path   string // as in spec.template.spec.containers[name=app].image
	Old    any
	New    any
	Masked bool // Old and New are withheld; that they differ is known
}

type fieldDiff struct {
	found []FieldChange
	more  bool
}

func (d *fieldDiff) compare(old, now any, path []string) {
	if reflect.DeepEqual(old, now) || d.more {
		return
	}
	switch {
	case isHidden(old) || isHidden(now):
	case isFull(old) && isFull(now) && sameShape(old, now), isFull(old) && now == nil, old == nil && isFull(now):
		d.inside(old, now, path)
		return
	case isFull(old) || isFull(now): // another type: all of the one, then all of the other
		d.compare(old, nil, path)
		d.compare(nil, now, path)
		return
	}
	if len(d.found) == maxFields {
		d.more = true
		return
	}
	c := FieldChange{Path: pathText(path), Old: d.short(old), New: d.short(now)}
	if isHidden(old) || isHidden(now) {
		c.Old, c.New, c.Masked = nil, nil, true
	}
	d.found = append(d.found, c)
}

func (d *fieldDiff) inside(old, now any, path []string) {
	if o, n := asMap(old), asMap(now); o != nil || n != nil {
		names := both(o, n)
		slices.Sort(names)
		for _, name := range names {
			d.compare(o[name], n[name], append(slices.Clip(path), "f:"+name))
		}
		return
	}
	o, _ := old.([]any)
	n, _ := now.([]any)
	before, after := elements(o), elements(n)
	if before == nil || after == nil { // not told apart by name
		for i := range max(len(o), len(n)) {
			d.compare(at(o, i), at(n, i), append(slices.Clip(path), fmt.Sprintf("i:%d", i)))
		}
		return
	}
	count := len(d.found)
	for _, name := range slices.Sorted(maps.Keys(merged(before, after))) {
		d.compare(before[name], after[name], append(slices.Clip(path), name))
	}
	if len(d.found) == count { // the same elements in another order
		for i := range max(len(o), len(n)) {
			d.compare(nameOf(at(o, i)), nameOf(at(n, i)), append(slices.Clip(path), fmt.Sprintf("i:%d", i), "f:name"))
		}
	}
}

// short bounds what is kept of a text.
func (d *fieldDiff) short(v any) any {
	if s, ok := v.(string); ok && len(s) > maxFieldValue {
		return clip.Quote(s, maxFieldValue)
	}
	return v
}

// elements tells the elements of a list apart by their names, where all have one.
func elements(items []any) fieldTree {
	out := fieldTree{}
	for _, it := range items {
		name, ok := nameOf(it).(string)
		text, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			return nil
		}
		key := "k:" + string(text)
		if _, twice := out[key]; !ok || twice {
			return nil
		}
		out[key] = it
	}
	return out
}

func nameOf(v any) any { return asMap(v)["name"] }

func at(items []any, i int) any {
	if i < len(items) {
		return items[i]
	}
	return nil
}

func isHidden(v any) bool {
	_, ok := v.(hidden)
	return ok
}

// isFull reports a map or list with something in it.
func isFull(v any) bool { return !isScalar(v) && !isEmpty(v) }

func sameShape(a, b any) bool { return (asMap(a) == nil) == (asMap(b) == nil) }

func merged(a, b fieldTree) fieldTree {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
