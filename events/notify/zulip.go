package notify

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// ZulipOptions configures [NewZulip].
type ZulipOptions struct {
	// Address is the URL of the organization, such as https://example.zulipchat.com.
	// Required.
	Address string
	// Email and Key are the bot's. Required.
	Email, Key string
	// Channel is where to post. Required.
	Channel string
	// Topic is the topic to post under. Empty means the object that an event is about.
	Topic string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

// The limits of Zulip, in characters.
const (
	zulipTopic   = 60
	zulipContent = 10000
)

// NewZulip posts each event to a channel of Zulip.
func NewZulip(o ZulipOptions) (*Sink, error) {
	if err := require("Zulip", "the email", o.Email, "the key", o.Key, "the channel", o.Channel); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Zulip", address: o.Address, secrets: []string{o.Key}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	target := s.at("api", "v1", "messages")
	header := http.Header{
		"Content-Type":  {"application/x-www-form-urlencoded"},
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(o.Email+":"+o.Key))},
	}
	return s.each(func(e events.Event) request {
		topic := o.Topic
		if topic == "" {
			topic = title(e)
		}
		form := url.Values{
			"type": {"stream"}, "to": {o.Channel}, "topic": {fit(topic, zulipTopic, perRune)}, "content": {zulipText(e)},
		}
		return request{url: target, header: header, body: []byte(form.Encode()), reply: post.MaxReply}
	}, func(reply post.Reply, err error) error {
		var answer struct {
			Code  string  `json:"code"`
			Retry float64 `json:"retry-after"`
		}
		decode(reply.Body, &answer)
		return s.named(asked(err, answer.Retry), answer.Code)
	}), nil
}

const zulipFence = "````"

// zulipText puts the event into a block of code, where nobody else's words become a
// link or a call to everybody.
func zulipText(e events.Event) string {
	text := style{limit: zulipContent - 20, size: perRune, defuse: unfenced}.news(e)
	return zulipFence + "text\n" + text + "\n" + zulipFence
}

// unfenced sees that a text does not end the block that it is in.
func unfenced(s string) string { return strings.ReplaceAll(s, zulipFence, "```\u200b`\u200b") }
