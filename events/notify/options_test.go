package notify_test

import (
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/stretchr/testify/require"
)

func TestProvidersSayWhatIsMissing(t *testing.T) {
	for want, build := range map[string]func() (*notify.Sink, error){
		"Slack: the channel is required":  func() (*notify.Sink, error) { return notify.NewSlack(notify.SlackOptions{Token: "t"}) },
		"Slack: the address must start":   func() (*notify.Sink, error) { return notify.NewSlack(notify.SlackOptions{}) },
		"Webex: the token is required":    func() (*notify.Sink, error) { return notify.NewWebex(notify.WebexOptions{}) },
		"Webex: the room is required":     func() (*notify.Sink, error) { return notify.NewWebex(notify.WebexOptions{Token: "t"}) },
		"Telegram: the token is required": func() (*notify.Sink, error) { return notify.NewTelegram(notify.TelegramOptions{}) },
		"Matrix: the token is required":   func() (*notify.Sink, error) { return notify.NewMatrix(notify.MatrixOptions{}) },
		"Zulip: the email is required":    func() (*notify.Sink, error) { return notify.NewZulip(notify.ZulipOptions{}) },
		"Zoom: the token is required":     func() (*notify.Sink, error) { return notify.NewZoom(notify.ZoomOptions{}) },
		"webhook: the CA holds no certificate": func() (*notify.Sink, error) {
			return notify.NewGeneric(notify.GenericOptions{Address: "https://example.test", HTTP: notify.HTTPOptions{CA: []byte("x")}})
		},
	} {
		_, err := build()
		require.ErrorContains(t, err, "notify: "+want)
	}
}

func TestProvidersKnowTheirPlatformsAddress(t *testing.T) {
	for want, build := range map[string]func() (*notify.Sink, error){
		"Slack at https://slack.com": func() (*notify.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{Token: "t", Channel: "c"})
		},
		"Webex at https://webexapis.com": func() (*notify.Sink, error) {
			return notify.NewWebex(notify.WebexOptions{Token: "t", Channel: "c"})
		},
		"Telegram at https://api.telegram.org": func() (*notify.Sink, error) {
			return notify.NewTelegram(notify.TelegramOptions{Token: "t", Channel: "c"})
		},
	} {
		sink, err := build()
		require.NoError(t, err)
		require.Equal(t, want, sink.String())
		require.Implements(t, (*events.Sink)(nil), sink)
	}
}
