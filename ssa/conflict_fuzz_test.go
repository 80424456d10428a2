package ssa

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// Whatever the server names, an object stays one, and nothing else of it goes.
func FuzzWithout(f *testing.F) {
	f.Add(`{"data":{"a.b":"x","a":"y"}}`, ".data.a.b")
	f.Add(`{"spec":{"c":[{"name":"x","image":"y"}]}}`, `.spec.c[name="x"].image`)
	f.Add(`{"metadata":{"finalizers":["a"]}}`, `.metadata.finalizers[="a"]`)
	f.Add(`{"spec":[[1]]}`, `.spec[0][0]`)
	f.Fuzz(func(t *testing.T, object, field string) {
		u := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(object), &u.Object) != nil || u.Object == nil {
			t.Skip()
		}
		u.Object["apiVersion"], u.Object["kind"] = "v1", "X"
		u.Object["metadata"] = map[string]any{"name": "x"}
		before, _ := json.Marshal(u.Object)
		out, ok := without(u, []Conflict{{Field: field}})
		after, _ := json.Marshal(u.Object)
		if string(before) != string(after) {
			t.Fatal("the object given was changed")
		}
		if ok && (out.GetKind() == "" || len(out.Object) > len(u.Object)) {
			t.Fatal("no object is left")
		}
	})
}

func TestAttackPathsWithManyReadings(t *testing.T) {
	name := func(n int) string { return strings.TrimSuffix(strings.Repeat("a.", n), ".") }
	var v any = "x"
	for range 60 {
		v = map[string]any{name(1): v, name(2): v, name(3): v}
	}
	start := time.Now()
	_, ok := without(&unstructured.Unstructured{Object: map[string]any{"spec": v}}, []Conflict{{Field: ".spec." + name(61)}})
	if ok || time.Since(start) > 5*time.Second {
		t.Fatal("a path that can be read in many ways is followed in all of them")
	}
}

func FuzzIgnoreFields(f *testing.F) {
	f.Add("/spec/c/0/image", `{"spec":{"c":[{"name":"x","image":"y"}]}}`)
	f.Add("/metadata/labels/a~1b", `{"metadata":{"labels":{"a/b":"c"}}}`)
	f.Fuzz(func(t *testing.T, pointer, object string) {
		u := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(object), &u.Object) != nil || u.Object == nil {
			t.Skip()
		}
		u.Object["apiVersion"], u.Object["kind"] = "v1", "X"
		u.Object["metadata"] = map[string]any{"name": "x", "labels": map[string]any{"gitopskit.dev/owner": "x"}}
		rules, err := parseIgnoreRules([]IgnoreRule{{Pointers: []string{pointer}}})
		if err != nil {
			return
		}
		out, _ := ignoreFields(rules, gc.Key{}, u)
		if out.GetKind() != "X" || out.GetName() != "x" || out.GetLabels()["gitopskit.dev/owner"] != "x" {
			t.Fatal("the object is another one")
		}
		if adopted := (&Applier{}).adopted(&item{intent: u, adopt: rules[0].paths}, u); adopted.GetName() != "x" {
			t.Fatal("the object is another one")
		}
	})
}

func FuzzDependencies(f *testing.F) {
	f.Add("/namespaces/default/Secret/db, apps/namespaces/x/Deployment/web")
	f.Add("rbac.authorization.k8s.io/ClusterRole/x")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := dependencies(text)
		if err == nil && (len(keys) == 0 || len(keys) > maxDependencies) {
			t.Fatal("an annotation that is well-formed names something, and not too much")
		}
		for _, k := range keys {
			if k.Kind == "" || k.Name == "" || strings.ContainsAny(k.Kind+k.Name+k.Namespace, "/,") {
				t.Fatalf("%#v", k)
			}
		}
	})
}

// Sets of fields stay JSON, hold what either held, and are the same in any order.
func FuzzUnion(f *testing.F) {
	f.Add(`{"f:a":{}}`, `{"f:a":{"f:b":{}}}`)
	f.Add(`{"f:a":{".":{},"k:{\"name\":\"x\"}":{".":{}}}}`, `{"f:a":{}}`)
	f.Fuzz(func(t *testing.T, x, y string) {
		var a, b fieldTree
		if json.Unmarshal([]byte(x), &a) != nil || json.Unmarshal([]byte(y), &b) != nil {
			t.Skip()
		}
		first, err := json.Marshal(union(a, b))
		if err != nil {
			t.Fatal(err)
		}
		for key := range a {
			if _, ok := union(a, b)[key]; !ok {
				t.Fatal("a field is lost")
			}
		}
		again, _ := json.Marshal(union(union(a, b), b))
		if b != nil && string(first) != string(again) && !strings.Contains(x+y, "null") {
			t.Fatalf("%s, then %s", first, again)
		}
	})
}
