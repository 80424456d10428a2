package notify

import (
	"bytes"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// GenericOptions configures [NewGeneric].
type GenericOptions struct {
	// Address is the URL to post to. Required.
	Address string
	// Token is sent as "Authorization: Bearer <token>". Empty means none.
	Token string
	// HMACKey signs the body: "X-Signature: sha256=<hex HMAC-SHA256 of the body>".
	// Empty means that it is not signed.
	HMACKey []byte
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

// NewGeneric posts each event, those that update a commit's status too, in the JSON of
// [events.Event], without internal metadata. The header Gotk-Component names the
// controller that reports. Plain HTTP is allowed where there is no token.
func NewGeneric(o GenericOptions) (*Sink, error) {
	s, err := dial(setup{
		name: "webhook", address: o.Address, secrets: []string{o.Token}, public: true,
		takes: always, http: o.HTTP,
	})
	if err != nil {
		return nil, err
	}
	key := bytes.Clone(o.HMACKey)
	return s.each(func(e events.Event) request {
		body := encode(Clean(e))
		h := jsonHeader("Gotk-Component", headerText(e.ReportingController))
		if o.Token != "" {
			h.Set("Authorization", bearer(o.Token))
		}
		if len(key) > 0 {
			h.Set("X-Signature", post.Signature(key, body))
		}
		return request{url: s.base, header: h, body: body}
	}, nil), nil
}

// headerText keeps of an event's field what a header takes.
func headerText(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s))
}
