package notify

import (
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// DiscordOptions configures [NewDiscord].
type DiscordOptions struct {
	// Address is the URL of a webhook. One that ends in /slack gets the messages of
	// Slack, which Discord understands there. Required.
	Address string
	// Username is the name to post under. Empty means the webhook's.
	Username string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type discordMessage struct {
	Username        string          `json:"username,omitempty"`
	Embeds          []discordEmbed  `json:"embeds"`
	AllowedMentions discordMentions `json:"allowed_mentions"`
}

type discordEmbed struct {
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Color       int            `json:"color"`
	Fields      []discordField `json:"fields,omitempty"`
}

type discordField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline"`
}

// discordMentions with an empty list means that nobody is called.
type discordMentions struct {
	Parse []string `json:"parse"`
}

// NewDiscord posts each event to a channel of Discord.
func NewDiscord(o DiscordOptions) (*Sink, error) {
	s, err := dial(setup{name: "Discord", address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	message := func(e events.Event) any { return newDiscordMessage(o, e) }
	if strings.HasSuffix(s.base.Path, "/slack") {
		message = func(e events.Event) any {
			return newSlackMessage(SlackOptions{Username: o.Username}, e, style{size: perUTF16, defuse: quiet})
		}
	}
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: jsonHeader(), body: encode(message(e)), reply: post.MaxReply}
	}, func(reply post.Reply, err error) error {
		var answer struct {
			RetryAfter float64 `json:"retry_after"`
		}
		decode(reply.Body, &answer)
		return asked(err, answer.RetryAfter)
	}), nil
}

// newDiscordMessage keeps below 6000 characters, which is the limit of all texts
// together.
func newDiscordMessage(o DiscordOptions, e events.Event) discordMessage {
	text := style{size: perUTF16, escape: escapeDiscord}
	embed := discordEmbed{Title: text.fit(title(e), 256), Description: text.message(e, 3000), Color: 0x2EB67D}
	if isError(e) {
		embed.Color = 0xE01E5A
	}
	for _, f := range facts(e, 10) {
		embed.Fields = append(embed.Fields, discordField{Name: text.fit(f.key, 100), Value: text.fit(f.value, 150), Inline: true})
	}
	return discordMessage{
		Username: o.Username, Embeds: []discordEmbed{embed},
		AllowedMentions: discordMentions{Parse: []string{}},
	}
}

// escapeDiscord is for the characters that Discord reads as Markdown.
func escapeDiscord(r rune) string {
	if strings.ContainsRune("\\*_~`|[]<>", r) {
		return "\\" + string(r)
	}
	return ""
}
