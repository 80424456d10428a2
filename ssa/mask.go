package ssa

import (
	"maps"
	"reflect"
)

// hidden stands for a value that must not be seen. It is a type of its own: no
// value of an object can be taken for it.
type hidden string

// What a hidden value tells: whether it changes, and no more.
const (
	hiddenSame hidden = "<masked>"
	hiddenOld  hidden = "<masked: old value>"
	hiddenNew  hidden = "<masked: new value>"
)

// quoting are annotations that quote the whole object they are on.
var quoting = [...]string{lastApplied, "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"}

// masked returns two versions of an object, either of which may be nil, with
// everything hidden that may be secret. Of a Secret that is all but what says
// which one it is; a field of the wrong type is hidden as a whole.
func masked(before, after map[string]any, secret bool) (b, a map[string]any) {
	b, a = maps.Clone(before), maps.Clone(after)
	old, now := asMap(before["metadata"]), asMap(after["metadata"])
	mb, ma := maps.Clone(old), maps.Clone(now)
	hideQuotes(mb, ma, old, now, secret)
	if mb != nil {
		b["metadata"] = mb
	}
	if ma != nil {
		a["metadata"] = ma
	}
	if !secret {
		return b, a
	}
	for _, field := range both(before, after) {
		switch field {
		case "apiVersion", "kind", "type", "immutable":
			if isScalar(before[field]) && isScalar(after[field]) {
				continue
			}
			hide(b, a, field)
		case "metadata":
			for _, f := range both(mb, ma) {
				switch f {
				case "name", "namespace", "labels", "annotations", "finalizers", "ownerReferences":
				default:
					hide(mb, ma, f)
				}
			}
		default:
			hideBelow(b, a, field)
		}
	}
	return b, a
}

// hideQuotes hides annotations: those that quote the object, and all of a Secret.
func hideQuotes(b, a, old, now map[string]any, secret bool) {
	was, is := asMap(old["annotations"]), asMap(now["annotations"])
	if was == nil && is == nil {
		return
	}
	x, y := maps.Clone(was), maps.Clone(is)
	names := quoting[:]
	if secret {
		names = both(was, is)
	}
	for _, name := range names {
		hide(x, y, name)
	}
	if x != nil {
		b["annotations"] = x
	}
	if y != nil {
		a["annotations"] = y
	}
}

// hideBelow hides each value of a map, and anything else as a whole.
func hideBelow(b, a map[string]any, field string) {
	was, is := asMap(b[field]), asMap(a[field])
	if b[field] != nil && was == nil || a[field] != nil && is == nil {
		hide(b, a, field)
		return
	}
	was, is = maps.Clone(was), maps.Clone(is)
	for _, name := range both(was, is) {
		hide(was, is, name)
	}
	if was != nil {
		b[field] = was
	}
	if is != nil {
		a[field] = is
	}
}

func hide(b, a map[string]any, field string) {
	old, had := b[field]
	now, has := a[field]
	o, n := hiddenOld, hiddenNew
	if had && has && reflect.DeepEqual(old, now) || had != has {
		o, n = hiddenSame, hiddenSame
	}
	if had {
		b[field] = o
	}
	if has {
		a[field] = n
	}
}

func both(a, b map[string]any) []string {
	var out []string
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	return out
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func isScalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}
