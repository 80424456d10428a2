package notify

import (
	"context"
	"maps"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// PubSubOptions configures [NewPubSub].
type PubSubOptions struct {
	// Address is the base URL of the API. Empty means https://pubsub.googleapis.com.
	Address string
	// Project and Topic are the ids of both. Required.
	Project, Topic string
	// Attributes are those of each message. They may be empty: at most 100, with keys of
	// at most 256 bytes and values of at most 1024.
	Attributes map[string]string
	// Token returns an OAuth token with the scope
	// https://www.googleapis.com/auth/pubsub. Required.
	Token TokenSource
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type pubSubRequest struct {
	Messages []pubSubMessage `json:"messages"`
}

type pubSubMessage struct {
	Data       []byte            `json:"data"` // in base64
	Attributes map[string]string `json:"attributes,omitempty"`
}

// NewPubSub publishes the JSON of each event, those that update a commit's status aside,
// to a topic of Google Pub/Sub.
func NewPubSub(o PubSubOptions) (*Sink, error) {
	const name = "Google Pub/Sub"
	if o.Address == "" {
		o.Address = "https://pubsub.googleapis.com"
	}
	switch {
	case !isPubSubID(o.Project) || !isPubSubID(o.Topic):
		return nil, optionError(name, "the project and the topic must be their ids, of letters, digits and -._~+%%:")
	case o.Token == nil:
		return nil, optionError(name, "a token source is required")
	}
	for key, value := range o.Attributes {
		if len(o.Attributes) > 100 || key == "" || len(key) > 256 || len(value) > 1024 || strings.HasPrefix(key, "goog") {
			return nil, optionError(name, "an attribute has a key that is not allowed, or there are too many or too long ones")
		}
	}
	s, err := dial(setup{name: name, address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	attributes := maps.Clone(o.Attributes)
	target := pubSubURL(s.at("v1", "projects", o.Project, "topics", o.Topic))
	s.send = func(ctx context.Context, e events.Event) error {
		token, err := s.issue(ctx, o.Token)
		if err != nil {
			return err
		}
		body := encode(pubSubRequest{[]pubSubMessage{{encode(Clean(e)), attributes}}})
		reply, err := s.do(ctx, request{url: target, header: jsonHeader("Authorization", bearer(token)), body: body, reply: post.MaxReply})
		return s.pubSubAnswer(token, reply, err)
	}
	return s, nil
}

// pubSubURL adds the verb to the address of a topic.
func pubSubURL(u *url.URL) *url.URL {
	u.Path += ":publish"
	u.RawPath += ":publish"
	return u
}

// isPubSubID reports whether a text can be an id of a project or a topic.
func isPubSubID(s string) bool {
	return len(s) >= 3 && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return r >= 0x80 || class(r) == other && !strings.ContainsRune("-._~+%:", r)
	})
}

// pubSubAnswer adds the word that Google has for a failure, such as PERMISSION_DENIED.
func (c conn) pubSubAnswer(token string, reply post.Reply, err error) error {
	if err == nil {
		return nil
	}
	var answer struct {
		Error struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	decode(reply.Body, &answer)
	c.secrets = append(c.secrets[:len(c.secrets):len(c.secrets)], token)
	return c.named(err, answer.Error.Status)
}
