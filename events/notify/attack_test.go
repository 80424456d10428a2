package notify_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
	"github.com/stretchr/testify/require"
)

// constructors are all providers, with an address and one secret wherever they take it.
func constructors(address, secret string, h notify.HTTPOptions) map[string]func() (*notify.Sink, error) {
	hook := address + "/hook/" + secret
	return map[string]func() (*notify.Sink, error){
		"generic": func() (*notify.Sink, error) {
			return notify.NewGeneric(notify.GenericOptions{Address: hook, Token: secret, HTTP: h})
		},
		"slack": func() (*notify.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{Address: hook, HTTP: h})
		},
		"slack bot": func() (*notify.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{Address: address, Token: secret, Channel: "c", HTTP: h})
		},
		"teams": func() (*notify.Sink, error) { return notify.NewTeams(notify.TeamsOptions{Address: hook, HTTP: h}) },
		"discord": func() (*notify.Sink, error) {
			return notify.NewDiscord(notify.DiscordOptions{Address: hook, HTTP: h})
		},
		"rocket": func() (*notify.Sink, error) { return notify.NewRocket(notify.RocketOptions{Address: hook, HTTP: h}) },
		"googlechat": func() (*notify.Sink, error) {
			return notify.NewGoogleChat(notify.GoogleChatOptions{Address: hook, HTTP: h})
		},
		"webex": func() (*notify.Sink, error) {
			return notify.NewWebex(notify.WebexOptions{Address: address, Token: secret, Channel: "c", HTTP: h})
		},
		"telegram": func() (*notify.Sink, error) {
			return notify.NewTelegram(notify.TelegramOptions{Address: address, Token: secret, Channel: "c", HTTP: h})
		},
		"lark": func() (*notify.Sink, error) {
			return notify.NewLark(notify.LarkOptions{Address: hook, Secret: secret, HTTP: h})
		},
		"matrix": func() (*notify.Sink, error) {
			return notify.NewMatrix(notify.MatrixOptions{Address: address, Token: secret, Channel: "c", HTTP: h})
		},
		"zulip": func() (*notify.Sink, error) {
			return notify.NewZulip(notify.ZulipOptions{Address: address, Email: "e", Key: secret, Channel: "c", HTTP: h})
		},
		"zoom": func() (*notify.Sink, error) {
			return notify.NewZoom(notify.ZoomOptions{Address: hook, Token: secret, HTTP: h})
		},
	}
}

func TestAttackSecretOverPlainHTTP(t *testing.T) {
	for name, build := range constructors("http://example.test", canary, notify.HTTPOptions{}) {
		_, err := build()
		var wrong *notify.OptionError
		require.ErrorAs(t, err, &wrong, name)
		require.ErrorContains(t, err, "over plain HTTP", name)
		require.NotContains(t, err.Error(), canary)
		require.True(t, wrong.Terminal())
	}
}

func TestAttackExtraHeaderOverPlainHTTP(t *testing.T) {
	o := notify.GenericOptions{Address: "http://example.test", HTTP: notify.HTTPOptions{Header: http.Header{"X-Key": {canary}}}}
	_, err := notify.NewGeneric(o)
	require.ErrorContains(t, err, "over plain HTTP")
	o.HTTP.Header = nil
	_, err = notify.NewGeneric(o)
	require.NoError(t, err, "an address alone is no secret here")
}

func TestAttackSecretThatBreaksAHeader(t *testing.T) {
	for name, build := range constructors("https://example.test", canary+"\r\nX-Evil: 1", notify.HTTPOptions{}) {
		_, err := build()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), canary)
		require.NotContains(t, err.Error(), "Evil")
	}
}

func TestAttackAddressThatIsNone(t *testing.T) {
	for _, address := range []string{"file:///etc/passwd", "https://user:" + canary + "@example.test", "https:///" + canary, canary, "https://" + canary + "\x7f"} {
		for name, build := range constructors(address, "s", notify.HTTPOptions{}) {
			_, err := build()
			require.Error(t, err, "%s %s", name, address)
			require.NotContains(t, err.Error(), canary)
		}
	}
}

