package conditions_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The pattern in the schema of metav1.Condition.
var reasonPattern = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

func TestReasonIsBounded(t *testing.T) {
	for in, want := range map[string]string{
		"Succeeded":                     "Succeeded",
		"a":                             "a",
		"Health:Check,Failed_2":         "Health:Check,Failed_2",
		"":                              conditions.ReasonUnspecified,
		"   ":                           conditions.ReasonUnspecified,
		"404":                           conditions.ReasonUnspecified,
		"not found":                     "not_found",
		"404 NotFound":                  "NotFound",
		"Failed:,":                      "Failed",
		"Échec":                         "chec",
		"Fehler·ö":                      "Fehler__",
		"a\nb\x00c":                     "a_b_c",
		"a\xff\xfeb":                    "a__b",
		strings.Repeat("x", 1024):       strings.Repeat("x", 1024),
		strings.Repeat("x", 1025):       strings.Repeat("x", 1024),
		strings.Repeat("é", 9000):       conditions.ReasonUnspecified,
		"x" + strings.Repeat(":", 2000): "x",
	} {
		o := newObject(1)
		conditions.MarkTrue(o, "A", in, "", noon)
		got := conditions.Get(o, "A").Reason
		require.Equal(t, want, got, "reason %.40q", in)
		require.Regexp(t, reasonPattern, got)
	}
}

func TestMessageIsBounded(t *testing.T) {
	fits := strings.Repeat("a", conditions.MaxMessage)
	for name, test := range map[string]struct{ in, want string }{
		"fits":          {fits, fits},
		"one too long":  {fits + "a", fits[:conditions.MaxMessage-12] + " [truncated]"},
		"on a rune":     {"a" + strings.Repeat("é", conditions.MaxMessage), "a" + strings.Repeat("é", (conditions.MaxMessage-13)/2) + " [truncated]"},
		"invalid UTF-8": {"a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObject(1)
			conditions.MarkTrue(o, "A", "Some", test.in, noon)
			got := conditions.Get(o, "A").Message
			require.Equal(t, test.want, got)
			require.LessOrEqual(t, len(got), conditions.MaxMessage)
			require.False(t, conditions.MarkTrue(o, "A", "Some", test.in, later), "the same long text again is no change")
		})
	}
}

func TestStatusIsBounded(t *testing.T) {
	for in, want := range map[metav1.ConditionStatus]metav1.ConditionStatus{
		"True": "True", "False": "False", "Unknown": "Unknown", "": "Unknown", "yes": "Unknown",
	} {
		o := newObject(1)
		conditions.Set(o, metav1.Condition{Type: "A", Status: in, Reason: "Some"}, noon)
		require.Equal(t, want, conditions.Get(o, "A").Status)
	}
}

func FuzzSet(f *testing.F) {
	f.Add("Ready", "True", "Succeeded", "applied")
	f.Add("Stalled", "", "4:", strings.Repeat("é", 20000))
	f.Fuzz(func(t *testing.T, conditionType, status, reason, message string) {
		o := newObject(5)
		c := metav1.Condition{Type: conditionType, Status: metav1.ConditionStatus(status), Reason: reason, Message: message}
		if !conditions.Set(o, c, noon) {
			require.Contains(t, []string{conditions.Reconciling, conditions.Stalled}, conditionType)
			return
		}
		got := conditions.Get(o, conditionType)
		require.True(t, reasonPattern.MatchString(got.Reason), "reason %q", got.Reason)
		require.LessOrEqual(t, len(got.Reason), conditions.MaxReason)
		require.LessOrEqual(t, len(got.Message), conditions.MaxMessage)
		require.True(t, utf8.ValidString(got.Message))
		require.Contains(t, []metav1.ConditionStatus{"True", "False", "Unknown"}, got.Status)
		require.False(t, conditions.Set(o, *got, later), "what was written once is not changed by writing it again")
	})
}
