package ssa

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A diff leads from the one text to the other.
func FuzzEdit(f *testing.F) {
	f.Add("a\nb\nc", "a\nx\nc")
	f.Add("", "a")
	f.Add("a\nb\na\nb", "b\na\nb\na")
	f.Fuzz(func(t *testing.T, before, after string) {
		a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
		var old, now []string
		for _, e := range edit(a, b) {
			if e.op != '+' {
				old = append(old, e.text)
			}
			if e.op != '-' {
				now = append(now, e.text)
			}
		}
		if !slices.Equal(old, a) || !slices.Equal(now, b) {
			t.Fatalf("%q -> %q, want %q -> %q", old, now, a, b)
		}
		if same := len(unified(a, b)) == 0; same != slices.Equal(a, b) {
			t.Fatal("a diff is empty if the texts are equal, and only then")
		}
	})
}

const fuzzCanary = "c4n4ry"

// Values of a Secret are in no part of a diff, whatever its shape; that they
// differ is.
func FuzzMasked(f *testing.F) {
	f.Add(`{"data":{"a":"c4n4ry"}}`, `{"data":{"a":"x"}}`)
	f.Add(`{"data":["c4n4ry"],"metadata":{"annotations":{"a":"c4n4ry"}}}`, `{"stringData":{"a":{"b":"c4n4ry"}}}`)
	f.Add(`{"type":["c4n4ry"],"metadata":{"managedFields":"c4n4ry"}}`, `{"x":"c4n4ry"}`)
	f.Fuzz(func(t *testing.T, before, after string) {
		var old, now map[string]any
		if json.Unmarshal([]byte(before), &old) != nil || json.Unmarshal([]byte(after), &now) != nil {
			t.Skip()
		}
		for _, m := range []map[string]any{old, now} {
			for _, clear := range []string{"apiVersion", "kind", "type"} {
				if isScalar(m[clear]) {
					delete(m, clear)
				}
			}
			if md := asMap(m["metadata"]); md != nil {
				for _, clear := range []string{"name", "namespace", "labels", "finalizers", "ownerReferences"} {
					delete(md, clear)
				}
			} else {
				delete(m, "metadata")
			}
			hideNames(m)
		}
		b, a := masked(old, now, true)
		d := fieldDiff{}
		d.compare(anyMap(b), anyMap(a), nil)
		text := fmt.Sprint(d.found, unified(lines(anyMap(b), ""), lines(anyMap(a), "")))
		if strings.Contains(text, fuzzCanary) {
			t.Fatal(text)
		}
	})
}

// hideNames takes the canary out of the names of fields, which are no secret.
func hideNames(m map[string]any) {
	for k, v := range m {
		if strings.Contains(k, fuzzCanary) {
			delete(m, k)
		} else if sub := asMap(v); sub != nil {
			hideNames(sub)
		}
	}
}
