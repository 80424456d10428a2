package kustomize

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// convert turns what kustomize built into objects, straight from its nodes. The
// way over text, and through a decoder, gives the same and takes seventy times
// as long.
func convert(m resmap.ResMap) ([]*unstructured.Unstructured, error) {
	objects := make([]*unstructured.Unstructured, 0, m.Size())
	for _, r := range m.Resources() {
		value, err := toValue(r.YNode())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.CurId(), err)
		}
		object, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is not an object", r.CurId())
		}
		objects = append(objects, &unstructured.Unstructured{Object: object})
	}
	return objects, nil
}

// toValue gives what the JSON decoder of Kubernetes would give for a node.
func toValue(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) != 1 {
			return nil, fmt.Errorf("line %d: a document with %d values", n.Line, len(n.Content))
		}
		return toValue(n.Content[0])
	case yaml.MappingNode:
		return toMap(n)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if list[i], err = toValue(item); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.ScalarNode:
		return toScalar(n)
	default:
		return nil, fmt.Errorf("line %d: an alias that was not replaced", n.Line)
	}
}

func toMap(n *yaml.Node) (map[string]any, error) {
	object := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != yaml.NodeTagString {
			return nil, fmt.Errorf("line %d: key %s is not a string: put it in quotes", key.Line, quote(key.Value))
		}
		if _, twice := object[key.Value]; twice {
			return nil, fmt.Errorf("line %d: key %s is there twice", key.Line, quote(key.Value))
		}
		value, err := toValue(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		object[key.Value] = value
	}
	return object, nil
}

func toScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case yaml.NodeTagString:
		return n.Value, nil
	case yaml.NodeTagNull:
		return nil, nil
	case yaml.NodeTagInt:
		if i, ok := plainInt(n.Value); ok {
			return i, nil
		}
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	return normal(v, n)
}

// plainInt reads the form that nearly all integers have. YAML has others, and
// gives a meaning of its own to leading zeros.
func plainInt(s string) (int64, bool) {
	if len(s) > 1 && (s[0] < '1' || s[0] > '9') {
		return 0, false
	}
	i, err := strconv.ParseInt(s, 10, 64)
	return i, err == nil
}

// normal maps what YAML knows to what JSON knows, by way of how JSON is written.
func normal(v any, n *yaml.Node) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		return float64(v), nil // an int64 would have been one
	case float64:
		return normalFloat(v, n)
	case time.Time:
		text, err := v.MarshalText()
		return string(text), err
	default:
		return nil, fmt.Errorf("line %d: %s has no form in JSON", n.Line, quote(n.Value))
	}
}

// normalFloat makes an integer of a number that JSON would write as one.
func normalFloat(f float64, n *yaml.Node) (any, error) {
	switch {
	case math.IsInf(f, 0), math.IsNaN(f):
		return nil, fmt.Errorf("line %d: %s has no form in JSON", n.Line, quote(n.Value))
	case f == math.Trunc(f) && f >= math.MinInt64 && f < math.MaxInt64:
		return int64(f), nil
	}
	return f, nil
}
