package conditions_test

import (
	"math/rand/v2"
	"testing"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSummarize(t *testing.T) {
	all := conditions.SummaryOptions{
		Of:       []string{"Fetched", "Built", "FetchFailed", "Reconciling", "Stalled"},
		Negative: []string{"FetchFailed"},
	}
	type conds = []metav1.Condition
	for name, test := range map[string]struct {
		have    conds
		opts    conditions.SummaryOptions
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		"all good, negative ones absent": {
			conds{cond("Built", "True", 4), cond("Fetched", "True", 4)}, all,
			"True", "Some", "message of Fetched",
		},
		"a negative one that is False is good": {
			conds{cond("Built", "True", 4), cond("Fetched", "True", 4), cond("FetchFailed", "False", 4)}, all,
			"True", "Some", "message of Fetched",
		},
		"only negative ones, all absent": {
			nil, conditions.SummaryOptions{Of: []string{"FetchFailed"}, Negative: []string{"FetchFailed"}},
			"True", conditions.ReasonSucceeded, "nothing is reported to be wrong",
		},
		"missing means unknown": {
			conds{cond("Fetched", "True", 4)}, all,
			"Unknown", conditions.ReasonMissing, "condition Built is not reported yet",
		},
		"unknown": {
			conds{cond("Fetched", "True", 4), cond("Built", "Unknown", 4)}, all,
			"Unknown", "Some", "message of Built",
		},
		"a status that is none is unknown": {
			conds{cond("Fetched", "True", 4), cond("Built", "yes", 4)}, all,
			"Unknown", "Some", "message of Built",
		},
		"outdated": {
			conds{cond("Fetched", "True", 4), cond("Built", "True", 3)}, all,
			"Unknown", conditions.ReasonOutdated, "condition Built was reported for generation 3, not yet for 4",
		},
		"no generation is taken at its word": {
			conds{cond("Fetched", "True", 4), cond("Built", "True", 0)}, all,
			"True", "Some", "message of Fetched",
		},
		"reconciling is no failure": {
			conds{cond("Fetched", "True", 4), cond("Built", "True", 4), cond("Reconciling", "True", 4)}, all,
			"Unknown", "Some", "message of Reconciling",
		},
		"stalled is one": {
			conds{cond("Fetched", "True", 4), cond("Built", "True", 4), cond("Stalled", "True", 4)}, all,
			"False", "Some", "message of Stalled",
		},
		"bad wins over open": {
			conds{cond("Fetched", "Unknown", 4), cond("FetchFailed", "True", 4)}, all,
			"False", "Some", "message of FetchFailed",
		},
		"several bad ones, in the order of Of": {
			conds{cond("FetchFailed", "True", 4), cond("Built", "False", 4), cond("Fetched", "False", 4)}, all,
			"False", "Some", "Fetched: message of Fetched\nBuilt: message of Built\nFetchFailed: message of FetchFailed",
		},
		"several open ones": {
			conds{cond("Built", "Unknown", 4)}, all,
			"Unknown", conditions.ReasonMissing, "Fetched: condition Fetched is not reported yet\nBuilt: message of Built",
		},
		"nobody said anything": {
			nil, conditions.SummaryOptions{},
			"Unknown", conditions.ReasonMissing, "no condition is reported yet",
		},
		"the summary itself does not count": {
			conds{cond("Ready", "False", 4)}, conditions.SummaryOptions{},
			"Unknown", conditions.ReasonMissing, "no condition is reported yet",
		},
		"everything there is, in alphabetical order": {
			conds{cond("Ready", "False", 4), cond("B", "True", 4), cond("A", "True", 4)}, conditions.SummaryOptions{},
			"True", "Some", "message of A",
		},
		"named twice counts once": {
			conds{cond("A", "False", 4)}, conditions.SummaryOptions{Of: []string{"A", "A"}},
			"False", "Some", "message of A",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := metav1.Condition{
				Type: conditions.Ready, Status: test.status, ObservedGeneration: 4,
				Reason: test.reason, Message: test.message,
			}
			for range 5 {
				rand.Shuffle(len(test.have), func(i, j int) {
					test.have[i], test.have[j] = test.have[j], test.have[i]
				})
				o := newObject(4, test.have...)
				require.Equal(t, want, conditions.Summarize(o, test.opts))
				require.Zero(t, o.writes)
			}
		})
	}
}

func TestSummarizeIntoAnotherType(t *testing.T) {
	o := newObject(1, cond("Ready", "False", 1))
	got := conditions.Summarize(o, conditions.SummaryOptions{Type: "Healthy"})
	require.Equal(t, "Healthy", got.Type)
	require.Equal(t, metav1.ConditionFalse, got.Status)
}

func TestSummarizeDoesNotWriteIntoItsOptions(t *testing.T) {
	backing := [2]string{"kept", "kept"}
	conditions.Summarize(newObject(1, cond("A", "True", 1)), conditions.SummaryOptions{Of: backing[:0]})
	require.Equal(t, [2]string{"kept", "kept"}, backing)
}
