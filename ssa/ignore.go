package ssa

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
)

// Bounds of ignore rules, which are often written by those who write the objects.
const (
	maxIgnoreRules   = 100
	maxPointers      = 100 // of one rule
	maxPointerLength = 1 << 10
	// adoptAttempts bounds how often an object is looked at and applied anew because
	// it changed in between.
	adoptAttempts = 5
)

// IgnoreMode says what becomes of the fields that an IgnoreRule names.
type IgnoreMode string

// The modes. Strip is the default.
const (
	// Strip never sends the field. One that we own already is removed by the next
	// apply, unless somebody else owns it as well.
	Strip IgnoreMode = "strip"
	// Adopt sends the field when the object is created. Afterwards what is in the
	// cluster stays: as long as nobody else owns the field we keep it as it is, and
	// then it is theirs. Each apply of such an object costs one read more.
	Adopt IgnoreMode = "adopt"
)

// IgnoreRule takes fields of some objects out of the apply.
type IgnoreRule struct {
	Target   IgnoreTarget
	Pointers []string   // JSON pointers (RFC 6901) into the object of the set, as in /spec/replicas; what is not there is no fault
	Mode     IgnoreMode // default Strip
}

// IgnoreTarget selects objects. What is empty selects all, but for a group: "core"
// is the core group. Names and namespaces may hold * and ?.
type IgnoreTarget struct {
	Group, Kind, Namespace, Name string
	Labels                       string // a label selector
}

// IgnoreRuleError says which ignore rule is wrong, and why. Nothing was applied.
type IgnoreRuleError struct {
	Rule    int    // its place in ApplyOptions.Ignore, from 0
	Pointer string // shortened; empty if the rule is wrong elsewhere
	Reason  string
}

func (e *IgnoreRuleError) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("apply: ApplyOptions.Ignore[%d]: %s", e.Rule, e.Reason)
	}
	return fmt.Sprintf("apply: ApplyOptions.Ignore[%d]: pointer %q: %s", e.Rule, e.Pointer, e.Reason)
}

// Terminal says that the rule must be changed.
func (e *IgnoreRuleError) Terminal() bool { return true }

type ignoreRule struct {
	target IgnoreTarget
	labels labels.Selector
	paths  [][]string
	adopt  bool
}

func parseIgnoreRules(rules []IgnoreRule) ([]ignoreRule, error) {
	if len(rules) > maxIgnoreRules {
		return nil, &IgnoreRuleError{Rule: maxIgnoreRules, Reason: fmt.Sprintf("there are %d rules; at most %d are allowed", len(rules), maxIgnoreRules)}
	}
	out := make([]ignoreRule, 0, len(rules))
	for i, r := range rules {
		parsed, pointer, err := parseIgnoreRule(r)
		if err != nil {
			return nil, &IgnoreRuleError{Rule: i, Pointer: clip.Quote(pointer, maxQuoted), Reason: err.Error()}
		}
		out = append(out, parsed)
	}
	return out, nil
}

func parseIgnoreRule(r IgnoreRule) (out ignoreRule, pointer string, err error) {
	out = ignoreRule{target: r.Target, adopt: r.Mode == Adopt}
	if r.Mode != "" && r.Mode != Strip && r.Mode != Adopt {
		return out, "", fmt.Errorf("its mode is %q; it must be %q or %q", clip.Quote(string(r.Mode), maxQuoted), Strip, Adopt)
	}
	if len(r.Pointers) == 0 || len(r.Pointers) > maxPointers {
		return out, "", fmt.Errorf("it has %d pointers; give 1 to %d", len(r.Pointers), maxPointers)
	}
	for _, p := range []string{r.Target.Name, r.Target.Namespace} {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, `[\/`) {
			return out, "", fmt.Errorf("its pattern %q is malformed; use * and ? alone", clip.Quote(p, maxQuoted))
		}
	}
	if out.labels, err = labels.Parse(r.Target.Labels); err != nil {
		return out, "", fmt.Errorf("its label selector is malformed: %s", clip.Quote(err.Error(), maxQuoted))
	}
	for _, p := range r.Pointers {
		tokens, err := parsePointer(p)
		if err != nil {
			return out, p, err
		}
		out.paths = append(out.paths, tokens)
	}
	return out, "", nil
}

