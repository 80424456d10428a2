package notify

import "github.com/gitopskit/gitopskit/events"

// ZoomOptions configures [NewZoom].
type ZoomOptions struct {
	// Address is the endpoint of an incoming webhook. Required.
	Address string
	// Token is its verification token. Required.
	Token string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type zoomMessage struct {
	Content zoomContent `json:"content"`
}

type zoomContent struct {
	Head zoomHead   `json:"head"`
	Body []zoomPart `json:"body"`
}

type zoomHead struct {
	Text string `json:"text"`
}

type zoomPart struct {
	Type  string     `json:"type"`
	Text  string     `json:"text,omitempty"`
	Items []zoomItem `json:"items,omitempty"`
}

type zoomItem struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// NewZoom posts each event to a channel of Zoom Team Chat.
func NewZoom(o ZoomOptions) (*Sink, error) {
	if err := require("Zoom", "the token", o.Token); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Zoom", address: o.Address, secrets: []string{o.Token}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	target := *s.base
	query := target.Query()
	query.Set("format", "full")
	target.RawQuery = query.Encode()
	header := jsonHeader("Authorization", o.Token)
	return s.each(func(e events.Event) request {
		return request{url: &target, header: header, body: encode(newZoomMessage(e))}
	}, nil), nil
}

func newZoomMessage(e events.Event) zoomMessage {
	text := style{size: perUTF16}
	body := []zoomPart{{Type: "message", Text: text.message(e, 4000)}}
	var items []zoomItem
	for _, f := range facts(e, 10) {
		items = append(items, zoomItem{Key: text.fit(f.key, 100), Value: text.fit(f.value, 200)})
	}
	if items != nil {
		body = append(body, zoomPart{Type: "fields", Items: items})
	}
	return zoomMessage{Content: zoomContent{Head: zoomHead{Text: text.fit(title(e), 200)}, Body: body}}
}