func TestAttackMetadataAddress(t *testing.T) {
	for _, host := range []string{"169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "100.100.100.200", "[fd00:ec2::254]"} {
		for name, build := range constructors("http://"+host, canary, local) {
			sink, err := build()
			require.NoError(t, err)
			err = sink.Send(t.Context(), event(nil))
			var fail *events.SendError
			require.ErrorAs(t, err, &fail, name)
			require.True(t, fail.Terminal())
			require.ErrorContains(t, err, "link-local")
		}
	}
}

// A server that repeats a secret of letters alone wherever an error could pick it up, as
// the whole of a word or as a part.
func TestAttackServerEchoesTheSecret(t *testing.T) {
	const secret = "lettersonlysecret"
	for _, word := range []string{secret, "invalid_" + secret, strings.ToUpper(secret), "token" + secret} {
		body := fmt.Sprintf(`{"ok":false,"success":false,"code":%[1]q,"errcode":%[1]q,"error":%[1]q,"description":%[1]q,"msg":%[1]q}`, word)
		for _, answer := range []hooktest.Answer{
			{Body: body}, {Status: 400, Body: body}, {Status: 403, Body: word},
			{Status: 400, Body: `{"error":{"status":"` + word + `"}}`},
			{Status: 429, Header: map[string]string{"Retry-After": word}, Body: body},
		} {
			server := hooktest.Start(t, answer)
			for name, build := range constructors(server.URL, secret, local) {
				sink, err := build()
				require.NoError(t, err)
				t.Cleanup(sink.CloseIdleConnections)
				if err := sink.Send(t.Context(), event(nil)); err != nil {
					require.NotContains(t, strings.ToLower(fmt.Sprintf("%v %#v", err, err)), secret, name)
				}
			}
		}
	}
}

func TestAttackSlowBodyOfAnAnswer(t *testing.T) {
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	url := hooktest.Hostile(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
		<-hold
	})
	h := local
	h.Timeout = 50 * 1e6
	sink, err := notify.NewTelegram(notify.TelegramOptions{Address: url, Token: canary, Channel: "c", HTTP: h})
	require.NoError(t, err)
	t.Cleanup(sink.CloseIdleConnections)
	var fail *events.SendError
	require.ErrorAs(t, sink.Send(t.Context(), event(nil)), &fail)
	require.False(t, fail.Terminal(), "nobody knows whether it took the event")
}

// An event cannot put anything into a header, nor choose where a request goes.
func TestAttackEventThatBreaksARequest(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: `{"ok":true,"code":0}`})
	evil := event(func(e *events.Event) {
		e.ReportingController = "a\r\nX-Evil: 1"
		e.InvolvedObject.Name = "../../x?y#z\r\nX-Evil: 1"
		e.Metadata = map[string]string{"a\r\nX-Evil: 1": "b\r\nX-Evil: 1"}
	})
	for name, build := range constructors(server.URL, canary, local) {
		sink, err := build()
		require.NoError(t, err)
		t.Cleanup(sink.CloseIdleConnections)
		require.NoError(t, sink.Send(t.Context(), evil), name)
	}
	require.Len(t, server.Requests(), len(constructors("", "", local)))
	for _, r := range server.Requests() {
		require.Empty(t, r.Header.Get("X-Evil"))
		require.NotContains(t, r.Path, "..")
	}
}

// Nobody else's words call everybody or become a link that hides where it goes.
func TestAttackCallsToEverybody(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: `{"ok":true,"code":0}`})
	evil := event(func(e *events.Event) {
		e.Message = "<!channel> <!here> @everyone @all <users/all> [bank](https://evil.test) ````\n@**all**"
	})
	h := notify.HTTPOptions{AllowPlainHTTP: true, Header: http.Header{"X-Extra": {"1"}}}
	for name, never := range map[string]string{
		"slack": "<!channel>", "discord": "[bank](", "rocket": "@all", "googlechat": "<users/all>", "zulip": "%60%60%60%60%0A%40%2A%2Aall",
	} {
		sink, err := constructors(server.URL, canary, h)[name]()
		require.NoError(t, err)
		t.Cleanup(sink.CloseIdleConnections)
		require.NoError(t, sink.Send(t.Context(), evil))
		all := server.Requests()
		last := all[len(all)-1]
		require.Contains(t, last.Body, "evil", name)
		require.NotContains(t, last.Body, never, name)
		require.Equal(t, "1", last.Header.Get("X-Extra"))
	}
}
