package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/stretchr/testify/require"
)

func FuzzFit(f *testing.F) {
	f.Add("héllo 😀 wörld", 7, 2)
	f.Add("\xff\"\\\n", 3, 3)
	f.Fuzz(func(t *testing.T, s string, limit, by int) {
		by &= 3
		s = notify.Plain(s)
		got := notify.Fit(s, limit, by)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, notify.Width(got, by), max(limit, 0))
		require.True(t, got == s || got == "" || strings.HasPrefix(s, strings.TrimSuffix(got, "…")))
		require.Equal(t, got, notify.Fit(got, limit, by), "shortening twice changes nothing")
	})
}

// caught is a transport that keeps the last body and says yes.
type caught struct{ body []byte }

func (c *caught) RoundTrip(r *http.Request) (*http.Response, error) {
	c.body, _ = io.ReadAll(r.Body)
	const yes = `{"ok":true,"code":0}`
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(yes)), Header: http.Header{}, Request: r}, nil
}

// platforms are all that put a message into text, and how much they take.
func platforms(f testing.TB, via *caught) map[string]struct {
	sink  *notify.Sink
	limit int
} {
	h := notify.HTTPOptions{Transport: via}
	const at = "https://example.test/hook"
	type platform = struct {
		sink  *notify.Sink
		limit int
	}
	all := map[string]platform{}
	add := func(name string, limit int, sink *notify.Sink, err error) {
		require.NoError(f, err)
		all[name] = platform{sink, limit}
	}
	sink, err := notify.NewSlack(notify.SlackOptions{Address: at, HTTP: h})
	add("slack", 160000, sink, err)
	sink, err = notify.NewTeams(notify.TeamsOptions{Address: at, HTTP: h})
	add("teams", 14000, sink, err) // 28 KB, if it counts in UTF-16
	sink, err = notify.NewDiscord(notify.DiscordOptions{Address: at, HTTP: h})
	add("discord", 36000, sink, err)
	sink, err = notify.NewGoogleChat(notify.GoogleChatOptions{Address: at, HTTP: h})
	add("googlechat", 32000, sink, err)
	sink, err = notify.NewWebex(notify.WebexOptions{Token: "t", Channel: "c", HTTP: h})
	add("webex", 50000, sink, err)
	sink, err = notify.NewTelegram(notify.TelegramOptions{Token: "t", Channel: "c", HTTP: h})
	add("telegram", 25000, sink, err)
	sink, err = notify.NewLark(notify.LarkOptions{Address: at, HTTP: h})
	add("lark", 20000, sink, err)
	sink, err = notify.NewMatrix(notify.MatrixOptions{Address: at, Token: "t", Channel: "c", HTTP: h})
	add("matrix", 32000, sink, err)
	sink, err = notify.NewZulip(notify.ZulipOptions{Address: at, Email: "e", Key: "k", Channel: "c", HTTP: h})
	add("zulip", 130000, sink, err)
	sink, err = notify.NewZoom(notify.ZoomOptions{Address: at, Token: "t", HTTP: h})
	add("zoom", 50000, sink, err)
	sink, err = notify.NewRocket(notify.RocketOptions{Address: at, HTTP: h})
	add("rocket", 80000, sink, err)
	return all
}

// Whatever an event says, each platform gets one valid request of a bounded size, and
// nobody is called.
func FuzzMessages(f *testing.F) {
	via := &caught{}
	all := platforms(f, via)
	f.Add("web", "health check failed", "revision", "main@sha1:1f0c", uint16(1))
	f.Add("<!channel>", "@everyone <!here> [a](http://b) ````\n````", "@all", "\x00\xff\u202e", uint16(4000))
	f.Add("日本語😀", "\"\\\n\t\u2028", "", "", uint16(39000))
	f.Fuzz(func(t *testing.T, name, message, key, value string, times uint16) {
		e := event(func(e *events.Event) {
			e.InvolvedObject.Name, e.Metadata = name, map[string]string{key: value, "b": value, "commit_status": ""}
			e.Message = strings.Repeat(message, min(int(times), events.MaxMessage/max(len(message), 1)))
		})
		for platform, p := range all {
			if !p.sink.Takes(e) {
				continue
			}
			require.NoError(t, p.sink.Send(t.Context(), e), platform)
			require.LessOrEqual(t, len(via.body), p.limit, platform)
			require.True(t, utf8.Valid(via.body), platform)
			if platform != "zulip" {
				require.True(t, json.Valid(via.body), platform)
				continue
			}
			form, err := url.ParseQuery(string(via.body))
			require.NoError(t, err)
			content := form.Get("content")
			require.LessOrEqual(t, utf8.RuneCountInString(content), 10000)
			require.Equal(t, 2, strings.Count(content, "````"), "the block ends at the end")
		}
	})
}

// Whatever a rule and an event say, the rule answers, and what the controller says of an
// event stays.
func FuzzRule(f *testing.F) {
	f.Add("^health", "(", "Kustomization", "*", "revision", "v", "kustomize.toolkit.fluxcd.io/v1")
	f.Add("(a*)*b", "[", "*", "web", "event.toolkit.fluxcd.io/a", "", "v1")
	f.Fuzz(func(t *testing.T, include, exclude, kind, name, key, value, apiVersion string) {
		s, _ := notify.NewSelector(notify.Rule{
			Sources: []notify.Source{{Kind: kind, Name: name}}, Include: []string{include}, Exclude: []string{exclude},
			Metadata: map[string]string{key: value, "revision": "rule"},
		}, notify.SelectorOptions{})
		e := event(func(e *events.Event) {
			e.InvolvedObject.APIVersion = apiVersion
			e.Metadata = map[string]string{key: "event", "revision": "event"}
		})
		got, ok, err := s.Select(t.Context(), e, nil)
		require.NoError(t, err)
		if ok {
			require.Equal(t, "event", notify.Metadata(got.Event, "revision"))
			require.NotContains(t, notify.Clean(got.Event).Metadata, "token")
		}
	})
}
