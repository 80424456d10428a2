package kustomize_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/kustomize"
)

// decoded gives an object with the number types that builds have.
func decoded(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	o := &unstructured.Unstructured{}
	require.NoError(t, o.UnmarshalJSON(data))
	return o
}

// withText is a ConfigMap with one text.
func withText(text string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "settings", "namespace": "shop"},
		"data":     map[string]any{"text": text},
	}}
}

func TestSubstituteDialect(t *testing.T) {
	vars := map[string]string{"v": "a-b-a", "empty": "", "_x1": "X", "path": "/usr/local/bin", "lines": "one\ntwo"}
	for text, want := range map[string]any{
		"x ${v} y":            "x a-b-a y",
		"${v:-word} y":        "a-b-a y",
		"${no:-word} y":       "word y",
		"${no:=word} y":       "word y",
		"${no=word} y":        "word y",
		"x${empty:-word}":     "xword",
		"x${empty}y":          "xy",
		"${no:=${v}} y":       "a-b-a y",
		"${no:=${none:=z}} y": "z y",
		"#${#v}":              "#5",
		"x${v:2}":             "xb-a",
		"x${v:2:1}":           "xb",
		"x${path#/*/}":        "xlocal/bin",
		"x${path%/*}":         "x/usr/local",
		"x${v/a/c}":           "xc-b-a",
		"x${v//a/c}":          "xc-b-c",
		"x${v^^}":             "xA-B-A",
		"x${_x1,,}":           "xx",
		"x $${v} $$ y":        "x ${v} $ y",
		"$v $5 $(v) $":        "$v $5 $(v) $",
		"x ${lines}":          "x onetwo",
	} {
		t.Run(text, func(t *testing.T) {
			in := withText(text)
			out, err := kustomize.Substitute(t.Context(), []*unstructured.Unstructured{in}, vars, kustomize.SubstituteOptions{})
			require.NoError(t, err)
			got, _, _ := unstructured.NestedFieldNoCopy(out[0].Object, "data", "text")
			require.Equal(t, want, got)
			require.Equal(t, withText(text), in, "what is given is not changed")
		})
	}
}