// parsePointer reads a JSON pointer, and refuses those to what makes the object
// the one that it is.
func parsePointer(p string) ([]string, error) {
	if len(p) > maxPointerLength {
		return nil, fmt.Errorf("it is longer than %d bytes", maxPointerLength)
	}
	if !strings.HasPrefix(p, "/") {
		return nil, fmt.Errorf("it must begin with a slash, as in /spec/replicas")
	}
	tokens := strings.Split(p[1:], "/")
	for i, t := range tokens {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(t), "~") {
			return nil, fmt.Errorf("a ~ must be written ~0, and a slash within a name ~1")
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	whole := []string{"metadata", "labels", gc.OwnerLabel}
	needed := tokens[0] == "apiVersion" || tokens[0] == "kind" ||
		tokens[0] == "metadata" && (len(tokens) == 1 || tokens[1] == "name" || tokens[1] == "namespace" || strings.HasPrefix(strings.Join(whole, "\x00")+"\x00", strings.Join(tokens, "\x00")+"\x00"))
	if needed {
		return nil, fmt.Errorf("the field says which object it is, and whose; it cannot be ignored")
	}
	return tokens, nil
}

func (r *ignoreRule) selects(k gc.Key, u *unstructured.Unstructured) bool {
	t := r.target
	group := k.Group
	if group == "" {
		group = "core"
	}
	return (t.Group == "" || t.Group == group) && (t.Kind == "" || t.Kind == k.Kind) &&
		matches(t.Namespace, k.Namespace) && matches(t.Name, k.Name) && r.labels.Matches(labels.Set(u.GetLabels()))
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return pattern == "" || ok && err == nil
}

// ignoreFields takes the fields to strip out of an intent, and returns those to adopt.
func ignoreFields(rules []ignoreRule, k gc.Key, intent *unstructured.Unstructured) (*unstructured.Unstructured, [][]string) {
	var adopt [][]string
	cut := &cutTree{}
	for _, r := range rules {
		switch {
		case !r.selects(k, intent):
		case r.adopt:
			adopt = append(adopt, r.paths...)
		default:
			for _, p := range r.paths {
				cut.add(p)
			}
		}
	}
	if len(cut.below) > 0 {
		obj, _ := cut.apply(intent.Object, true).(map[string]any)
		intent = &unstructured.Unstructured{Object: obj}
	}
	return intent, adopt
}

// applyAdopting brings an object about of which some fields stay as they are in
// the cluster. Preconditions make sure that it is as it was looked at.
func (a *Applier) applyAdopting(ctx context.Context, it *item) error {
	for attempt := 1; ; attempt++ {
		err := a.adoptOnce(ctx, it, attempt > 1)
		if !apierrors.IsConflict(err) || len(conflictsOf(err)) > 0 || attempt == adoptAttempts {
			return err
		}
	}
}

func (a *Applier) adoptOnce(ctx context.Context, it *item, exists bool) error {
	if !it.known && !exists {
		res, err := a.patch(ctx, it, createOnly(it.want()), a.client.Apply)
		return a.settle(it, res, err)
	}
	before, err := a.client.Get(ctx, it.target())
	if apierrors.IsNotFound(err) {
		res, err := a.patch(ctx, it, createOnly(it.want()), a.client.Apply)
		return a.settle(it, res, err)
	}
	if err != nil {
		return err
	}
	return a.correctFrom(ctx, it, before)
}

// adopted is an intent whose ignored fields are what they are in the cluster, or
// left out where others own them.
func (a *Applier) adopted(it *item, before *unstructured.Unstructured) *unstructured.Unstructured {
	var all fieldTree
	var others []fieldTree
	for _, e := range before.GetManagedFields() {
		fields := parseFields(e)
		all = union(all, fields)
		if !isOurs(e, a.manager) && !a.predecessor(e) {
			others = append(others, fields)
		}
	}
	cut := &cutTree{}
	obj := it.want().Object
	for _, p := range it.adopt {
		live, keys, found := follow(it.want().Object, before.Object, all, p)
		switch {
		case !found:
			// Not in the set: nothing would be sent.
		case live == nil || ownedByAny(others, keys):
			cut.add(p)
		default:
			obj, _ = replace(obj, p, live).(map[string]any)
		}
	}
	if len(cut.below) > 0 {
		obj, _ = cut.apply(obj, true).(map[string]any)
	}
	return withMetadata(&unstructured.Unstructured{Object: obj}, "resourceVersion", before.GetResourceVersion())
}

func ownedByAny(owners []fieldTree, keys []string) bool {
	for _, o := range owners {
		if owns(o, keys) {
			return true
		}
	}
	return false
}

// follow finds the value in the cluster that a pointer into the intent means, and
// its path in managedFields. Elements of lists are the same if they have the same
// keys, wherever they stand.
func follow(intent, live any, owned fieldTree, tokens []string) (value any, keys []string, found bool) {
	for _, t := range tokens {
		key := "f:" + t
		switch v := intent.(type) {
		case map[string]any:
			if intent, found = v[t]; !found {
				return nil, nil, false
			}
		case []any:
			i, err := strconv.Atoi(t)
			if err != nil || i < 0 || i >= len(v) {
				return nil, nil, false
			}
			if key, found = listKey(v, i, owned); !found {
				return nil, nil, false // a list that is replaced as a whole
			}
			intent = v[i]
		default:
			return nil, nil, false
		}
		live = child(live, key)
		keys = append(keys, key)
		owned, _ = owned[key].(map[string]any)
	}
	return live, keys, true
}

func listKey(items []any, i int, owned fieldTree) (string, bool) {
	for key := range owned {
		if key != "." && indexOf(items, key) == i {
			return key, true
		}
	}
	return "", false
}

// replace copies v with another value for a field that is there.
func replace(v any, tokens []string, value any) any {
	if len(tokens) == 0 {
		return value
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = e
		}
		out[tokens[0]] = replace(v[tokens[0]], tokens[1:], value)
		return out
	case []any:
		out := append([]any(nil), v...)
		if i, err := strconv.Atoi(tokens[0]); err == nil && i >= 0 && i < len(out) {
			out[i] = replace(v[i], tokens[1:], value)
		}
		return out
	}
	return v
}
