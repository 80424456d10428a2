package conditions_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	noon  = time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Minute)
)

// object is the least that takes part.
type object struct {
	metav1.ObjectMeta
	conditions []metav1.Condition
	writes     int
}

func (o *object) GetConditions() []metav1.Condition { return o.conditions }

func (o *object) SetConditions(c []metav1.Condition) {
	o.conditions = c
	o.writes++
}

func newObject(generation int64, with ...metav1.Condition) *object {
	return &object{ObjectMeta: metav1.ObjectMeta{Generation: generation}, conditions: with}
}

func cond(conditionType string, status metav1.ConditionStatus, generation int64) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: status, ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(noon), Reason: "Some", Message: "message of " + conditionType,
	}
}

func types(o *object) []string {
	var all []string
	for _, c := range o.conditions {
		all = append(all, c.Type)
	}
	return all
}

func TestMissingMeansUnknown(t *testing.T) {
	o := newObject(1)
	require.Nil(t, conditions.Get(o, "Fetched"))
	require.False(t, conditions.Has(o, "Fetched"))
	require.True(t, conditions.IsUnknown(o, "Fetched"))
	require.False(t, conditions.IsTrue(o, "Fetched"))
	require.False(t, conditions.IsFalse(o, "Fetched"))
}

func TestReadEachStatus(t *testing.T) {
	for status, want := range map[metav1.ConditionStatus][3]bool{
		metav1.ConditionTrue:    {true, false, false},
		metav1.ConditionFalse:   {false, true, false},
		metav1.ConditionUnknown: {false, false, true},
		"":                      {false, false, true},
		"true":                  {false, false, true},
	} {
		o := newObject(1, cond("Other", metav1.ConditionTrue, 1), cond("Fetched", status, 1))
		require.True(t, conditions.Has(o, "Fetched"))
		require.Equal(t, want, [3]bool{
			conditions.IsTrue(o, "Fetched"), conditions.IsFalse(o, "Fetched"), conditions.IsUnknown(o, "Fetched"),
		}, "status %q", status)
	}
}

func TestGetReturnsACopy(t *testing.T) {
	o := newObject(1, cond("Fetched", metav1.ConditionTrue, 1))
	conditions.Get(o, "Fetched").Message = "changed"
	require.Equal(t, "message of Fetched", o.conditions[0].Message)
}

func TestTransitionTime(t *testing.T) {
	o := newObject(3)
	require.True(t, conditions.MarkTrue(o, "Fetched", "Some", "one", noon.Add(400*time.Millisecond)))
	require.Equal(t, noon, conditions.Get(o, "Fetched").LastTransitionTime.UTC(), "whole seconds")

	require.True(t, conditions.MarkTrue(o, "Fetched", "Some", "two", later))
	require.Equal(t, noon, conditions.Get(o, "Fetched").LastTransitionTime.UTC(), "same status")
	require.Equal(t, "two", conditions.Get(o, "Fetched").Message)

	require.True(t, conditions.MarkFalse(o, "Fetched", "Some", "two", later))
	require.Equal(t, later, conditions.Get(o, "Fetched").LastTransitionTime.UTC(), "other status")

	given := cond("Fetched", metav1.ConditionUnknown, 0)
	require.True(t, conditions.Set(o, given, later))
	require.Equal(t, noon, conditions.Get(o, "Fetched").LastTransitionTime.UTC(), "the caller's own")
}

func TestZeroTimeMeansNow(t *testing.T) {
	o := newObject(1)
	before := time.Now().Truncate(time.Second)
	conditions.MarkTrue(o, "Fetched", "Some", "", time.Time{})
	got := conditions.Get(o, "Fetched").LastTransitionTime.Time
	require.False(t, got.Before(before))
	require.False(t, got.After(time.Now()))
}

func TestMissingTransitionTimeIsFilled(t *testing.T) {
	broken := cond("Fetched", metav1.ConditionTrue, 1)
	broken.LastTransitionTime = metav1.Time{}
	o := newObject(1, broken)
	require.True(t, conditions.MarkTrue(o, "Fetched", broken.Reason, broken.Message, noon))
	require.Equal(t, noon, conditions.Get(o, "Fetched").LastTransitionTime.UTC())
}

func TestObservedGeneration(t *testing.T) {
	o := newObject(7)
	conditions.Set(o, cond("Fetched", metav1.ConditionTrue, 2), noon)
	require.EqualValues(t, 7, conditions.Get(o, "Fetched").ObservedGeneration)

	o.Generation = 8
	require.True(t, conditions.MarkTrue(o, "Fetched", "Some", "message of Fetched", later))
	got := conditions.Get(o, "Fetched")
	require.EqualValues(t, 8, got.ObservedGeneration)
	require.Equal(t, noon, got.LastTransitionTime.UTC(), "a new generation is no transition")
}

func TestNothingChangesNothingIsWritten(t *testing.T) {
	o := newObject(1)
	require.True(t, conditions.MarkUnknown(o, "Fetched", "Some", "same", noon))
	require.Equal(t, 1, o.writes)
	require.False(t, conditions.MarkUnknown(o, "Fetched", "Some", "same", later))
	require.False(t, conditions.Delete(o, "Absent", "Missing"))
	require.Equal(t, 1, o.writes)
}

func TestOrderStaysAndSliceIsNotShared(t *testing.T) {
	cached := []metav1.Condition{cond("C", "True", 1), cond("A", "True", 1), cond("B", "True", 1)}
	original := slices.Clone(cached)
	o := newObject(1, cached...)
	o.conditions = cached

	conditions.MarkFalse(o, "A", "Some", "now false", later)
	conditions.MarkTrue(o, "0", "Some", "new", later)
	conditions.Delete(o, "C")

	require.Equal(t, []string{"A", "B", "0"}, types(o))
	require.Equal(t, original, cached, "the slice that GetConditions returned")
}

func TestDuplicatesAreMended(t *testing.T) {
	o := newObject(1, cond("A", "True", 1), cond("B", "True", 1), cond("A", "False", 1))
	require.True(t, conditions.MarkTrue(o, "A", "Some", "one of them", noon))
	require.Equal(t, []string{"A", "B"}, types(o))
}

func TestDelete(t *testing.T) {
	o := newObject(1, cond("A", "True", 1), cond("B", "True", 1), cond("C", "True", 1))
	require.True(t, conditions.Delete(o, "A", "C", "Absent"))
	require.Equal(t, []string{"B"}, types(o))
}
