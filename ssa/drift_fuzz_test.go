package ssa

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func FuzzDrift(f *testing.F) {
	f.Add(`{"f:data":{"f:a":{}}}`, `{"data":{"a":"x"}}`, `{"data":{"a":"y"}}`)
	f.Add(`{"f:spec":{"f:ports":{"k:{\"port\":80}":{".":{},"f:port":{}}}}}`, `{"spec":{"ports":[{"port":80}]}}`, `{"spec":{"ports":[]}}`)
	f.Add(`{"f:metadata":{"f:finalizers":{"v:\"x\"":{}}}}`, `{"metadata":{"finalizers":["x"]}}`, `{}`)
	f.Add(`{"f:a":{"i:0":{}}}`, `{"a":[1]}`, `{"a":[2]}`)
	f.Fuzz(func(t *testing.T, fields, before, after string) {
		object := func(text, manager string) *unstructured.Unstructured {
			u := &unstructured.Unstructured{Object: map[string]any{}}
			if json.Unmarshal([]byte(text), &u.Object) != nil || u.Object == nil {
				t.Skip()
			}
			if _, ok := u.Object["metadata"].(map[string]any); !ok {
				u.Object["metadata"] = map[string]any{}
			}
			u.SetManagedFields([]metav1.ManagedFieldsEntry{{
				Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(fields),
			}})
			return u
		}
		if !json.Valid([]byte(fields)) {
			t.Skip()
		}
		for _, d := range drift(object(before, "them"), object(after, "us"), "us", true) {
			if d.Old != nil || d.New != nil || !d.Masked {
				t.Fatal("a secret value is shown")
			}
			_ = d.String()
		}
	})
}
