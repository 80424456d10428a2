package git

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Token is a credential that is valid for a time: either Username and Password
// or Bearer, as in [Auth].
type Token struct {
	Username, Password string
	Bearer             string
	// Expires is when it ends. Another is asked for one minute before that. If
	// it is zero, one is asked for before every request.
	Expires time.Time
}

// header returns the value of the Authorization header, if any.
func (t Token) header() string {
	switch {
	case t.Bearer != "":
		return "Bearer " + t.Bearer
	case t.Username != "" || t.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(t.Username+":"+t.Password))
	}
	return ""
}

func (t Token) check() error {
	switch {
	case t.Bearer != "" && (t.Username != "" || t.Password != ""):
		return fmt.Errorf("%w: give a user and password or a bearer token, not both", ErrInvalidAuth)
	case strings.ContainsAny(t.Username+t.Password+t.Bearer, "\x00\r\n"):
		return fmt.Errorf("%w: they hold a line break; remove it from the end of the secret", ErrInvalidAuth)
	case strings.Contains(t.Username, ":"):
		return fmt.Errorf("%w: a user name cannot hold a colon", ErrInvalidAuth)
	}
	return nil
}

// secrets are the token in every form in which it is sent.
func (t Token) secrets() []string {
	_, sent, _ := strings.Cut(t.header(), " ")
	return []string{sent, t.Password, t.Bearer}
}

// credentials make the Authorization header for requests to one origin.
type credentials struct {
	origin  string
	source  func(context.Context) (Token, error) // nil if the header stays
	secrets *secrets

	// busy is held while the fields below are used. It is a channel, and not a
	// mutex, so that who waits can stop waiting.
	busy    chan struct{}
	header  string
	expires time.Time
	failure error
	failed  time.Time
}

func newCredentials(base *url.URL, a Auth, s *secrets) *credentials {
	c := &credentials{
		origin:  origin(base),
		secrets: s,
		busy:    make(chan struct{}, 1),
		header:  a.static().header(),
	}
	if a.Token != nil {
		c.source = given(a.Token)
	}
	return c
}

// any says that there are credentials at all.
func (c *credentials) any() bool { return c.source != nil || c.header != "" }

// get returns the header, renewed if it is about to expire or is the one that
// the server has refused.
func (c *credentials) get(ctx context.Context, refused string) (string, error) {
	if c.source == nil {
		return c.header, nil
	}
	const early = time.Minute
	asked := time.Now()
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if c.header != "" && c.header != refused && time.Until(c.expires) > early {
		return c.header, nil
	}
	if c.failure != nil && c.failed.After(asked) {
		return "", c.failure // who asked before us asked for us too
	}
	return c.renew(ctx)
}

func (c *credentials) renew(ctx context.Context) (string, error) {
	token, err := c.source(ctx)
	if err == nil {
		c.secrets.add(token.secrets()...)
		err = token.check()
	}
	c.header, c.expires, c.failure = token.header(), token.Expires, err
	switch {
	case err == nil:
		return c.header, nil
	case ctx.Err() != nil:
		c.failure = nil // this one gave up; that is nothing to the others
		return "", context.Cause(ctx)
	}
	c.header, c.failed = "", time.Now()
	return "", err
}

// given makes the error of Auth.Token recognizable.
func given(token func(context.Context) (Token, error)) func(context.Context) (Token, error) {
	return func(ctx context.Context) (Token, error) {
		t, err := token(ctx)
		if err != nil {
			return Token{}, fmt.Errorf("%w: Auth.Token returned no token: %w", ErrAuthRequired, err)
		}
		return t, nil
	}
}

// send sends a request, with the credentials if it goes where they belong. A
// token that the server refuses is renewed once.
func (t *httpTransport) send(req *http.Request) (*http.Response, error) {
	c := t.credentials
	if !c.any() || origin(req.URL) != c.origin {
		return t.roundTrip(req)
	}
	header, err := c.get(req.Context(), "")
	if err != nil {
		return nil, err
	}
	resp, err := t.sendWith(req, header)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || c.source == nil {
		return resp, err
	}
	renewed, err := c.get(req.Context(), header)
	if err == nil && renewed == header {
		return resp, nil // there is no other
	}
	discard(resp.Body)
	if err != nil {
		return nil, err
	}
	return t.sendWith(req, renewed)
}

// sendWith sends a copy of a request, for a request is sent only once.
func (t *httpTransport) sendWith(req *http.Request, header string) (*http.Response, error) {
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		again.Body = body
	}
	if header != "" {
		again.Header.Set("Authorization", header)
	}
	return t.roundTrip(again)
}

// roundTrip sends a request as it is.
func (t *httpTransport) roundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.client.RoundTrip(req)
	if err != nil {
		return nil, t.unreachable(err)
	}
	return resp, nil
}

// unreachable says why a connection failed, and what to look at.
func (t *httpTransport) unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		err = fmt.Errorf("%w: %w", ErrProxy, err) // what net/http dials itself
	}
	if errors.Is(err, ErrProxy) {
		return unreachable(err)
	}
	if refused := certificateRefused(err, t.certified); refused != nil {
		return refused
	}
	return unreachable(err)
}

func unreachable(err error) error {
	switch {
	case untrusted(err):
		return fmt.Errorf("%w: %w; check the URL, or add the authority that signed the certificate to Options.CABundle", ErrUnreachable, err)
	case errors.Is(err, ErrProxy):
		return fmt.Errorf("%w: %w; check Options.Proxy, and that the proxy runs", ErrUnreachable, err)
	}
	return fmt.Errorf("%w: %w; check the URL, and that the server runs", ErrUnreachable, err)
}

// discard reads a short body to its end, so that its connection can be used
// again, and closes it.
func discard(body io.ReadCloser) {
	const most = 4096
	_, _ = io.CopyN(io.Discard, body, most) // what is left goes with the connection
	body.Close()
}
