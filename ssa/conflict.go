package ssa

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// leaveAttempts bounds how often an object is sent anew without the fields that
// conflict: others may take more of them meanwhile.
const leaveAttempts = 4

// Conflict is a field that another manager owns with another value.
type Conflict struct {
	Field   string // as the server writes it: .spec.containers[name="app"].image
	Manager string
}

// ConflictError says which fields of an object others own with other values.
// Nothing of the object was applied. It is not terminal: they may let go.
type ConflictError struct {
	Fields []Conflict // never empty
}

func (e *ConflictError) Error() string {
	parts := make([]string, 0, len(e.Fields))
	for _, f := range e.Fields {
		parts = append(parts, fmt.Sprintf("%s is owned by %q", clip.Quote(f.Field, maxQuoted), f.Manager))
	}
	const most = 5
	if n := len(parts) - most; n > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d more", n))
	}
	return "others own fields with other values: " + strings.Join(parts, "; ") +
		"; take them over or leave them (annotation " + ConflictAnnotation + "), or remove them from the manifest"
}

var conflictManager = regexp.MustCompile(`^conflict with ("(?:[^"\\]|\\.)*")`)

// conflictsOf reads the conflicts from the server's answer.
func conflictsOf(err error) []Conflict {
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var out []Conflict
	for _, c := range status.Status().Details.Causes {
		if c.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		var manager string
		if m := conflictManager.FindStringSubmatch(c.Message); m != nil {
			_ = json.Unmarshal([]byte(m[1]), &manager)
		}
		out = append(out, Conflict{Field: c.Field, Manager: manager})
	}
	slices.SortFunc(out, func(a, b Conflict) int { return cmp.Compare(a.Field, b.Field) })
	return out
}

// deliver sends an object as its conflict policy has it.
func (a *Applier) deliver(ctx context.Context, it *item, intent *unstructured.Unstructured, send patchFunc) (kube.Applied, error) {
	it.change.Left = nil
	for attempt := 1; ; attempt++ {
		res, err := a.patch(ctx, it, intent, send)
		found := conflictsOf(err)
		if len(found) == 0 {
			return res, err
		}
		if attempt == 1 && !it.dryRun && slices.ContainsFunc(found, a.withPredecessor) {
			// A predecessor's fields are ours to be.
			if m, err := a.client.GetMetadata(ctx, it.target()); err == nil && a.mustMigrate(it, m) {
				if err := a.migrate(ctx, it, m); err != nil {
					return res, err
				}
				continue
			}
		}
		if it.treat.conflicts != Leave || attempt == leaveAttempts {
			return res, &ConflictError{Fields: found}
		}
		rest, ok := without(intent, found)
		if !ok {
			return res, &ConflictError{Fields: found}
		}
		intent = rest
		it.change.Left = append(it.change.Left, found...)
	}
}

// without copies an object without fields. It reports false for a field that is
// not found, or that could be more than one.
func without(u *unstructured.Unstructured, fields []Conflict) (*unstructured.Unstructured, bool) {
	cut := &cutTree{}
	for _, f := range fields {
		r := resolver{budget: resolveSteps}
		r.resolve(u.Object, f.Field, nil)
		if len(r.found) != 1 || r.budget < 0 {
			return nil, false
		}
		cut.add(r.found[0])
	}
	obj, _ := cut.apply(u.Object, true).(map[string]any)
	if obj["metadata"] == nil || obj["kind"] == nil || obj["apiVersion"] == nil {
		return nil, false
	}
	return &unstructured.Unstructured{Object: obj}, true
}

// resolveSteps bounds the search for one field: names can be made so that the
// ways to read a path are without number.
const resolveSteps = 10_000

type resolver struct {
	budget int
	found  [][]string
}

// resolve finds what a field that the server named is in an object. Names hold
// dots and brackets as well, unescaped: only what is there tells how to read them.
func (r *resolver) resolve(v any, field string, path []string) {
	if field == "" {
		r.found = append(r.found, slices.Clone(path))
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			if r.budget--; r.budget < 0 {
				return
			}
			if rest, ok := strings.CutPrefix(field, "."+k); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				r.resolve(sub, rest, append(slices.Clip(path), k))
			}
		}
	case []any:
		for i, sub := range v {
			if r.budget--; r.budget < 0 {
				return
			}
			for _, head := range elementNames(sub, i, field) {
				if rest, ok := strings.CutPrefix(field, head); ok {
					r.resolve(sub, rest, append(slices.Clip(path), fmt.Sprint(i)))
				}
			}
		}
	}
}

var elementKey = regexp.MustCompile(`([A-Za-z0-9_-]+)=("(?:[^"\\]|\\.)*"|[^",\]]*)`)

var elementKeys = regexp.MustCompile(`^\[[A-Za-z0-9_-]+=(?:"(?:[^"\\]|\\.)*"|[^",\]]*)(?:,[A-Za-z0-9_-]+=(?:"(?:[^"\\]|\\.)*"|[^",\]]*))*\]`)

// elementNames are the ways in which the server may name an element of a list: by
// its keys, by its value, or by its place.
func elementNames(v any, i int, field string) []string {
	out := []string{fmt.Sprintf("[%d]", i)}
	m, ok := v.(map[string]any)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return out
		}
		return append(out, "[="+string(b)+"]")
	}
	head := elementKeys.FindString(field)
	if head == "" {
		return out
	}
	for _, pair := range elementKey.FindAllStringSubmatch(head, -1) {
		var want any
		if json.Unmarshal([]byte(pair[2]), &want) != nil {
			return out
		}
		if got, ok := m[pair[1]]; ok && !sameScalar(got, want) { // a key with a default may be absent
			return out
		}
	}
	return append(out, head)
}

// cutTree is a set of fields to leave out, by their names and, in lists, places.
type cutTree struct {
	whole bool
	below map[string]*cutTree
}

func (c *cutTree) add(path []string) {
	for _, name := range path {
		if c.below == nil {
			c.below = map[string]*cutTree{}
		}
		if c.below[name] == nil {
			c.below[name] = &cutTree{}
		}
		c = c.below[name]
	}
	c.whole = true
}

// apply copies v without the fields, sharing what is not changed. A field that
// is not there is no fault. With prune, maps that become empty go as well.
func (c *cutTree) apply(v any, prune bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for name, sub := range c.below {
			old, ok := out[name]
			if !ok {
				continue
			}
			if sub.whole {
				delete(out, name)
				continue
			}
			out[name] = sub.apply(old, prune)
			if prune && isEmpty(out[name]) && !isEmpty(old) {
				delete(out, name)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for i, e := range v {
			sub := c.below[fmt.Sprint(i)]
			switch {
			case sub == nil:
				out = append(out, e)
			case !sub.whole:
				out = append(out, sub.apply(e, prune))
			}
		}
		return out
	}
	return v
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}
