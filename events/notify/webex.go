package notify

import "github.com/gitopskit/gitopskit/events"

// WebexOptions configures [NewWebex].
type WebexOptions struct {
	// Address is the URL to post messages to. Empty means
	// https://webexapis.com/v1/messages.
	Address string
	// Token is a bot's access token. Required.
	Token string
	// Channel is the id of the room. Required.
	Channel string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type webexMessage struct {
	RoomID string `json:"roomId"`
	Text   string `json:"text"`
}

// NewWebex posts each event to a room of Webex, as plain text.
func NewWebex(o WebexOptions) (*Sink, error) {
	if o.Address == "" {
		o.Address = "https://webexapis.com/v1/messages"
	}
	if err := require("Webex", "the token", o.Token, "the room", o.Channel); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Webex", address: o.Address, secrets: []string{o.Token}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	header := jsonHeader("Authorization", bearer(o.Token))
	text := style{limit: 7439, size: perByte}
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: header, body: encode(webexMessage{RoomID: o.Channel, Text: text.news(e)})}
	}, nil), nil
}
