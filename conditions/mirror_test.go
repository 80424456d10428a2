package conditions_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMirror(t *testing.T) {
	for name, test := range map[string]struct {
		from *object
		opts conditions.MirrorOptions
		want metav1.Condition
	}{
		"as it is": {
			newObject(1, cond("Ready", metav1.ConditionFalse, 1)), conditions.MirrorOptions{},
			metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Some", Message: "message of Ready"},
		},
		"another type and a name": {
			newObject(1, cond("Ready", metav1.ConditionTrue, 1)), conditions.MirrorOptions{As: "SourceReady", Name: "GitRepository shop/app"},
			metav1.Condition{Type: "SourceReady", Status: metav1.ConditionTrue, Reason: "Some", Message: "GitRepository shop/app: message of Ready"},
		},
		"missing": {
			newObject(1), conditions.MirrorOptions{Type: "Built"},
			metav1.Condition{Type: "Built", Status: metav1.ConditionUnknown, Reason: "Missing", Message: "condition Built is not reported yet"},
		},
		"outdated": {
			newObject(2, cond("Ready", metav1.ConditionTrue, 1)), conditions.MirrorOptions{},
			metav1.Condition{Type: "Ready", Status: metav1.ConditionUnknown, Reason: "Outdated", Message: "condition Ready was reported for generation 1, not yet for 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, conditions.Mirror(test.from, test.opts))
			require.Zero(t, test.from.writes)
		})
	}
}

func TestAggregate(t *testing.T) {
	source := func(name string, status metav1.ConditionStatus) conditions.Source {
		return conditions.Source{Name: name, Getter: newObject(1, metav1.Condition{Type: "Ready", Status: status, Reason: "Of" + name, Message: "says " + name})}
	}
	missing := conditions.Source{Name: "m", Getter: newObject(1)}
	for name, test := range map[string]struct {
		of   []conditions.Source
		opts conditions.AggregateOptions
		want metav1.Condition
	}{
		"all good": {
			[]conditions.Source{source("b", "True"), source("a", "True")}, conditions.AggregateOptions{As: "AllReady"},
			metav1.Condition{Type: "AllReady", Status: "True", Reason: "Ofa", Message: "all 2 objects have Ready True"},
		},
		"bad before open": {
			[]conditions.Source{missing, source("b", "True"), source("z", "False"), source("a", "False")}, conditions.AggregateOptions{},
			metav1.Condition{Type: "Ready", Status: "False", Reason: "Ofa", Message: "2 of 4 objects have Ready False:\na: says a\nz: says z"},
		},
		"open": {
			[]conditions.Source{source("b", "True"), missing}, conditions.AggregateOptions{},
			metav1.Condition{Type: "Ready", Status: "Unknown", Reason: "Missing", Message: "1 of 2 objects have Ready Unknown:\nm: condition Ready is not reported yet"},
		},
		"negative": {
			[]conditions.Source{source("b", "True"), missing}, conditions.AggregateOptions{Negative: true, As: "Failed"},
			metav1.Condition{Type: "Failed", Status: "True", Reason: "Ofb", Message: "1 of 2 objects have Ready True:\nb: says b"},
		},
		"negative and missing": {
			[]conditions.Source{missing}, conditions.AggregateOptions{Negative: true},
			metav1.Condition{Type: "Ready", Status: "False", Reason: "Missing", Message: "all 1 objects have Ready False"},
		},
		"too many to name": {
			[]conditions.Source{source("c", "False"), source("b", "False"), source("a", "False")}, conditions.AggregateOptions{Most: 1},
			metav1.Condition{Type: "Ready", Status: "False", Reason: "Ofa", Message: "3 of 3 objects have Ready False:\na: says a\nand 2 more"},
		},
		"none": {
			nil, conditions.AggregateOptions{},
			metav1.Condition{Type: "Ready", Status: "Unknown", Reason: "NothingToAggregate", Message: "there are no objects"},
		},
		"none is fine": {
			nil, conditions.AggregateOptions{Empty: "True"},
			metav1.Condition{Type: "Ready", Status: "True", Reason: "NothingToAggregate", Message: "there are no objects"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				require.Equal(t, test.want, conditions.Aggregate(test.of, test.opts))
				slices.Reverse(test.of)
			}
		})
	}
}

func TestAggregateIsBounded(t *testing.T) {
	var many []conditions.Source
	for i := range 1000 {
		many = append(many, conditions.Source{Name: fmt.Sprintf("%04d", i), Getter: newObject(1, metav1.Condition{
			Type: "Ready", Status: "False", Reason: "R", Message: strings.Repeat("x", 10_000),
		})})
	}
	got := conditions.Aggregate(many, conditions.AggregateOptions{Most: 1000})
	require.LessOrEqual(t, len(got.Message), conditions.MaxMessage)
}

func ExampleAggregate() {
	ready, failed := newObject(1), newObject(1)
	conditions.MarkReady(ready, "Succeeded", "", noon)
	conditions.MarkFalse(failed, conditions.Ready, "HealthCheckFailed", "0 of 3 replicas are up", noon)
	c := conditions.Aggregate([]conditions.Source{
		{Name: "App shop/web", Getter: ready},
		{Name: "App shop/db", Getter: failed},
	}, conditions.AggregateOptions{As: "AppsReady"})
	fmt.Println(c.Type, c.Status, c.Reason)
	fmt.Println(c.Message)
	// Output:
	// AppsReady False HealthCheckFailed
	// 1 of 2 objects have Ready False:
	// App shop/db: 0 of 3 replicas are up
}
