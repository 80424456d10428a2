package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// LarkOptions configures [NewLark].
type LarkOptions struct {
	// Address is the URL of a custom bot's webhook, of Lark or of Feishu. Required.
	Address string
	// Secret signs the messages, where the bot checks signatures. Empty means that it
	// does not.
	Secret string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type larkMessage struct {
	Timestamp string   `json:"timestamp,omitempty"`
	Sign      string   `json:"sign,omitempty"`
	Type      string   `json:"msg_type"`
	Card      larkCard `json:"card"`
}

type larkCard struct {
	Config   larkConfig    `json:"config"`
	Header   larkHeader    `json:"header"`
	Elements []larkElement `json:"elements"`
}

type larkConfig struct {
	Wide bool `json:"wide_screen_mode"`
}

type larkHeader struct {
	Title    larkText `json:"title"`
	Template string   `json:"template"`
}

type larkElement struct {
	Tag    string      `json:"tag"`
	Text   *larkText   `json:"text,omitempty"`
	Fields []larkField `json:"fields,omitempty"`
}

type larkField struct {
	Short bool     `json:"is_short"`
	Text  larkText `json:"text"`
}

type larkText struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
}

// NewLark posts each event to a group of Lark or Feishu as a card.
func NewLark(o LarkOptions) (*Sink, error) {
	s, err := dial(setup{name: "Lark", address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	return s.each(func(e events.Event) request {
		m := newLarkMessage(e)
		if o.Secret != "" {
			m.Timestamp = strconv.FormatInt(time.Now().Unix(), 10)
			m.Sign = larkSign(m.Timestamp, o.Secret)
		}
		return request{url: s.base, header: jsonHeader(), body: encode(m), reply: post.MaxReply}
	}, s.larkAnswer), nil
}

// larkSign is the HMAC of nothing, with the time and the secret as its key.
func larkSign(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// newLarkMessage keeps below 20 KB, which is the limit of the whole message.
func newLarkMessage(e events.Event) larkMessage {
	style := style{size: perJSON}
	text := func(s string, limit int) larkText { return larkText{Tag: "plain_text", Content: style.fit(s, limit)} }
	message := larkText{Tag: "plain_text", Content: style.message(e, 10000)}
	card := larkCard{
		Config:   larkConfig{Wide: true},
		Header:   larkHeader{Title: text(title(e), 500), Template: "turquoise"},
		Elements: []larkElement{{Tag: "div", Text: &message}},
	}
	if isError(e) {
		card.Header.Template = "red"
	}
	var fields []larkField
	for _, f := range facts(e, 20) {
		fields = append(fields, larkField{Text: text(f.key+": "+f.value, 250)})
	}
	if fields != nil {
		card.Elements = append(card.Elements, larkElement{Tag: "div", Fields: fields})
	}
	return larkMessage{Type: "interactive", Card: card}
}

// larkAnswer reads the code that comes with a status of 200.
func (c conn) larkAnswer(reply post.Reply, err error) error {
	const tooOften, tooOftenAtAll = 11232, 99991400
	var answer struct {
		Code *int `json:"code"`
		Old  *int `json:"StatusCode"`
	}
	decode(reply.Body, &answer)
	if answer.Code == nil {
		answer.Code = answer.Old
	}
	switch {
	case answer.Code == nil && err == nil:
		return c.fail(false, "the answer is not that of a bot's webhook")
	case answer.Code == nil:
		return err
	case *answer.Code == tooOften || *answer.Code == tooOftenAtAll:
		return c.fail(false, "refused for now with code %d", *answer.Code)
	case *answer.Code != 0 && err == nil:
		return c.fail(true, "refused with code %d", *answer.Code)
	}
	return err
}
