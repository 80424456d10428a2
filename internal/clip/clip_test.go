package clip_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	for name, test := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"fits":                 {"hello", 5, "hello"},
		"empty":                {"", 0, ""},
		"cut with the marker":  {strings.Repeat("a", 21), 20, "aaaaaaaa" + clip.Marker},
		"never half a rune":    {strings.Repeat("é", 20), 21, "éééé" + clip.Marker},
		"no room for a marker": {"ééé", 3, "é"},
		"limit zero":           {"a", 0, ""},
		"limit below zero":     {"a", -1, ""},
		"invalid bytes":        {"a\xffb", 5, "a\uFFFDb"},
		"invalid bytes grow":   {"a\xffb", 4, "a\uFFFD"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, clip.Text(test.in, test.limit))
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add("héllo wörld, this is a longer text", 15)
	f.Add("\xff\xfe\xfd", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := clip.Text(s, limit)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), max(limit, 0))
		require.Equal(t, got, clip.Text(got, limit), "clipping twice changes nothing")
	})
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": "", "abcd": "abcd", "abcde": "abcd…", "abcü": "abc…", "äöü": "äö…"} {
		require.Equal(t, want, clip.Quote(in, 4), in)
	}
}
