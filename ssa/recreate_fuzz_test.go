package ssa

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What an invalid value quotes is never taken for the server's own words.
func TestAttackTextsThatReadAsImmutable(t *testing.T) {
	for _, c := range []metav1.StatusCause{
		{Type: metav1.CauseTypeFieldValueInvalid, Message: `Invalid value: "x: field is immutable": must be no more than 63 characters`},
		{Type: metav1.CauseTypeFieldValueInvalid, Message: `field is immutable`},
		{Type: metav1.CauseTypeFieldValueNotSupported, Message: `Unsupported value: "field is immutable": supported values: "a"`},
		{Type: metav1.CauseTypeFieldValueRequired, Message: `Required value: field is immutable`},
		{Type: metav1.CauseTypeForbidden, Message: "Forbidden: may not be used\nimmutable"},
		{Type: metav1.CauseTypeFieldValueDuplicate, Message: `Duplicate value: "x": field is immutable`},
	} {
		if saysImmutable(c) {
			t.Errorf("%q", c.Message)
		}
	}
}

func FuzzImmutable(f *testing.F) {
	f.Add("Invalid value", `x": field is immutable`)
	f.Fuzz(func(t *testing.T, what, quoted string) {
		c := metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Message: what + ": \"" + quoted + "\": must not be empty"}
		if saysImmutable(c) && strings.HasSuffix(c.Message, "must not be empty") {
			t.Fatalf("%q", c.Message)
		}
	})
}
