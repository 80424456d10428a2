package conditions

import (
	"encoding/json"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// state is an object taken apart for comparison.
type state struct {
	uid        types.UID
	version    string
	generation int64
	body       map[string]any // all but the status
	status     map[string]any // without its conditions
	conditions []metav1.Condition
}

func stateOf(obj Object) (*state, error) {
	// Of an unstructured object the content is the object's own.
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj.DeepCopyObject())
	if err != nil {
		return nil, err
	}
	s := &state{
		uid: obj.GetUID(), version: obj.GetResourceVersion(), generation: obj.GetGeneration(),
		body: content, conditions: slices.Clone(obj.GetConditions()),
	}
	s.status, _ = content["status"].(map[string]any)
	delete(s.status, "conditions")
	delete(content, "status")
	if meta, ok := content["metadata"].(map[string]any); ok {
		for _, field := range []string{"resourceVersion", "generation", "managedFields", "creationTimestamp", "uid", "selfLink"} {
			delete(meta, field) // the server writes these
		}
	}
	return s, nil
}

// body is the patch for metadata, spec and the like; nil if there is nothing to
// write.
func (w *write) body() ([]byte, error) {
	patch := mergePatch(w.patcher.was.body, w.want.body)
	if len(patch) == 0 {
		return nil, nil
	}
	meta, _ := patch["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		patch["metadata"] = meta
	}
	for _, list := range []struct{ field, key string }{{"finalizers", ""}, {"ownerReferences", "uid"}} {
		if _, changed := meta[list.field]; changed {
			meta[list.field] = mergeLists(list.key, listOf(w.patcher.was, list.field), listOf(w.want, list.field), listOf(w.latest, list.field))
		}
	}
	meta["resourceVersion"] = w.latest.version
	return json.Marshal(patch)
}

// status is the patch for the status; nil if there is nothing to write.
func (w *write) status() ([]byte, error) {
	patch := mergePatch(w.patcher.was.status, w.want.status)
	merged, err := w.conditions()
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(merged, w.latest.conditions, equal) {
		patch["conditions"] = merged
	}
	if len(patch) == 0 {
		return nil, nil
	}
	// The list of conditions is replaced as a whole, so nobody may have changed it; and
	// this must be the same object still, not another one of its name.
	return json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": w.latest.version}, "status": patch})
}

// conditions puts what this controller changed on top of what the server has.
func (w *write) conditions() ([]metav1.Condition, error) {
	was, want, latest := byType(w.patcher.was.conditions), byType(w.want.conditions), byType(w.latest.conditions)
	merged := slices.Clone(w.latest.conditions)
	for _, t := range changedTypes(w.patcher.was.conditions, w.want.conditions) {
		theirs := !same(latest[t], was[t]) && !same(latest[t], want[t])
		if theirs && !slices.Contains(w.patcher.owned, t) {
			return nil, &ConflictError{Object: nameOf(w.patcher.obj), Type: t}
		}
		if want[t] == nil {
			merged = without(merged, t)
		} else {
			merged = put(merged, *want[t])
		}
	}
	return merged, nil
}

// changedTypes lists the types of conditions that are not the same in both, in the
// order of the second, and last those that it lacks.
func changedTypes(was, want []metav1.Condition) []string {
	before, after := byType(was), byType(want)
	var changed []string
	for _, c := range slices.Concat(want, was) {
		if !same(before[c.Type], after[c.Type]) && !slices.Contains(changed, c.Type) {
			changed = append(changed, c.Type)
		}
	}
	return changed
}

func byType(list []metav1.Condition) map[string]*metav1.Condition {
	out := make(map[string]*metav1.Condition, len(list))
	for i := range list {
		out[list[i].Type] = &list[i]
	}
	return out
}

func same(a, b *metav1.Condition) bool {
	return a == b || a != nil && b != nil && equal(*a, *b)
}

// mergePatch is what turns one value into another, by RFC 7386: fields that are
// gone are null, lists are replaced.
func mergePatch(was, want map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range was {
		if _, stays := want[key]; !stays {
			patch[key] = nil
		}
	}
	for key, value := range want {
		before, had := was[key]
		inner, isMap := value.(map[string]any)
		outer, wasMap := before.(map[string]any)
		switch {
		case isMap && wasMap:
			if diff := mergePatch(outer, inner); len(diff) > 0 {
				patch[key] = diff
			}
		case !had || !reflect.DeepEqual(before, value):
			patch[key] = value
		}
	}
	return patch
}

// mergeLists makes the changes between two lists to a third. Items are told apart
// by a field, or are what they are.
func mergeLists(key string, was, want, latest []any) []any {
	identity := func(item any) any {
		if m, ok := item.(map[string]any); ok {
			return m[key]
		}
		return item
	}
	index := func(list []any, item any) int {
		return slices.IndexFunc(list, func(other any) bool { return identity(other) == identity(item) })
	}
	merged := slices.DeleteFunc(slices.Clone(latest), func(item any) bool {
		return index(was, item) >= 0 && index(want, item) < 0
	})
	for _, item := range want {
		before := index(was, item)
		unchanged := before >= 0 && reflect.DeepEqual(was[before], item)
		switch i := index(merged, item); {
		case unchanged:
		case i >= 0:
			merged[i] = item
		default:
			merged = append(merged, item)
		}
	}
	return merged
}

func listOf(s *state, field string) []any {
	meta, _ := s.body["metadata"].(map[string]any)
	list, _ := meta[field].([]any)
	return list
}
