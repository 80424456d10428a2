package notify

import (
	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// TelegramOptions configures [NewTelegram].
type TelegramOptions struct {
	// Address is the URL of the Bot API. Empty means https://api.telegram.org.
	Address string
	// Token is the bot's. Required.
	Token string
	// Channel is the id of a chat, or the @name of a public one. Required.
	Channel string
	// Thread is the id of a topic in a forum. Zero means none.
	Thread int
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type telegramMessage struct {
	ChatID  string          `json:"chat_id"`
	Thread  int             `json:"message_thread_id,omitempty"`
	Text    string          `json:"text"`
	Preview telegramPreview `json:"link_preview_options"`
}

type telegramPreview struct {
	Disabled bool `json:"is_disabled"`
}

// NewTelegram posts each event to a chat of Telegram, as plain text.
func NewTelegram(o TelegramOptions) (*Sink, error) {
	if o.Address == "" {
		o.Address = "https://api.telegram.org"
	}
	if err := require("Telegram", "the token", o.Token, "the chat", o.Channel); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Telegram", address: o.Address, secrets: []string{o.Token}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	target := s.at("bot"+o.Token, "sendMessage")
	text := style{limit: 4096, size: perUTF16}
	return s.each(func(e events.Event) request {
		body := encode(telegramMessage{
			ChatID: o.Channel, Thread: o.Thread, Text: text.news(e), Preview: telegramPreview{Disabled: true},
		})
		return request{url: target, header: jsonHeader(), body: body, reply: post.MaxReply}
	}, s.telegramAnswer), nil
}

func (c conn) telegramAnswer(reply post.Reply, err error) error {
	var answer struct {
		OK         bool `json:"ok"`
		Code       int  `json:"error_code"`
		Parameters struct {
			RetryAfter float64 `json:"retry_after"`
			MigrateTo  int64   `json:"migrate_to_chat_id"`
		} `json:"parameters"`
	}
	readable := decode(reply.Body, &answer)
	switch {
	case answer.Parameters.MigrateTo != 0:
		return c.fail(true, "the group has become a supergroup: use its new id, %d", answer.Parameters.MigrateTo)
	case err != nil:
		return asked(err, answer.Parameters.RetryAfter)
	case !readable:
		return c.fail(false, "the answer is not that of the Bot API")
	case answer.OK:
		return nil
	}
	return asked(c.fail(post.FinalStatus(answer.Code), "refused with code %d", answer.Code), answer.Parameters.RetryAfter)
}
