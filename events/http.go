package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/events/internal/post"
)

// DefaultHTTPTimeout bounds one request of an [HTTPSink].
const DefaultHTTPTimeout = post.DefaultTimeout

// HTTPOptions configures an [HTTPSink]. The zero value is ready to use.
type HTTPOptions struct {
	// Token is sent as "Authorization: Bearer <token>".
	Token string
	// HMACKey signs the body: "X-Signature: sha256=<hex HMAC-SHA256 of the body>".
	HMACKey []byte
	// AllowPlainToken lets the token go over plain HTTP, where everybody on the
	// way can read it.
	AllowPlainToken bool
	// TooManyIsDuplicate says that an answer of 429 means that the receiver has had
	// an equal event lately, as Flux's notification-controller answers: the event
	// counts as delivered. Otherwise 429 asks to come back later.
	TooManyIsDuplicate bool
	// Timeout bounds one request. Zero means [DefaultHTTPTimeout].
	Timeout time.Duration
	// Transport sends the requests, and is where a proxy, a private CA or a
	// client certificate goes. Nil means one of the sink's own, which knows the
	// system's CAs and no proxy, and refuses link-local addresses and those where
	// clouds keep credentials.
	Transport http.RoundTripper
}

// HTTPSink posts each event as JSON to one URL. Any 2xx answer means that the event
// is delivered. It tries once; trying again is the recorder's work.
type HTTPSink struct {
	target *url.URL
	opts   HTTPOptions
	client *post.Client
}

// NewHTTPSink returns a sink for an http or https URL.
func NewHTTPSink(target string, opts HTTPOptions) (*HTTPSink, error) {
	u, err := post.ParseURL(target)
	switch {
	case err != nil:
		return nil, fmt.Errorf("events: the URL of the HTTP sink %w (a secret goes into HTTPOptions.Token)", err)
	case !post.ValidHeader(opts.Token) || strings.Contains(opts.Token, " "):
		return nil, errors.New("events: the token of the HTTP sink holds a blank or another character that no header takes")
	case opts.Token != "" && u.Scheme != "https" && !opts.AllowPlainToken:
		return nil, errors.New("events: the token of the HTTP sink would go over plain HTTP: use https, or set AllowPlainToken")
	}
	opts.HMACKey = bytes.Clone(opts.HMACKey)
	client, err := post.New(post.Options{
		Timeout: opts.Timeout, Transport: opts.Transport,
		AllowLinkLocal: opts.Transport != nil, // where the caller's transport goes is the caller's choice
	})
	if err != nil {
		return nil, fmt.Errorf("events: HTTP sink: %w", err)
	}
	return &HTTPSink{target: u, opts: opts, client: client}, nil
}

// CloseIdleConnections closes the connections that no request uses, for when the
// sink is not needed any more. It leaves the caller's own transport alone.
func (s *HTTPSink) CloseIdleConnections() { s.client.CloseIdleConnections() }

// String returns scheme and host of the target. The rest of a webhook's address is
// often a secret.
func (s *HTTPSink) String() string { return s.target.Scheme + "://" + s.target.Host }

// GoString is String: printing a sink shows no secret.
func (s *HTTPSink) GoString() string { return "events.HTTPSink(" + s.String() + ")" }

// Send posts the event. The error is a [*SendError].
//
// 408, 425, 429, all 5xx answers but 501 and 505, and failures of the network are
// worth trying again. Anything else is final, a redirect to another host too: it is
// not followed.
func (s *HTTPSink) Send(ctx context.Context, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return &SendError{Target: s.String(), Reason: "the event cannot be written as JSON", Final: true}
	}
	_, err = s.client.Do(ctx, post.Request{URL: s.target, Header: s.header(body), Body: body})
	if fail := (*post.RequestError)(nil); errors.As(err, &fail) {
		if fail.Status == http.StatusTooManyRequests && s.opts.TooManyIsDuplicate {
			return nil
		}
		return &SendError{
			Target: s.String(), Status: fail.Status, Reason: fail.Reason,
			After: fail.After, Final: fail.Final, Err: fail.Err,
		}
	}
	return err
}

func (s *HTTPSink) header(body []byte) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	if s.opts.Token != "" {
		h.Set("Authorization", "Bearer "+s.opts.Token)
	}
	if len(s.opts.HMACKey) > 0 {
		h.Set("X-Signature", post.Signature(s.opts.HMACKey, body))
	}
	return h
}
