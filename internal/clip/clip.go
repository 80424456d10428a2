// Package clip shortens text that is written for people so that it fits the
// field that it goes into.
package clip

import (
	"strings"
	"unicode/utf8"
)

// Marker ends a text that was shortened.
const Marker = " [truncated]"

// Text returns s as valid UTF-8 of at most limit bytes. A text that is too long
// loses its end, never half a rune, and says so with [Marker] where the limit
// leaves room for it.
func Text(s string, limit int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= limit {
		return s
	}
	if limit < len(Marker) {
		return s[:boundary(s, limit)]
	}
	return s[:boundary(s, limit-len(Marker))] + Marker
}

// boundary returns the last index at or before i where a rune of s starts.
func boundary(s string, i int) int {
	i = max(i, 0)
	for i > 0 && !utf8.RuneStart(s[i]) {
		i--
	}
	return i
}

// Quote returns s for a message that repeats what somebody else wrote: as valid
// UTF-8 of at most limit bytes, and an ellipsis if that is not all of it.
func Quote(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
