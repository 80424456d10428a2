package notify_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
	"github.com/stretchr/testify/require"
)

const (
	jsonType = "application/json; charset=utf-8"
	// news is the event of the tests as plain text.
	news = "[error] Kustomization shop/web: HealthCheckFailed\n" +
		"health check failed: <Deployment> \"shop/web\" & *more* @all\n" +
		"env: prod\nrevision: main@sha1:1f0c"
)

// quoted is a text in JSON.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestTeams(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "workflow",
		New: func(server string) (events.Sink, error) {
			return notify.NewTeams(notify.TeamsOptions{Address: server + "/workflows/w1/triggers/manual/paths/invoke?sig=" + canary, HTTP: local})
		},
		OK:     hooktest.Answer{Status: 202},
		Path:   "/workflows/w1/triggers/manual/paths/invoke",
		Query:  url.Values{"sig": {canary}},
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "-"},
		Body: `{
			"type": "message",
			"attachments": [{
				"contentType": "application/vnd.microsoft.card.adaptive",
				"content": {
					"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
					"type": "AdaptiveCard", "version": "1.4", "msteams": {"width": "Full"},
					"body": [
						{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "Kustomization shop/web", "weight": "bolder", "size": "large", "color": "attention"}]},
						{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "health check failed: <Deployment> \"shop/web\" & *more* @all"}]},
						{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "env: ", "weight": "bolder"}, {"type": "TextRun", "text": "prod"}]},
						{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "revision: ", "weight": "bolder"}, {"type": "TextRun", "text": "main@sha1:1f0c"}]}
					]
				}
			}]
		}`,
		Final: []hooktest.Answer{{Status: 413}, {Body: "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with ContextId x"}},
		Retry: []hooktest.Answer{{Body: "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x"}},
	})
}

func TestDiscord(t *testing.T) {
	retry := []hooktest.Answer{{Status: 429, Body: `{"message":"You are being rate limited.","retry_after":2.5,"global":false}`, Wait: 2500 * time.Millisecond}}
	conform(t, hooktest.Provider{
		Name: "webhook",
		New: func(server string) (events.Sink, error) {
			return notify.NewDiscord(notify.DiscordOptions{Address: server + "/api/webhooks/1/" + canary, Username: "gitops", HTTP: local})
		},
		OK:     hooktest.Answer{Status: 204},
		Path:   "/api/webhooks/1/" + canary,
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "-"},
		Body: `{
			"username": "gitops", "allowed_mentions": {"parse": []},
			"embeds": [{
				"title": "Kustomization shop/web", "color": 14687834,
				"description": "health check failed: \\<Deployment\\> \"shop/web\" & \\*more\\* @all",
				"fields": [
					{"name": "env", "value": "prod", "inline": true},
					{"name": "revision", "value": "main@sha1:1f0c", "inline": true}
				]
			}]
		}`,
		Retry: retry,
	}, hooktest.Provider{
		Name: "as Slack",
		New: func(server string) (events.Sink, error) {
			return notify.NewDiscord(notify.DiscordOptions{Address: server + "/api/webhooks/1/" + canary + "/slack", Username: "gitops", HTTP: local})
		},
		OK:     hooktest.Answer{Body: "ok"},
		Path:   "/api/webhooks/1/" + canary + "/slack",
		Header: map[string]string{"Content-Type": jsonType},
		Body: `{
			"username": "gitops", "text": "Kustomization shop/web",
			"attachments": [{
				"color": "danger", "mrkdwn_in": ["text"],
				"text": "health check failed: <Deployment> \"shop/web\" & *more* @\u200ball",
				"fallback": "health check failed: <Deployment> \"shop/web\" & *more* @\u200ball",
				"fields": [
					{"title": "env", "value": "prod", "short": true},
					{"title": "revision", "value": "main@sha1:1f0c", "short": true}
				]
			}]
		}`,
		Retry: retry,
	})
}

