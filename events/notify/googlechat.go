package notify

import (
	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// GoogleChatOptions configures [NewGoogleChat].
type GoogleChatOptions struct {
	// Address is the URL of a space's webhook, with its key and token. Required.
	Address string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type googleChatMessage struct {
	Cards []googleChatCardID `json:"cardsV2"`
}

type googleChatCardID struct {
	ID   string         `json:"cardId"`
	Card googleChatCard `json:"card"`
}

type googleChatCard struct {
	Header   googleChatHeader    `json:"header"`
	Sections []googleChatSection `json:"sections"`
}

type googleChatHeader struct {
	Title    string `json:"title"`
	Subtitle string `json:"subtitle"`
}

type googleChatSection struct {
	Widgets []googleChatWidget `json:"widgets"`
}

type googleChatWidget struct {
	Paragraph *googleChatParagraph `json:"textParagraph,omitempty"`
	Decorated *googleChatDecorated `json:"decoratedText,omitempty"`
}

type googleChatParagraph struct {
	Text string `json:"text"`
}

type googleChatDecorated struct {
	TopLabel string `json:"topLabel"`
	Text     string `json:"text"`
	WrapText bool   `json:"wrapText"`
}

// NewGoogleChat posts each event to a space of Google Chat as a card.
func NewGoogleChat(o GoogleChatOptions) (*Sink, error) {
	s, err := dial(setup{name: "Google Chat", address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: jsonHeader(), body: encode(newGoogleChatMessage(e)), reply: post.MaxReply}
	}, func(reply post.Reply, err error) error {
		var answer struct {
			Error struct {
				Status string `json:"status"`
			} `json:"error"`
		}
		decode(reply.Body, &answer)
		return s.named(err, answer.Error.Status)
	}), nil
}

// newGoogleChatMessage keeps below 32,000 bytes, which is the limit of the whole
// message.
func newGoogleChatMessage(e events.Event) googleChatMessage {
	text, bare := style{size: perJSON, escape: escapeHTML}, style{size: perJSON}
	widgets := []googleChatWidget{{Paragraph: &googleChatParagraph{Text: text.message(e, 16000)}}}
	for _, f := range facts(e, 20) {
		widgets = append(widgets, googleChatWidget{Decorated: &googleChatDecorated{
			TopLabel: bare.fit(f.key, 100), Text: text.fit(f.value, 400), WrapText: true,
		}})
	}
	return googleChatMessage{Cards: []googleChatCardID{{ID: "event", Card: googleChatCard{
		Header:   googleChatHeader{Title: bare.fit(title(e), 500), Subtitle: string(e.Severity) + ": " + bare.fit(e.Reason, 200)},
		Sections: []googleChatSection{{Widgets: widgets}},
	}}}}
}
