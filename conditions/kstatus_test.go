package conditions_test

import (
	"testing"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReconcilingAndStalledExistOnlyWhileTrue(t *testing.T) {
	for _, conditionType := range []string{conditions.Reconciling, conditions.Stalled} {
		for name, mark := range map[string]func(o *object) bool{
			"false":   func(o *object) bool { return conditions.MarkFalse(o, conditionType, "Some", "", noon) },
			"unknown": func(o *object) bool { return conditions.MarkUnknown(o, conditionType, "Some", "", noon) },
			"empty": func(o *object) bool {
				return conditions.Set(o, metav1.Condition{Type: conditionType}, noon)
			},
		} {
			t.Run(conditionType+" "+name, func(t *testing.T) {
				o := newObject(1)
				require.False(t, mark(o))
				require.Empty(t, o.conditions)

				require.True(t, conditions.MarkTrue(o, conditionType, "Some", "", noon))
				require.True(t, mark(o))
				require.Empty(t, o.conditions)
			})
		}
	}
}

func TestStalledExcludesReconciling(t *testing.T) {
	o := newObject(1)
	conditions.MarkTrue(o, conditions.Reconciling, "Some", "", noon)
	conditions.MarkTrue(o, conditions.Stalled, "Some", "", noon)
	require.Equal(t, []string{conditions.Stalled}, types(o))

	conditions.MarkTrue(o, conditions.Reconciling, "Some", "", noon)
	require.Equal(t, []string{conditions.Reconciling}, types(o))
}

func TestMarkReady(t *testing.T) {
	for _, was := range []string{conditions.Reconciling, conditions.Stalled} {
		o := newObject(2, cond(was, "True", 2), cond("Ready", "False", 1))
		require.True(t, conditions.MarkReady(o, "Succeeded", "all applied", later))
		require.Equal(t, []string{"Ready"}, types(o))
		require.True(t, conditions.IsTrue(o, conditions.Ready))
		require.False(t, conditions.MarkReady(o, "Succeeded", "all applied", later.Add(1)), "nothing left to change")
	}
}

func TestMarkReadyReportsThatItRemovedSomething(t *testing.T) {
	o := newObject(1)
	conditions.MarkReady(o, "Succeeded", "fine", noon)
	conditions.MarkTrue(o, conditions.Reconciling, "Some", "", noon)
	require.True(t, conditions.MarkReady(o, "Succeeded", "fine", later))
}

func TestMarkReconciling(t *testing.T) {
	for name, test := range map[string]struct {
		ready []metav1.Condition
		want  metav1.ConditionStatus
		at    int64
	}{
		"a new object is unknown":         {nil, "Unknown", 2},
		"ready stays ready":               {[]metav1.Condition{cond("Ready", "True", 2)}, "True", 2},
		"failed stays failed":             {[]metav1.Condition{cond("Ready", "False", 2)}, "False", 2},
		"an earlier generation is no say": {[]metav1.Condition{cond("Ready", "True", 1)}, "Unknown", 2},
		"no generation is taken as is":    {[]metav1.Condition{cond("Ready", "True", 0)}, "True", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObject(2, append(test.ready, cond(conditions.Stalled, "True", 1))...)
			require.True(t, conditions.MarkReconciling(o, "Progressing", "building", later))
			ready := conditions.Get(o, conditions.Ready)
			require.Equal(t, test.want, ready.Status)
			require.Equal(t, test.at, ready.ObservedGeneration)
			require.True(t, conditions.IsTrue(o, conditions.Reconciling))
			require.False(t, conditions.Has(o, conditions.Stalled))
			require.False(t, conditions.MarkReconciling(o, "Progressing", "building", later))
		})
	}
}

func TestMarkStalled(t *testing.T) {
	o := newObject(2, cond("Ready", "True", 2), cond(conditions.Reconciling, "True", 2))
	require.True(t, conditions.MarkStalled(o, "InvalidURL", "no such scheme", later))
	require.Equal(t, []string{"Ready", "Stalled"}, types(o))
	for _, conditionType := range []string{"Ready", "Stalled"} {
		require.Equal(t, "InvalidURL", conditions.Get(o, conditionType).Reason)
		require.Equal(t, "no such scheme", conditions.Get(o, conditionType).Message)
	}
	require.True(t, conditions.IsFalse(o, "Ready"))
	require.True(t, conditions.IsTrue(o, "Stalled"))
	require.False(t, conditions.MarkStalled(o, "InvalidURL", "no such scheme", later))
}