func TestRocket(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "webhook",
		New: func(server string) (events.Sink, error) {
			return notify.NewRocket(notify.RocketOptions{Address: server + "/hooks/1/" + canary, Channel: "#ops", Username: "gitops", HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"success":true}`},
		Path:   "/hooks/1/" + canary,
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "-"},
		Body: `{
			"channel": "#ops", "alias": "gitops", "text": "Kustomization shop/web",
			"attachments": [{
				"color": "#e01e5a",
				"text": "health check failed: <Deployment> \"shop/web\" & *more* @\u200ball",
				"fields": [
					{"title": "env", "value": "prod", "short": true},
					{"title": "revision", "value": "main@sha1:1f0c", "short": true}
				]
			}]
		}`,
		Final: []hooktest.Answer{{Status: 400, Body: `{"success":false,"error":"invalid-channel"}`}, {Body: `{"success":false}`}},
	})
}

func TestGoogleChat(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "webhook",
		New: func(server string) (events.Sink, error) {
			return notify.NewGoogleChat(notify.GoogleChatOptions{Address: server + "/v1/spaces/S/messages?key=k&token=" + canary, HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"name":"spaces/S/messages/M"}`},
		Path:   "/v1/spaces/S/messages",
		Query:  url.Values{"key": {"k"}, "token": {canary}},
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "-"},
		Body: `{"cardsV2": [{"cardId": "event", "card": {
			"header": {"title": "Kustomization shop/web", "subtitle": "error: HealthCheckFailed"},
			"sections": [{"widgets": [
				{"textParagraph": {"text": "health check failed: &lt;Deployment&gt; \"shop/web\" &amp; *more* @all"}},
				{"decoratedText": {"topLabel": "env", "text": "prod", "wrapText": true}},
				{"decoratedText": {"topLabel": "revision", "text": "main@sha1:1f0c", "wrapText": true}}
			]}]
		}}]}`,
		Final: []hooktest.Answer{{Status: 400, Body: `{"error":{"code":400,"status":"INVALID_ARGUMENT"}}`}},
		Retry: []hooktest.Answer{{Status: 429, Body: `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}`}},
	})
}

func TestWebex(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "bot",
		New: func(server string) (events.Sink, error) {
			return notify.NewWebex(notify.WebexOptions{Address: server + "/v1/messages", Token: canary, Channel: "Y2lzY28", HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"id":"M"}`},
		Path:   "/v1/messages",
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "Bearer " + canary},
		Body:   `{"roomId": "Y2lzY28", "text": ` + quoted(news) + `}`,
	})
}

func TestTelegram(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "bot",
		New: func(server string) (events.Sink, error) {
			return notify.NewTelegram(notify.TelegramOptions{Address: server, Token: "123:" + canary, Channel: "-100123", Thread: 7, HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"ok":true,"result":{"message_id":1}}`},
		Path:   "/bot123:" + canary + "/sendMessage",
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "-"},
		Body:   `{"chat_id": "-100123", "message_thread_id": 7, "link_preview_options": {"is_disabled": true}, "text": ` + quoted(news) + `}`,
		Final: []hooktest.Answer{
			{Body: `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`},
			{Status: 400, Body: `{"ok":false,"error_code":400,"parameters":{"migrate_to_chat_id":-100999}}`},
		},
		Retry: []hooktest.Answer{
			{Status: 429, Body: `{"ok":false,"error_code":429,"parameters":{"retry_after":5}}`, Wait: 5 * time.Second},
			{Body: `{"ok":false,"error_code":429,"parameters":{"retry_after":5}}`, Wait: 5 * time.Second},
			{Body: `<html>`},
		},
	})
}

const larkCard = `{
	"config": {"wide_screen_mode": true},
	"header": {"title": {"tag": "plain_text", "content": "Kustomization shop/web"}, "template": "red"},
	"elements": [
		{"tag": "div", "text": {"tag": "plain_text", "content": "health check failed: <Deployment> \"shop/web\" & *more* @all"}},
		{"tag": "div", "fields": [
			{"is_short": false, "text": {"tag": "plain_text", "content": "env: prod"}},
			{"is_short": false, "text": {"tag": "plain_text", "content": "revision: main@sha1:1f0c"}}
		]}
	]
}`

