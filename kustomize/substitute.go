package kustomize

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// SubstituteOptions configure [Substitute]. The zero value is strict: a variable
// that is not set and has no default is an error.
type SubstituteOptions struct {
	// Lenient puts nothing in the place of a variable that is not set.
	Lenient bool
	// OptOut are annotations or labels that keep an object as it is, by name and
	// value. Nil means those of [DefaultOptOut].
	OptOut map[string]string
	// Limits bound the work on each object.
	Limits SubstituteLimits
}

// DefaultOptOut gives the marks that keep an object from being substituted: ours,
// and the one that people have in their manifests already.
func DefaultOptOut() map[string]string {
	return map[string]string{
		"kustomize.gitopskit.dev/substitute":     "disabled",
		"kustomize.toolkit.fluxcd.io/substitute": "disabled",
	}
}

// Substitute puts the values of variables in the place of their names, as
// ${name}, and returns the objects that this gives. Objects without variables, and
// those that opted out, are the same pointers; nothing of what is given is changed.
//
// The dialect is that of Bash, as far as GitOps tools have it:
//
//	${name}                                  the value
//	${name:-word} ${name:=word} ${name=word} word, if the variable is not set or empty
//	${#name}                                 the length in bytes
//	${name:start} ${name:start:length}       a part
//	${name#word} ${name##word}               without a prefix, the shortest or longest
//	${name%word} ${name%%word}               without a suffix
//	${name/word/by} ${name//word/by}         the first, or each, replaced
//	${name/#word/by} ${name/%word/by}        a prefix, or a suffix, replaced
//	${name^} ${name^^} ${name,} ${name,,}    upper and lower case
//	$${name}                                 ${name} itself
//
// A word may hold variables. $name and $(name) stay as they are. ${name:+word} and
// ${name:?word} are errors, because the tools that take them do something else than
// Bash does.
//
// An object is substituted as YAML, so a value of 3 becomes a number, and one of
// [a, b] a list, unless the manifest has it inside of a longer text. Line feeds in
// values are dropped.
//
// A name that is no variable's, an unknown variable and a bad expression are a
// [*VariableError]; objects that exceed the limits are a [*LimitError]. No error
// holds a value.
func Substitute(ctx context.Context, objects []*unstructured.Unstructured, vars map[string]string, opts SubstituteOptions) ([]*unstructured.Unstructured, error) {
	s, err := newSubstitution(vars, opts)
	if err != nil {
		return nil, fmt.Errorf("substitute: %w", err)
	}
	out := slices.Clone(objects)
	for i, object := range objects {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if out[i], err = s.object(object); err != nil {
			return nil, fmt.Errorf("substitute: %w", err)
		}
	}
	return out, nil
}

// substitution is what one call of Substitute works with.
type substitution struct {
	vars    map[string]string
	optOut  map[string]string
	lenient bool
	lim     SubstituteLimits
}

var variableName = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`)

func newSubstitution(vars map[string]string, opts SubstituteOptions) (*substitution, error) {
	s := &substitution{vars: make(map[string]string, len(vars)), optOut: opts.OptOut, lenient: opts.Lenient, lim: opts.Limits.withDefaults()}
	if s.optOut == nil {
		s.optOut = DefaultOptOut()
	}
	for name, value := range vars {
		if !variableName.MatchString(name) {
			return nil, &VariableError{Variable: name, Reason: "a name has letters, digits and underscores, and does not start with a digit"}
		}
		s.vars[name] = strings.ReplaceAll(value, "\n", "")
	}
	return s, nil
}

func (s *substitution) object(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if !hasVariable(o.Object) || s.optedOut(o) {
		return o, nil
	}
	text, err := k8syaml.Marshal(o.Object)
	if err != nil {
		return nil, &VariableError{Object: describe(o), Reason: "the object cannot be written as YAML, for instance because it holds control characters: let it opt out, or take them out"}
	}
	replaced, err := s.text(describe(o), string(text))
	if err != nil {
		return nil, err
	}
	return parseSubstituted(describe(o), replaced)
}

// optedOut looks at annotations and labels.
func (s *substitution) optedOut(o *unstructured.Unstructured) bool {
	for name, value := range s.optOut {
		if o.GetAnnotations()[name] == value || o.GetLabels()[name] == value {
			return true
		}
	}
	return false
}

// text evaluates the expressions of an object.
func (s *substitution) text(object, text string) (string, error) {
	if err := s.check(object, text); err != nil {
		return "", err
	}
	var unset string
	out, err := envsubst.Eval(text, func(name string) (string, bool) {
		value, ok := s.vars[name]
		if !ok && unset == "" {
			unset = name
		}
		return value, ok || s.lenient
	})
	if err != nil {
		return "", &VariableError{Object: object, Variable: unset, Reason: "it is not set and has no default: set it, or write ${name:=default}"}
	}
	return out, nil
}

// parseSubstituted reads what came out. The parser's message would show values, so
// it is not passed on.
func parseSubstituted(object, text string) (*unstructured.Unstructured, error) {
	bad := &VariableError{Object: object, Reason: "with the values in their places the object is not valid YAML any more: put expressions whose values have special characters in quotes within a longer text, or quote the values"}
	data, err := k8syaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, bad
	}
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &o.Object); err != nil || o.Object == nil {
		return nil, bad
	}
	return o, nil
}

// hasVariable reports whether a value has anything that is substituted, in its
// keys as well.
func hasVariable(value any) bool {
	switch value := value.(type) {
	case string:
		return strings.Contains(value, "${") || strings.Contains(value, "$$")
	case map[string]any:
		for k, v := range value {
			if hasVariable(k) || hasVariable(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, hasVariable)
	}
	return false
}

// describe names an object in a message.
func describe(o *unstructured.Unstructured) string {
	name := o.GetName()
	if ns := o.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return clip.Quote(o.GetKind()+" "+name, 200)
}

// VariableError says which variable, or which expression, cannot be substituted.
type VariableError struct {
	Object   string // kind and name; empty if it is about a variable itself
	Variable string // empty if it is about the expressions of an object
	Reason   string
}

func (e *VariableError) Error() string {
	var where []string
	if e.Object != "" {
		where = append(where, e.Object)
	}
	if e.Variable != "" {
		where = append(where, "variable "+quote(e.Variable))
	}
	return strings.Join(append(where, e.Reason), ": ")
}

// Terminal reports that trying again cannot help.
func (e *VariableError) Terminal() bool { return true }
