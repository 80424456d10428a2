package notify

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gitopskit/gitopskit/events"
)

// ellipsis ends a text that was shortened.
const ellipsis = "…"

// plain returns text as people should see it: valid UTF-8 without control characters
// other than tab and line feed, and without those that reverse the reading direction,
// with which a text can look like another.
func plain(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F:
			return -1
		}
		return r
	}, s)
}

// A measure says how much of a platform's limit a character takes.
type measure func(rune) int

func perRune(rune) int { return 1 }

func perByte(r rune) int { return max(utf8.RuneLen(r), 1) }

// perUTF16 is how JavaScript counts, and with it many platforms.
func perUTF16(r rune) int {
	if r >= 0x10000 {
		return 2
	}
	return 1
}

// perJSON is how many bytes a character takes in a JSON text.
func perJSON(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\t':
		return 2
	case r < ' ' || r == 0x2028 || r == 0x2029:
		return 6
	}
	return perByte(r)
}

// fit returns s if it is within the limit, and otherwise as much of its beginning as
// leaves room for an ellipsis.
func fit(s string, limit int, size measure) string {
	end, total := 0, 0
	room := limit - width(ellipsis, size)
	for i, r := range s {
		if total <= room {
			end = i
		}
		if total += size(r); total > limit {
			if room < 0 {
				return ""
			}
			return s[:end] + ellipsis
		}
	}
	return s
}

func width(s string, size measure) int {
	n := 0
	for _, r := range s {
		n += size(r)
	}
	return n
}

// A style is how a platform wants its text.
type style struct {
	limit  int // of a whole text
	size   measure
	defuse func(string) string // takes from a text what the platform acts upon; may be nil
	escape func(rune) string   // returns nothing for a character that stays; may be nil
}

// fit returns text as the platform takes it, with no more than the limit after the
// escapes.
func (s style) fit(text string, limit int) string {
	text = plain(text)
	if s.defuse != nil {
		text = s.defuse(text)
	}
	if s.escape == nil {
		return fit(text, limit, s.size)
	}
	text = fit(text, limit, func(r rune) int {
		if e := s.escape(r); e != "" {
			return width(e, s.size)
		}
		return s.size(r)
	})
	var b strings.Builder
	for _, r := range text {
		if e := s.escape(r); e != "" {
			b.WriteString(e)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// message is what an event says. Where that is nothing that can be shown, the reason
// stands for it, since platforms refuse messages without text.
func (s style) message(e events.Event, limit int) string {
	for _, text := range []string{e.Message, e.Reason} {
		if strings.TrimSpace(plain(text)) != "" {
			return s.fit(text, limit)
		}
	}
	return s.fit("-", limit)
}

// news writes a whole event as lines of text: what it is about, the message, and the
// metadata. A message that is too long makes room for the others.
func (s style) news(e events.Event) string {
	const most = 10
	head := s.fit("["+string(e.Severity)+"] "+title(e)+": "+e.Reason, s.limit/8) + "\n"
	var tail strings.Builder
	for _, f := range facts(e, most) {
		tail.WriteString("\n" + s.fit(f.key, s.limit/50) + ": " + s.fit(f.value, s.limit/50))
	}
	room := s.limit - width(head, s.size) - width(tail.String(), s.size)
	return head + s.message(e, room) + tail.String()
}

// escapeHTML is for platforms that read the tags of HTML, or those like them.
func escapeHTML(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	}
	return ""
}

// quiet takes the power to call everybody from each @ that starts a word.
func quiet(s string) string {
	var b strings.Builder
	last := ' '
	for _, r := range s {
		b.WriteRune(r)
		if r == '@' && !unicode.IsLetter(last) && !unicode.IsDigit(last) {
			b.WriteRune('\u200b')
		}
		last = r
	}
	return b.String()
}

// fact is one entry of an event's metadata.
type fact struct{ key, value string }

// facts lists metadata in the order of its keys, up to a number.
func facts(e events.Event, most int) []fact {
	meta := forwarded(e)
	var all []fact
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if len(all) == most {
			break
		}
		if key != "" && meta[key] != "" {
			all = append(all, fact{key, meta[key]})
		}
	}
	return all
}

// title names the object that an event is about, in one line.
func title(e events.Event) string {
	return strings.Join(strings.Fields(plain(e.InvolvedObject.String())), " ")
}

// isError reports whether an event is bad news.
func isError(e events.Event) bool { return e.Severity == events.SeverityError }

// encode writes JSON without the escapes that are for HTML alone. All types that are
// written here can be.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// decode reads a platform's answer. What cannot be read leaves v as it was.
func decode(data []byte, v any) bool { return json.Unmarshal(data, v) == nil }

// code returns the word with which a platform names an error, such as
// channel_not_found, or nothing where it is not one short word or has to do with a
// secret: what a server writes is not to be trusted, and may repeat the request.
func code(word string, secrets ...string) string {
	const longest = 64
	if word == "" || len(word) > longest || strings.ContainsFunc(word, noLetter) {
		return ""
	}
	for _, s := range secrets {
		if holds(s, word) {
			return ""
		}
		for _, part := range strings.FieldsFunc(s, noLetter) {
			if len(part) >= 4 && holds(word, part) {
				return ""
			}
		}
	}
	return word
}

func noLetter(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

// holds reports whether s contains part, in whatever case.
func holds(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) }
