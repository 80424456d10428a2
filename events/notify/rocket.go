package notify

import (
	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// RocketOptions configures [NewRocket].
type RocketOptions struct {
	// Address is the URL of an incoming webhook. Required.
	Address string
	// Channel is where to post. Empty means the webhook's.
	Channel string
	// Username is the name to post under. Empty means the webhook's.
	Username string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type rocketMessage struct {
	Channel     string             `json:"channel,omitempty"`
	Alias       string             `json:"alias,omitempty"`
	Text        string             `json:"text"`
	Attachments []rocketAttachment `json:"attachments"`
}

type rocketAttachment struct {
	Color  string       `json:"color"`
	Text   string       `json:"text"`
	Fields []slackField `json:"fields,omitempty"`
}

// NewRocket posts each event to a channel of Rocket.Chat.
func NewRocket(o RocketOptions) (*Sink, error) {
	s, err := dial(setup{name: "Rocket.Chat", address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: jsonHeader(), body: encode(newRocketMessage(o, e)), reply: post.MaxReply}
	}, func(reply post.Reply, err error) error {
		var answer struct {
			Success *bool  `json:"success"`
			Error   string `json:"error"`
		}
		decode(reply.Body, &answer)
		if err == nil && answer.Success != nil && !*answer.Success {
			err = s.fail(true, "refused")
		}
		return s.named(err, answer.Error)
	}), nil
}

func newRocketMessage(o RocketOptions, e events.Event) rocketMessage {
	text := style{size: perUTF16, defuse: quiet}
	a := rocketAttachment{Color: "#2eb67d", Text: text.message(e, 4000)}
	if isError(e) {
		a.Color = "#e01e5a"
	}
	for _, f := range facts(e, 10) {
		value := text.fit(f.value, 500)
		a.Fields = append(a.Fields, slackField{Title: text.fit(f.key, 200), Value: value, Short: len(value) < 40})
	}
	return rocketMessage{
		Channel: o.Channel, Alias: o.Username,
		Text: text.fit(title(e), 500), Attachments: []rocketAttachment{a},
	}
}
