package celhealth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/ssa"
	"github.com/gitopskit/gitopskit/ssa/celhealth"
)

func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte("apiVersion: example.com/v1\nkind: Database\n" + text))
	require.NoError(t, err)
	require.NoError(t, u.UnmarshalJSON(raw))
	return u
}

var rule = celhealth.Rule{
	APIVersion: "example.com/v1",
	Kind:       "Database",
	InProgress: `status.phase == "Moving"`,
	Failed:     `status.phase == "Lost" || status.conditions.exists(c, c.type == "Broken" && c.status == "True")`,
	Current:    `status.phase in ["Online", "ReadOnly"] && status.replicas >= spec.replicas`,
}

func TestRules(t *testing.T) {
	checks, err := celhealth.New([]celhealth.Rule{rule}, celhealth.Options{})
	require.NoError(t, err)
	require.Len(t, checks, 1)
	require.Equal(t, "example.com", checks[0].Group)
	require.Equal(t, "Database", checks[0].Kind)
	for name, c := range map[string]struct {
		text string
		want ssa.Status
	}{
		"no status yet":        {"spec: {replicas: 2}", ssa.InProgress},
		"status is null":       {"status: null", ssa.InProgress},
		"a field is missing":   {"spec: {replicas: 2}\nstatus: {phase: Online}", ssa.InProgress},
		"moving":               {"status: {phase: Moving}", ssa.InProgress},
		"lost":                 {"status: {phase: Lost}", ssa.Broken},
		"a condition":          {"status: {phase: Odd, conditions: [{type: Broken, status: 'True'}]}", ssa.Broken},
		"too few":              {"spec: {replicas: 2}\nstatus: {phase: Online, replicas: 1}", ssa.InProgress},
		"enough":               {"spec: {replicas: 2}\nstatus: {phase: Online, replicas: 2}", ssa.Current},
		"of an old generation": {"metadata: {generation: 3}\nspec: {replicas: 2}\nstatus: {phase: Lost, observedGeneration: 2}", ssa.InProgress},
		"of this generation":   {"metadata: {generation: 3}\nspec: {replicas: 2}\nstatus: {phase: Lost, observedGeneration: 3}", ssa.Broken},
	} {
		t.Run(name, func(t *testing.T) {
			got, why, err := checks[0].Func(t.Context(), object(t, c.text))
			require.NoError(t, err)
			require.Equal(t, c.want, got, why)
			require.NotEmpty(t, why)
		})
	}
}

func TestRulesSelect(t *testing.T) {
	for name, c := range map[string]struct {
		narrow  func(*celhealth.Rule)
		decides bool
	}{
		"all":             {func(*celhealth.Rule) {}, true},
		"name":            {func(r *celhealth.Rule) { r.Name = "orders" }, true},
		"other name":      {func(r *celhealth.Rule) { r.Name = "order" }, false},
		"namespace":       {func(r *celhealth.Rule) { r.Namespace = "shop" }, true},
		"other namespace": {func(r *celhealth.Rule) { r.Namespace = "shops" }, false},
		"labels":          {func(r *celhealth.Rule) { r.Selector = "tier=data,!test" }, true},
		"other labels":    {func(r *celhealth.Rule) { r.Selector = "tier!=data" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := celhealth.Rule{APIVersion: "example.com/v1", Kind: "Database", Current: "self.metadata.name == metadata.name"}
			c.narrow(&r)
			checks, err := celhealth.New([]celhealth.Rule{r}, celhealth.Options{})
			require.NoError(t, err)
			got, _, err := checks[0].Func(t.Context(), object(t, "metadata: {name: orders, namespace: shop, labels: {tier: data}}"))
			require.NoError(t, err)
			require.Equal(t, c.decides, got == ssa.Current)
			require.Equal(t, c.decides, got != "")
		})
	}
}

func TestMistakesAreReportedAtOnce(t *testing.T) {
	good := celhealth.Rule{APIVersion: "v1", Kind: "Pod", Current: "true"}
	wrong := func(change func(*celhealth.Rule)) celhealth.Rule {
		r := good
		change(&r)
		return r
	}
	_, err := celhealth.New([]celhealth.Rule{
		good,
		wrong(func(r *celhealth.Rule) { r.Current = "" }),
		wrong(func(r *celhealth.Rule) { r.Failed = "status.phase ==" }),
		wrong(func(r *celhealth.Rule) { r.InProgress = "stauts.phase == 'x'" }),
		wrong(func(r *celhealth.Rule) { r.Current = "1 + 1" }),
		wrong(func(r *celhealth.Rule) { r.Current = strings.Repeat("true && ", 2000) + "true" }),
		wrong(func(r *celhealth.Rule) { r.Kind = "" }),
		wrong(func(r *celhealth.Rule) { r.APIVersion = "" }),
		wrong(func(r *celhealth.Rule) { r.APIVersion = "a/b/c" }),
		wrong(func(r *celhealth.Rule) { r.Selector = "a in" }),
	}, celhealth.Options{})
	var first *celhealth.RuleError
	require.ErrorAs(t, err, &first)
	require.True(t, first.Terminal())
	require.Equal(t, 1, first.Index)
	lines := err.Error()
	for _, says := range []string{
		"rule 2 (Pod): Current: it is empty", "rule 3 (Pod): Failed:", "rule 4 (Pod): InProgress:", "undeclared reference to 'stauts'",
		"rule 5 (Pod): Current: it makes a int", "rule 6 (Pod): Current: it has 16004 bytes",
		"rule 7 (): Kind", "rule 8 (Pod): APIVersion: it is empty", "rule 9 (Pod): APIVersion", "rule 10 (Pod): Selector",
	} {
		require.Contains(t, lines, says)
	}
}