// A value gets the type that it has in YAML, as with the tools that people come from.
func TestSubstituteTypes(t *testing.T) {
	in := decoded(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: "${name}"}, spec: {replicas: "${n}", paused: "${b}", args: "${list}", ratio: "${f}", text: "n is ${n}", "${key}": 1}}`)
	out, err := kustomize.Substitute(t.Context(), []*unstructured.Unstructured{in}, map[string]string{
		"name": "web", "n": "3", "b": "true", "list": "[a, 2]", "f": "0.5", "key": "made",
	}, kustomize.SubstituteOptions{})
	require.NoError(t, err)
	require.Equal(t, "web", out[0].GetName())
	require.Equal(t, map[string]any{
		"replicas": int64(3), "paused": true, "args": []any{"a", int64(2)}, "ratio": 0.5, "text": "n is 3", "made": int64(1),
	}, out[0].Object["spec"])
}

func TestSubstituteLeavesAlone(t *testing.T) {
	plain := withText("nothing here")
	annotated := withText("${x}")
	annotated.SetAnnotations(map[string]string{"kustomize.toolkit.fluxcd.io/substitute": "disabled"})
	labelled := withText("${x}")
	labelled.SetLabels(map[string]string{"kustomize.gitopskit.dev/substitute": "disabled"})
	in := []*unstructured.Unstructured{plain, annotated, labelled}
	out, err := kustomize.Substitute(t.Context(), in, nil, kustomize.SubstituteOptions{})
	require.NoError(t, err)
	for i := range in {
		require.Same(t, in[i], out[i])
	}
	_, err = kustomize.Substitute(t.Context(), in, nil, kustomize.SubstituteOptions{OptOut: map[string]string{"other": "mark"}})
	require.Error(t, err, "marks of one's own replace the default ones")
}

func TestSubstituteErrors(t *testing.T) {
	vars := map[string]string{"v": "value", "secret": "hunter2: {"}
	for name, test := range map[string]struct{ text, variable, message string }{
		"not set":           {"${missing}", "missing", `ConfigMap shop/settings: variable "missing": it is not set`},
		"not set, changed":  {"${missing^^}", "missing", "it is not set"},
		"not set in a word": {"${no:=${missing}}", "missing", "it is not set"},
		"alternative":       {"${v:+other}", "v", "is not part of the dialect"},
		"required":          {"${v:?message}", "v", "is not part of the dialect"},
		"refused in a word": {"${no:=${v:?message}}", "v", "is not part of the dialect"},
		"open":              {"${v", "", "not well-formed"},
		"no name":           {"${}", "", "not well-formed"},
		"not YAML":          {"${secret}", "", "not valid YAML any more"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.Substitute(t.Context(), []*unstructured.Unstructured{withText(test.text)}, vars, kustomize.SubstituteOptions{})
			var bad *kustomize.VariableError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, "ConfigMap shop/settings", bad.Object)
			require.Equal(t, test.variable, bad.Variable)
			require.ErrorContains(t, err, test.message)
			require.NotContains(t, err.Error(), "hunter2")
			require.True(t, bad.Terminal())
		})
	}
	_, err := kustomize.Substitute(t.Context(), nil, map[string]string{"not-a-name": ""}, kustomize.SubstituteOptions{})
	var bad *kustomize.VariableError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "not-a-name", bad.Variable)
}

func TestSubstituteLenient(t *testing.T) {
	out, err := kustomize.Substitute(t.Context(), []*unstructured.Unstructured{withText("a${missing}b")}, nil, kustomize.SubstituteOptions{Lenient: true})
	require.NoError(t, err)
	require.Equal(t, withText("ab"), out[0])
}

func TestSubstituteIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := kustomize.Substitute(ctx, []*unstructured.Unstructured{withText("${v}")}, map[string]string{"v": "x"}, kustomize.SubstituteOptions{})
	require.ErrorIs(t, err, context.Canceled)
}

// Text and values come from people who may want to use up memory and time.
func TestAttackSubstituteCosts(t *testing.T) {
	big := strings.Repeat("a", 1<<20)
	vars := map[string]string{"big": big, "w": strings.Repeat("b", 1<<16)}
	for name, test := range map[string]struct{ text, limit string }{
		"replacements multiply":     {"${big//a/${w}}", "Bytes"},
		"nested replacements":       {"${w//b/${w//b/${w//b/${w}}}}", "Bytes"},
		"many big values":           {strings.Repeat("${big}", 100), "Bytes"},
		"dollars":                   {strings.Repeat("$ ", 200_000) + "${w}", "Dollars"},
		"patterns that never match": {"${big##*a*a*a*b}", "Steps"},
		"patterns from the end":     {"${big%%*a*a*a*b}", "Steps"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.Substitute(t.Context(), []*unstructured.Unstructured{withText(test.text)}, vars, kustomize.SubstituteOptions{})
			var limit *kustomize.LimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, test.limit, limit.Limit)
		})
	}
}

// Values that bring anchors and aliases cannot make an object grow without bound.
func TestAttackSubstituteAliases(t *testing.T) {
	bomb := "{a: &a [x, x, x, x, x, x, x, x, x, x]"
	for c := 'b'; c <= 'j'; c++ {
		bomb += fmt.Sprintf(", %c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	_, err := kustomize.Substitute(t.Context(), []*unstructured.Unstructured{withText("${bomb}")}, map[string]string{"bomb": bomb + "}"}, kustomize.SubstituteOptions{})
	var bad *kustomize.VariableError
	require.ErrorAs(t, err, &bad)
}

func FuzzSubstitute(f *testing.F) {
	for _, text := range []string{"${v}", "${v:-${w}}", "$${v}", "${v//a/${w}}", "${#v}", "${v:1:2}", "${v##*/}", "${v", "$$", "${v:?x}"} {
		f.Add(text, "value", "other")
	}
	f.Fuzz(func(t *testing.T, text, v, w string) {
		objects := []*unstructured.Unstructured{withText(text)}
		out, err := kustomize.Substitute(t.Context(), objects, map[string]string{"v": v, "w": w}, kustomize.SubstituteOptions{
			Limits: kustomize.SubstituteLimits{Bytes: 1 << 16, Dollars: 100, Steps: 1 << 20},
		})
		if err != nil {
			require.True(t, errors.As(err, new(*kustomize.VariableError)) || errors.As(err, new(*kustomize.LimitError)), "%v", err)
			return
		}
		require.Len(t, out, 1)
		if !strings.Contains(text, "${") && !strings.Contains(text, "$$") {
			require.Same(t, objects[0], out[0])
		}
	})
}

func ExampleSubstitute() {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "settings"},
		"data":     map[string]any{"url": "https://${host:=example.com}/${team}"},
	}}
	objects, err := kustomize.Substitute(context.Background(), []*unstructured.Unstructured{object},
		map[string]string{"team": "shop"}, kustomize.SubstituteOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(objects[0].Object["data"])
	// Output: map[url:https://example.com/shop]
}
