package release

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// IgnoreRule names fields whose live value is left alone once the object exists.
type IgnoreRule struct {
	// Paths are JSON pointers, such as /spec/replicas. What is not there is no fault.
	Paths  []string
	Target IgnoreTarget
}

// IgnoreTarget selects objects. What is empty selects all. Group, Version, Kind,
// Name and Namespace are regular expressions for the whole word; Labels and
// Annotations are selectors.
type IgnoreTarget struct {
	Group, Version, Kind, Name, Namespace string
	Labels, Annotations                   string
}

// Bounds of ignore rules.
const (
	maxRules   = 100
	maxPaths   = 100
	maxPattern = 1 << 10
)

type rule struct {
	paths       [][]string
	words       [5]*regexp.Regexp
	labels      labels.Selector
	annotations labels.Selector
}

func compileRules(rules []IgnoreRule) ([]rule, error) {
	if len(rules) > maxRules {
		return nil, &SpecError{Field: "Drift.Ignore", Reason: fmt.Sprintf("there are %d rules, and at most %d are allowed", len(rules), maxRules)}
	}
	out := make([]rule, 0, len(rules))
	for i, r := range rules {
		compiled, err := compileRule(r)
		if err != nil {
			return nil, &SpecError{Field: fmt.Sprintf("Drift.Ignore[%d]", i), Reason: err.Error()}
		}
		out = append(out, compiled)
	}
	return out, nil
}

func compileRule(r IgnoreRule) (out rule, err error) {
	if len(r.Paths) == 0 || len(r.Paths) > maxPaths {
		return out, fmt.Errorf("it has %d paths; give 1 to %d", len(r.Paths), maxPaths)
	}
	for _, p := range r.Paths {
		if !strings.HasPrefix(p, "/") || len(p) > maxPattern {
			return out, fmt.Errorf("the path %.100q is no JSON pointer; write it as /spec/replicas", p)
		}
		tokens := strings.Split(p[1:], "/")
		for i, t := range tokens {
			tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
		}
		out.paths = append(out.paths, tokens)
	}
	t := r.Target
	for i, pattern := range []string{t.Group, t.Version, t.Kind, t.Name, t.Namespace} {
		if pattern == "" {
			continue
		}
		if len(pattern) > maxPattern {
			return out, fmt.Errorf("a pattern is longer than %d bytes", maxPattern)
		}
		if out.words[i], err = regexp.Compile("^(?:" + pattern + ")$"); err != nil {
			return out, fmt.Errorf("the pattern %.100q is malformed", pattern)
		}
	}
	if out.labels, err = labels.Parse(t.Labels); err != nil {
		return out, fmt.Errorf("the label selector %.100q is malformed", t.Labels)
	}
	if out.annotations, err = labels.Parse(t.Annotations); err != nil {
		return out, fmt.Errorf("the annotation selector %.100q is malformed", t.Annotations)
	}
	return out, nil
}

func (r rule) matches(obj *unstructured.Unstructured) bool {
	o := objectOf(obj)
	for i, word := range []string{o.Group, o.Version, o.Kind, o.Name, o.Namespace} {
		if r.words[i] != nil && !r.words[i].MatchString(word) {
			return false
		}
	}
	return r.labels.Matches(labels.Set(obj.GetLabels())) && r.annotations.Matches(labels.Set(obj.GetAnnotations()))
}

// ignored are the paths of an object that rules name.
func ignored(rules []rule, obj *unstructured.Unstructured) [][]string {
	var paths [][]string
	for _, r := range rules {
		if r.matches(obj) {
			paths = append(paths, r.paths...)
		}
	}
	return paths
}

// adopt gives the field of one object the value that it has in another, or takes
// it away if it has none. What makes the object the one that it is stays.
func adopt(to, from map[string]any, path []string) {
	if path[0] == "apiVersion" || path[0] == "kind" || path[0] == "metadata" && (len(path) < 2 || path[1] == "name" || path[1] == "namespace") {
		return
	}
	value, found := lookup(from, path)
	set(to, path, value, found)
}

func lookup(v any, path []string) (any, bool) {
	for _, token := range path {
		switch node := v.(type) {
		case map[string]any:
			next, ok := node[token]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(node) {
				return nil, false
			}
			v = node[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// set changes a field in place. A parent that is not there is not made: a field
// below it is none of ours.
func set(v any, path []string, value any, found bool) {
	for ; len(path) > 1; path = path[1:] {
		next, ok := lookup(v, path[:1])
		if !ok {
			return
		}
		v = next
	}
	switch node := v.(type) {
	case map[string]any:
		if _, ours := node[path[0]]; !ours {
			return
		}
		if !found {
			delete(node, path[0])
			return
		}
		node[path[0]] = value
	case []any:
		if i, err := strconv.Atoi(path[0]); found && err == nil && i >= 0 && i < len(node) {
			node[i] = value
		}
	}
}
