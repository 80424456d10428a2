package notify_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
)

// texts finds all texts in a JSON document, by the path of their fields.
func texts(t *testing.T, body []byte) map[string][]string {
	t.Helper()
	var doc any
	require.NoError(t, json.Unmarshal(body, &doc))
	all := map[string][]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				walk(path+"."+key, value)
			}
		case []any:
			for _, value := range v {
				walk(path, value)
			}
		case string:
			all[path] = append(all[path], v)
		}
	}
	walk("", doc)
	return all
}

// units counts as JavaScript does.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

func within(t *testing.T, all map[string][]string, path string, limit int, count func(string) int) (total int) {
	t.Helper()
	require.NotEmpty(t, all[path], path)
	for _, s := range all[path] {
		require.LessOrEqual(t, count(s), limit, path)
		total += count(s)
	}
	return total
}

// The longest event there can be, in the characters that cost the most, still fits.
func TestPlatformsLimits(t *testing.T) {
	via := &caught{}
	all := platforms(t, via)
	bytes := func(s string) int { return len(s) }
	checks := map[string]func(t *testing.T, found map[string][]string){
		"slack": func(t *testing.T, found map[string][]string) {
			within(t, found, ".attachments.text", 4000, units)
			require.LessOrEqual(t, len(found[".attachments.fields.title"]), 20)
		},
		"discord": func(t *testing.T, found map[string][]string) {
			total := within(t, found, ".embeds.title", 256, units) + within(t, found, ".embeds.description", 4096, units) +
				within(t, found, ".embeds.fields.name", 256, units) + within(t, found, ".embeds.fields.value", 1024, units)
			require.LessOrEqual(t, total, 6000)
			require.LessOrEqual(t, len(found[".embeds.fields.name"]), 25)
		},
		"rocket":   func(t *testing.T, found map[string][]string) { within(t, found, ".attachments.text", 5000, units) },
		"webex":    func(t *testing.T, found map[string][]string) { within(t, found, ".text", 7439, bytes) },
		"telegram": func(t *testing.T, found map[string][]string) { within(t, found, ".text", 4096, units) },
		"zoom":     func(t *testing.T, found map[string][]string) { within(t, found, ".content.body.text", 4096, units) },
	}
	for _, char := range []string{"a", "\"", "<", "&", "@", "\n", "`", "*", "é", "😀", "\u2028", "\x00", "\xff"} {
		e := event(func(e *events.Event) {
			long := strings.Repeat(char, events.MaxField/len(char))
			e.InvolvedObject.Name, e.Reason = long, long
			e.Message = strings.Repeat(char, events.MaxMessage)
			e.Metadata = map[string]string{}
			for i := range 60 {
				e.Metadata[fmt.Sprint("key", i, long)] = long + long
			}
		})
		for platform, p := range all {
			t.Run(fmt.Sprintf("%s/%+q", platform, char), func(t *testing.T) {
				require.NoError(t, p.sink.Send(t.Context(), e))
				require.LessOrEqual(t, len(via.body), p.limit)
				require.True(t, utf8.Valid(via.body))
				if check := checks[platform]; check != nil {
					check(t, texts(t, via.body))
				}
				if platform == "zulip" {
					form, err := url.ParseQuery(string(via.body))
					require.NoError(t, err)
					require.LessOrEqual(t, utf8.RuneCountInString(form.Get("content")), 10000)
					require.LessOrEqual(t, utf8.RuneCountInString(form.Get("topic")), 60)
				}
			})
		}
	}
}
