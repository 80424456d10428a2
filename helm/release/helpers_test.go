package release_test

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

func nested(obj map[string]any, fields ...string) (any, bool, error) {
	return unstructured.NestedFieldNoCopy(obj, fields...)
}
