package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// MatrixOptions configures [NewMatrix].
type MatrixOptions struct {
	// Address is the URL of the homeserver. Required.
	Address string
	// Token is an access token. Required.
	Token string
	// Channel is the id of the room, such as !abc:example.org. Required.
	Channel string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type matrixMessage struct {
	Type     string   `json:"msgtype"`
	Body     string   `json:"body"`
	Mentions struct{} `json:"m.mentions"` // nobody
}

// NewMatrix posts each event to a room of Matrix, as plain text. An event that is sent
// again, because an answer was lost, appears once.
func NewMatrix(o MatrixOptions) (*Sink, error) {
	if err := require("Matrix", "the token", o.Token, "the room", o.Channel); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Matrix", address: o.Address, secrets: []string{o.Token}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	header := jsonHeader("Authorization", bearer(o.Token))
	text := style{limit: 30000, size: perJSON} // of the 65,536 bytes that it may be with what the server adds
	return s.each(func(e events.Event) request {
		id := sha256.Sum256(encode(e))
		return request{
			method: http.MethodPut, header: header, reply: post.MaxReply,
			url:  s.at("_matrix", "client", "v3", "rooms", o.Channel, "send", "m.room.message", hex.EncodeToString(id[:])),
			body: encode(matrixMessage{Type: "m.text", Body: text.news(e)}),
		}
	}, func(reply post.Reply, err error) error {
		var answer struct {
			Code  string  `json:"errcode"`
			Retry float64 `json:"retry_after_ms"`
		}
		decode(reply.Body, &answer)
		return s.named(asked(err, answer.Retry/1000), answer.Code)
	}), nil
}