func TestAnnotations(t *testing.T) {
	annotated := object(t, `
metadata: {annotations: {gitopskit.dev/health-current: 'status.phase == "Up"', gitopskit.dev/health-failed: 'status.phase == "Down"'}}
status: {phase: Down}`)
	checks, err := celhealth.New(nil, celhealth.Options{})
	require.NoError(t, err)
	require.Empty(t, checks, "annotations count only where they are asked for")

	checks, err = celhealth.New([]celhealth.Rule{rule}, celhealth.Options{Annotations: true})
	require.NoError(t, err)
	require.Empty(t, checks[0].Kind, "before the rules, for every kind")
	for phase, want := range map[string]ssa.Status{"Up": ssa.Current, "Down": ssa.Broken, "Else": ssa.InProgress} {
		require.NoError(t, unstructured.SetNestedField(annotated.Object, phase, "status", "phase"))
		got, _, err := checks[0].Func(t.Context(), annotated)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	got, _, err := checks[0].Func(t.Context(), object(t, "status: {phase: Up}"))
	require.NoError(t, err)
	require.Empty(t, got, "the rules decide")

	for i := range 1000 { // more than are remembered
		annotated.SetAnnotations(map[string]string{celhealth.CurrentAnnotation: fmt.Sprintf("%d == %d", i, i)})
		got, _, err := checks[0].Func(t.Context(), annotated)
		require.NoError(t, err)
		require.Equal(t, ssa.Current, got)
	}
	annotated.SetAnnotations(map[string]string{celhealth.FailedAnnotation: "true"})
	_, _, err = checks[0].Func(t.Context(), annotated)
	require.ErrorContains(t, err, "its annotation for Current: it is empty")
}

func TestWrongTypesAreErrors(t *testing.T) {
	checks, err := celhealth.New([]celhealth.Rule{{APIVersion: "v1", Kind: "X", Current: "status.phase"}}, celhealth.Options{})
	require.NoError(t, err)
	_, _, err = checks[0].Func(t.Context(), object(t, "status: {phase: Up}"))
	require.ErrorContains(t, err, "its health expression for Current: it made a string and not a bool")
}

// An expression that would run for hours must end soon, by either bound.
func TestAttackEndlessExpressions(t *testing.T) {
	var list []any
	for range 1000 {
		list = append(list, strings.Repeat("a", 1000))
	}
	obj := object(t, "spec: {}")
	obj.Object["data"] = map[string]any{"l": list}
	nested := "data.l.all(a, data.l.all(b, data.l.all(c, data.l.all(d, a + b + c + d != ''))))"
	for name, c := range map[string]struct {
		expression string
		opts       celhealth.Options
		says       string
	}{
		"cost":     {nested, celhealth.Options{CostLimit: 20_000, Timeout: time.Hour}, "cost limit exceeded"},
		"deadline": {nested, celhealth.Options{CostLimit: 1 << 60}, "interrupted"},
		"pattern":  {"data.l.exists(a, data.l.exists(b, (a + b).matches('(a*)*(a*)*b')))", celhealth.Options{CostLimit: 20_000, Timeout: time.Hour}, "cost limit exceeded"},
		"growth":   {"data.l.map(a, data.l.map(b, data.l.map(c, a + b + c))).size() > 0", celhealth.Options{CostLimit: 20_000, Timeout: time.Hour}, "cost limit exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			checks, err := celhealth.New([]celhealth.Rule{{APIVersion: "v1", Kind: "X", Current: c.expression}}, c.opts)
			require.NoError(t, err)
			start := time.Now()
			_, _, err = checks[0].Func(t.Context(), obj)
			require.ErrorContains(t, err, c.says)
			require.Less(t, time.Since(start), 5*time.Second)
			require.Less(t, len(err.Error()), 500)
		})
	}
}

func TestAttackDeepExpression(t *testing.T) {
	_, err := celhealth.New([]celhealth.Rule{{APIVersion: "v1", Kind: "X", Current: strings.Repeat("(", 4000) + "true" + strings.Repeat(")", 4000)}}, celhealth.Options{})
	require.ErrorContains(t, err, "recursion")
}

func TestEvaluationEndsWithItsContext(t *testing.T) {
	checks, err := celhealth.New([]celhealth.Rule{{APIVersion: "v1", Kind: "X", Current: "data.l.all(a, data.l.all(b, a <= b || true))"}}, celhealth.Options{CostLimit: 1 << 60, Timeout: time.Hour})
	require.NoError(t, err)
	obj := object(t, "spec: {}")
	list := make([]any, 20_000)
	for i := range list {
		list[i] = int64(i)
	}
	obj.Object["data"] = map[string]any{"l": list}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = checks[0].Func(ctx, obj)
	require.ErrorContains(t, err, "interrupted")
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{rule.Current, rule.Failed, "true", "has(status.a)", "data.l.map(x, x)", "'a'.matches('(')", "[1,2][5] == 1", "((", "status[status]"} {
		f.Add(s)
	}
	obj := object(f, "status: {phase: Up, conditions: [{type: a, status: 'True'}]}\ndata: {l: [a, b, c]}")
	f.Fuzz(func(t *testing.T, text string) {
		checks, err := celhealth.New([]celhealth.Rule{{APIVersion: "v1", Kind: "X", Current: text}}, celhealth.Options{})
		if err != nil {
			return
		}
		start := time.Now()
		s, _, err := checks[0].Func(t.Context(), obj)
		if err == nil && s != ssa.Current && s != ssa.InProgress {
			t.Errorf("%q made %q", text, s)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%q took %s", text, d)
		}
	})
}