func TestLark(t *testing.T) {
	final := []hooktest.Answer{{Body: `{"code":19001,"msg":"param invalid"}`}, {Body: `{"code":9499,"msg":"Bad Request"}`}}
	retry := []hooktest.Answer{{Body: `{"code":11232,"msg":"frequency limited"}`}, {Status: 503, Body: `{"code":9499}`}, {Status: 400, Body: `{"code":11232}`}, {Body: `<html>`}}
	conform(t, hooktest.Provider{
		Name: "webhook",
		New: func(server string) (events.Sink, error) {
			return notify.NewLark(notify.LarkOptions{Address: server + "/open-apis/bot/v2/hook/" + canary, HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"StatusCode":0,"StatusMessage":"success"}`},
		Path:   "/open-apis/bot/v2/hook/" + canary,
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "-"},
		Body:   `{"msg_type": "interactive", "card": ` + larkCard + `}`,
		Final:  final, Retry: retry,
	}, hooktest.Provider{
		Name: "signed",
		New: func(server string) (events.Sink, error) {
			return notify.NewLark(notify.LarkOptions{Address: server + "/open-apis/bot/v2/hook/1", Secret: canary, HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"code":0,"msg":"success","data":{}}`},
		Path:   "/open-apis/bot/v2/hook/1",
		Header: map[string]string{"Content-Type": jsonType},
		Check: func(t *testing.T, r hooktest.Request) {
			var body struct {
				Timestamp string          `json:"timestamp"`
				Sign      string          `json:"sign"`
				Type      string          `json:"msg_type"`
				Card      json.RawMessage `json:"card"`
			}
			hooktest.Strict(t, r.Body, &body)
			mac := hmac.New(sha256.New, []byte(body.Timestamp+"\n"+canary))
			require.Equal(t, base64.StdEncoding.EncodeToString(mac.Sum(nil)), body.Sign)
			require.Equal(t, "interactive", body.Type)
			require.JSONEq(t, larkCard, string(body.Card))
		},
		Final: final, Retry: retry,
	})
}

func TestMatrix(t *testing.T) {
	// The transaction is named after the event.
	var event bytes.Buffer
	enc := json.NewEncoder(&event)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(hooktest.Event()))
	id := fmt.Sprintf("%x", sha256.Sum256(bytes.TrimSpace(event.Bytes())))
	conform(t, hooktest.Provider{
		Name: "room",
		New: func(server string) (events.Sink, error) {
			return notify.NewMatrix(notify.MatrixOptions{Address: server + "/", Token: canary, Channel: "!a/b:example.org", HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"event_id":"$1"}`},
		Method: "PUT",
		Path:   "/_matrix/client/v3/rooms/%21a%2Fb:example.org/send/m.room.message/" + id,
		Header: map[string]string{"Content-Type": jsonType, "Authorization": "Bearer " + canary},
		Body:   `{"msgtype": "m.text", "m.mentions": {}, "body": ` + quoted(news) + `}`,
		Final:  []hooktest.Answer{{Status: 403, Body: `{"errcode":"M_FORBIDDEN","error":"not in room"}`}},
		Retry:  []hooktest.Answer{{Status: 429, Body: `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2000}`, Wait: 2 * time.Second}},
	})
}

func TestZulip(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "channel",
		New: func(server string) (events.Sink, error) {
			return notify.NewZulip(notify.ZulipOptions{Address: server, Email: "bot@example.org", Key: canary, Channel: "ops", HTTP: local})
		},
		OK:   hooktest.Answer{Body: `{"result":"success","msg":"","id":42}`},
		Path: "/api/v1/messages",
		Header: map[string]string{
			"Content-Type":  "application/x-www-form-urlencoded",
			"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("bot@example.org:"+canary)),
		},
		Check: func(t *testing.T, r hooktest.Request) {
			form, err := url.ParseQuery(r.Body)
			require.NoError(t, err)
			require.Equal(t, url.Values{
				"type": {"stream"}, "to": {"ops"}, "topic": {"Kustomization shop/web"},
				"content": {"````text\n" + news + "\n````"},
			}, form)
		},
		Final: []hooktest.Answer{{Status: 400, Body: `{"result":"error","code":"STREAM_DOES_NOT_EXIST","msg":"Channel 'ops' does not exist"}`}},
		Retry: []hooktest.Answer{{Status: 429, Body: `{"result":"error","code":"RATE_LIMIT_HIT","retry-after":28.5}`, Wait: 28500 * time.Millisecond}},
	})
}

func TestZoom(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "webhook",
		New: func(server string) (events.Sink, error) {
			return notify.NewZoom(notify.ZoomOptions{Address: server + "/chat/webhooks/incomingwebhook/1?format=message", Token: canary, HTTP: local})
		},
		Path:   "/chat/webhooks/incomingwebhook/1",
		Query:  url.Values{"format": {"full"}},
		Header: map[string]string{"Content-Type": jsonType, "Authorization": canary},
		Body: `{"content": {
			"head": {"text": "Kustomization shop/web"},
			"body": [
				{"type": "message", "text": "health check failed: <Deployment> \"shop/web\" & *more* @all"},
				{"type": "fields", "items": [{"key": "env", "value": "prod"}, {"key": "revision", "value": "main@sha1:1f0c"}]}
			]
		}}`,
	})
}
