package notify

import (
	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// SlackOptions configures [NewSlack].
type SlackOptions struct {
	// Address is the URL of an incoming webhook. With a Token it is the URL of
	// chat.postMessage, and empty means https://slack.com/api/chat.postMessage.
	Address string
	// Token is a bot's token, which starts with xoxb-. Empty means a webhook.
	Token string
	// Channel is where to post. A bot needs it; a webhook has one of its own.
	Channel string
	// Username is the name to post under, where the app may choose it.
	Username string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type slackMessage struct {
	Channel     string            `json:"channel,omitempty"`
	Username    string            `json:"username,omitempty"`
	Text        string            `json:"text"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Color    string       `json:"color"`
	Text     string       `json:"text"`
	Fallback string       `json:"fallback"`
	MrkdwnIn []string     `json:"mrkdwn_in"`
	Fields   []slackField `json:"fields,omitempty"`
}

type slackField struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

// NewSlack posts each event to a channel of Slack, through an incoming webhook or as a
// bot.
func NewSlack(o SlackOptions) (*Sink, error) {
	if o.Token != "" {
		if o.Address == "" {
			o.Address = "https://slack.com/api/chat.postMessage"
		}
		if err := require("Slack", "the channel", o.Channel); err != nil {
			return nil, err
		}
	}
	s, err := dial(setup{name: "Slack", address: o.Address, secrets: []string{o.Token}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	header := jsonHeader()
	if o.Token != "" {
		header.Set("Authorization", bearer(o.Token))
	}
	return s.each(func(e events.Event) request {
		body := encode(newSlackMessage(o, e, style{size: perUTF16, escape: escapeHTML}))
		return request{url: s.base, header: header, body: body, reply: post.MaxReply}
	}, func(reply post.Reply, err error) error {
		if o.Token == "" {
			return s.named(err, string(reply.Body))
		}
		return s.slackAnswer(reply, err)
	}), nil
}

func newSlackMessage(o SlackOptions, e events.Event, text style) slackMessage {
	a := slackAttachment{
		Color: "good", MrkdwnIn: []string{"text"},
		Text: text.message(e, 4000), Fallback: text.message(e, 300),
	}
	if isError(e) {
		a.Color = "danger"
	}
	for _, f := range facts(e, 20) {
		value := text.fit(f.value, 500)
		a.Fields = append(a.Fields, slackField{Title: text.fit(f.key, 200), Value: value, Short: len(value) < 40})
	}
	return slackMessage{
		Channel: o.Channel, Username: o.Username,
		Text: text.fit(title(e), 500), Attachments: []slackAttachment{a},
	}
}

// slackAnswer reads what the Web API says with a status of 200.
func (c conn) slackAnswer(reply post.Reply, err error) error {
	var answer struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	readable := decode(reply.Body, &answer)
	switch {
	case err != nil:
		return c.named(err, answer.Error)
	case !readable:
		return c.fail(false, "the answer is not that of Slack's API")
	case answer.OK:
		return nil
	}
	switch answer.Error {
	case "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
		return c.named(c.fail(false, "refused for now"), answer.Error)
	}
	return c.named(c.fail(true, "refused"), answer.Error)
}
