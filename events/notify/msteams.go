package notify

import (
	"bytes"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// TeamsOptions configures [NewTeams].
type TeamsOptions struct {
	// Address is the URL of a workflow that posts to a channel or chat when a webhook
	// request is received. Required.
	Address string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type teamsMessage struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	ContentType string    `json:"contentType"`
	Content     teamsCard `json:"content"`
}

type teamsCard struct {
	Schema  string            `json:"$schema"`
	Type    string            `json:"type"`
	Version string            `json:"version"`
	MSTeams map[string]string `json:"msteams"`
	Body    []teamsBlock      `json:"body"`
}

type teamsBlock struct {
	Type    string     `json:"type"`
	Inlines []teamsRun `json:"inlines"`
}

type teamsRun struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Color  string `json:"color,omitempty"`
}

// NewTeams posts each event to Microsoft Teams as an adaptive card.
func NewTeams(o TeamsOptions) (*Sink, error) {
	s, err := dial(setup{name: "Microsoft Teams", address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: jsonHeader(), body: encode(newTeamsMessage(e)), reply: post.MaxReply}
	}, s.teamsAnswer), nil
}

// newTeamsMessage writes runs of text, in which Teams reads no Markdown: nobody else's
// words become a link. The limit is 28 KB for the message, which it may count in UTF-16.
func newTeamsMessage(e events.Event) teamsMessage {
	text := style{size: perJSON}
	heading := teamsRun{Text: text.fit(title(e), 300), Weight: "bolder", Size: "large", Color: "good"}
	if isError(e) {
		heading.Color = "attention"
	}
	body := []teamsBlock{teamsLine(heading)}
	for _, line := range strings.SplitN(text.message(e, 6000), "\n", 20) {
		body = append(body, teamsLine(teamsRun{Text: line}))
	}
	for _, f := range facts(e, 10) {
		body = append(body, teamsLine(
			teamsRun{Text: text.fit(f.key, 100) + ": ", Weight: "bolder"}, teamsRun{Text: text.fit(f.value, 200)},
		))
	}
	return teamsMessage{Type: "message", Attachments: []teamsAttachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content: teamsCard{
			Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
			MSTeams: map[string]string{"width": "Full"}, Body: body,
		},
	}}}
}

func teamsLine(runs ...teamsRun) teamsBlock {
	for i := range runs {
		runs[i].Type = "TextRun"
	}
	return teamsBlock{Type: "RichTextBlock", Inlines: runs}
}

// teamsAnswer knows the old connectors, which answer 200 and put the error of the
// server behind them into the text.
func (c conn) teamsAnswer(reply post.Reply, err error) error {
	if err == nil && bytes.Contains(reply.Body, []byte("endpoint returned HTTP error")) {
		busy := bytes.Contains(reply.Body, []byte("HTTP error 429")) || bytes.Contains(reply.Body, []byte("HTTP error 5"))
		return c.fail(!busy, "the connector could not deliver the message")
	}
	return err
}
