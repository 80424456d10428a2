package notify_test

import (
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/stretchr/testify/require"
)

func TestFit(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		limit int
		by    int
		want  string
	}{
		"fits":                   {"hello", 5, notify.PerRune, "hello"},
		"cut":                    {"hello!", 5, notify.PerRune, "hell…"},
		"runes":                  {"äöüß", 3, notify.PerRune, "äö…"},
		"bytes":                  {"äöüß", 7, notify.PerByte, "äö…"},
		"bytes, never half":      {"äöüß", 6, notify.PerByte, "ä…"},
		"UTF-16":                 {"😀😀😀", 5, notify.PerUTF16, "😀😀…"},
		"UTF-16 fits":            {"😀😀😀", 6, notify.PerUTF16, "😀😀😀"},
		"JSON":                   {`""""`, 7, notify.PerJSON, `""…`},
		"no room for the dots":   {"hello", 2, notify.PerByte, ""},
		"only room for the dots": {"hello", 1, notify.PerRune, "…"},
		"nothing":                {"hello", 0, notify.PerRune, ""},
		"less than nothing":      {"hello", -1, notify.PerRune, ""},
		"empty":                  {"", 0, notify.PerRune, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, notify.Fit(test.text, test.limit, test.by))
		})
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"a\tb\nc": "a\tb\nc", "a\x00b\x1b[31mc\r\n": "ab[31mc\n", "\u202eabc\u2066": "abc", "a\xffb": "a\uFFFDb", "\u0085": "",
	} {
		require.Equal(t, want, notify.Plain(text))
	}
}

func TestCode(t *testing.T) {
	secret := "https://example.test/hooks/channel/B0/sEcretPart"
	for word, want := range map[string]string{
		"not_found": "not_found", "M_FORBIDDEN": "M_FORBIDDEN", "": "",
		"two words": "", "token1": "", "a-b": "", "line\nbreak": "", strings.Repeat("a", 65): "",
		"hook": "", "HOOKS": "", // part of the secret
		"no_secretpart_here": "", "SECRETPART": "", // with a part of it
	} {
		require.Equal(t, want, notify.Code(word, secret))
	}
}
