package notify_test

import (
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
)

const slackBody = `{
	"channel": "#ops", "username": "gitops", "text": "Kustomization shop/web",
	"attachments": [{
		"color": "danger", "mrkdwn_in": ["text"],
		"text": "health check failed: &lt;Deployment&gt; \"shop/web\" &amp; *more* @all",
		"fallback": "health check failed: &lt;Deployment&gt; \"shop/web\" &amp; *more* @all",
		"fields": [
			{"title": "env", "value": "prod", "short": true},
			{"title": "revision", "value": "main@sha1:1f0c", "short": true}
		]
	}]
}`

func TestSlack(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "webhook",
		New: func(server string) (events.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{Address: server + "/services/T0/B0/" + canary, Channel: "#ops", Username: "gitops", HTTP: local})
		},
		OK:     hooktest.Answer{Body: "ok"},
		Path:   "/services/T0/B0/" + canary,
		Header: map[string]string{"Content-Type": "application/json; charset=utf-8", "Authorization": "-"},
		Body:   slackBody,
		Final:  []hooktest.Answer{{Status: 403, Body: "action_prohibited"}, {Status: 410, Body: "channel_is_archived"}},
		Retry:  []hooktest.Answer{{Status: 500, Body: "rollup_error"}},
	}, hooktest.Provider{
		Name: "bot",
		New: func(server string) (events.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{
				Address: server + "/api/chat.postMessage", Token: "xoxb-" + canary, Channel: "#ops", Username: "gitops", HTTP: local,
			})
		},
		OK:     hooktest.Answer{Body: `{"ok":true,"channel":"C1","ts":"1503435956.000247","message":{}}`},
		Path:   "/api/chat.postMessage",
		Header: map[string]string{"Content-Type": "application/json; charset=utf-8", "Authorization": "Bearer xoxb-" + canary},
		Body:   slackBody,
		Final: []hooktest.Answer{
			{Body: `{"ok":false,"error":"channel_not_found"}`},
			{Body: `{"ok":false,"error":"invalid_auth"}`},
			{Body: `{"ok":false,"error":"` + canary + `"}`},
		},
		Retry: []hooktest.Answer{
			{Body: `{"ok":false,"error":"internal_error"}`},
			{Body: `{"ok":false,"error":"service_unavailable"}`},
			{Body: `{"ok":false,"error":"team_added_to_org"}`},
			{Body: "<html>"},
		},
	})
}
