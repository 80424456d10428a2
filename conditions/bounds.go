package conditions

import (
	"strings"

	"github.com/gitopskit/gitopskit/internal/clip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The bounds that the schema of [metav1.Condition] puts on its fields. The API
// server refuses the whole status when one condition breaks them.
const (
	// MaxReason is the longest reason, in bytes.
	MaxReason = 1024
	// MaxMessage is the longest message, in bytes. The schema counts
	// characters, of which there are never more.
	MaxMessage = 32768
)

// bound returns c with a status, a reason and a message that the API server takes.
func bound(c metav1.Condition) metav1.Condition {
	if c.Status != metav1.ConditionTrue && c.Status != metav1.ConditionFalse {
		c.Status = metav1.ConditionUnknown
	}
	c.Reason = boundReason(c.Reason)
	c.Message = clip.Text(c.Message, MaxMessage)
	return c
}

// boundReason makes a reason match ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$: what
// does not belong becomes an underscore, what cannot stand first or last goes.
func boundReason(reason string) string {
	// Cut before the mapping, so that a text of megabytes costs no more than one
	// of this size. Four bytes are the longest rune.
	reason = reason[:min(len(reason), 4*MaxReason)]
	reason = strings.Map(func(r rune) rune {
		if letter(r) || ('0' <= r && r <= '9') || r == '_' || r == ',' || r == ':' {
			return r
		}
		return '_'
	}, reason)
	reason = strings.TrimLeftFunc(reason, func(r rune) bool { return !letter(r) })
	reason = strings.TrimRight(reason[:min(len(reason), MaxReason)], ",:")
	if reason == "" {
		return ReasonUnspecified
	}
	return reason
}

func letter(r rune) bool {
	return ('a' <= r && r <= 'z') || ('A' <= r && r <= 'Z')
}
