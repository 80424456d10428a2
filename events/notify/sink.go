package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// HTTPOptions says how a provider is reached. The zero value is ready to use.
type HTTPOptions struct {
	// Timeout bounds one request with its answer. Zero means 10 s.
	Timeout time.Duration
	// CA holds certificates in PEM that sign the server's. Empty means the system's.
	CA []byte
	// ClientCert and ClientKey, in PEM, tell the server who asks (mutual TLS).
	ClientCert, ClientKey []byte
	// Proxy is the URL of an HTTP, HTTPS or SOCKS5 proxy, and may hold a user and a
	// password. Empty means none: the environment is not read.
	Proxy string
	// Header is sent with each request. It does not replace what the platform needs.
	// Its values count as secrets.
	Header http.Header
	// AllowLinkLocal lets requests go to link-local addresses and to those where
	// cloud providers keep credentials.
	AllowLinkLocal bool
	// AllowPlainHTTP lets secrets, such as a token or a webhook's address, go over
	// plain HTTP, where everybody on the way can read them.
	AllowPlainHTTP bool
	// Transport sends the requests instead of one of the sink's own. It cannot be
	// combined with CA, ClientCert, ClientKey and Proxy.
	Transport http.RoundTripper
}

// Sink sends events to one platform. It is safe for concurrent use. It tries once;
// trying again is the work of an [events.Recorder].
type Sink struct {
	conn
	takes func(events.Event) bool
	send  func(ctx context.Context, e events.Event) error
}

var _ events.Sink = (*Sink)(nil)

// Send tells the platform about an event. One that the platform has no use for, see
// [Sink.Takes], is passed over without an error. The error is an
// [*events.SendError], and holds no part of an address but scheme and host, no
// secret, and of what the server wrote nothing but a number or a single word.
func (s *Sink) Send(ctx context.Context, e events.Event) error {
	if !s.Takes(e) {
		return nil
	}
	return s.send(ctx, e)
}

// Takes reports whether the platform has a use for the event. Chats take all but
// those that are there to update a commit's status.
func (s *Sink) Takes(e events.Event) bool { return s.takes(e) }

// CloseIdleConnections closes the connections that no request uses, for when the
// sink is not needed any more. It leaves a Transport of the caller's alone.
func (s *Sink) CloseIdleConnections() { s.client.CloseIdleConnections() }

// String names the platform and its host. The rest of an address is often a secret.
func (s *Sink) String() string { return s.target() }

// GoString is String: printing a sink shows no secret.
func (s *Sink) GoString() string { return "notify.Sink(" + s.String() + ")" }

// conn is what a provider sends with.
type conn struct {
	name   string // of the platform
	base   *url.URL
	client *post.Client
	// secrets are what no error may hold.
	secrets []string
}

// setup is what every provider has in common.
type setup struct {
	name    string // of the platform, for people
	address string
	secrets []string // what goes into headers; each must fit there
	public  bool     // the address alone is no secret
	takes   func(events.Event) bool
	http    HTTPOptions
}

// dial checks what a provider was given and makes its sink, which lacks only send.
// Nothing is sent yet.
func dial(s setup) (*Sink, error) {
	base, err := post.ParseURL(s.address)
	if err != nil {
		return nil, optionError(s.name, "the address %v", err)
	}
	secret := !s.public || len(s.http.Header) > 0
	for _, v := range s.secrets {
		secret = secret || v != ""
		if !post.ValidHeader(v) {
			return nil, optionError(s.name, "the token, user or password holds a character that no header takes")
		}
	}
	if secret && base.Scheme != "https" && !s.http.AllowPlainHTTP {
		return nil, optionError(s.name, "a secret would go over plain HTTP: use https, or set AllowPlainHTTP")
	}
	client, err := post.New(post.Options(s.http))
	if err != nil {
		return nil, optionError(s.name, "%v", err)
	}
	if s.takes == nil {
		s.takes = isNews
	}
	c := conn{name: s.name, base: base, client: client, secrets: append(slices.Clone(s.secrets), s.address)}
	for _, values := range s.http.Header {
		c.secrets = append(c.secrets, values...)
	}
	return &Sink{conn: c, takes: s.takes}, nil
}

// require returns an error for the first option that is empty. It gets names and
// values by turns.
func require(provider string, options ...string) error {
	for i := 0; i+1 < len(options); i += 2 {
		if options[i+1] == "" {
			return optionError(provider, "%s is required", options[i])
		}
	}
	return nil
}

// request is one request of a provider.
type request struct {
	method string // empty means POST
	url    *url.URL
	header http.Header
	body   []byte
	reply  int64 // how much of the answer is wanted, in bytes
}

// do sends a request. The error is an [*events.SendError], also where the status is
// not 2xx; the reply is then there too, for what the platform says in it.
func (c conn) do(ctx context.Context, r request) (post.Reply, error) {
	reply, err := c.client.Do(ctx, post.Request{
		Method: r.method, URL: r.url, Header: r.header, Body: r.body, Reply: r.reply,
	})
	if fail := (*post.RequestError)(nil); errors.As(err, &fail) {
		return reply, &events.SendError{
			Target: c.target(), Status: fail.Status, Reason: fail.Reason,
			After: fail.After, Final: fail.Final, Err: fail.Err,
		}
	}
	return reply, err
}

// each makes a sink that sends one request for each event. judge, which may be nil, looks
// at what was answered: err says what the status means.
func (s *Sink) each(build func(events.Event) request, judge func(reply post.Reply, err error) error) *Sink {
	s.send = func(ctx context.Context, e events.Event) error {
		reply, err := s.do(ctx, build(e))
		if judge == nil || reply.Status == 0 {
			return err
		}
		return judge(reply, err)
	}
	return s
}

func (c conn) target() string { return c.name + " at " + c.base.Scheme + "://" + c.base.Host }

// fail is an error about an answer that has no HTTP status to say it.
func (c conn) fail(final bool, format string, args ...any) *events.SendError {
	return &events.SendError{Target: c.target(), Final: final, Reason: fmt.Sprintf(format, args...)}
}

// named returns err with the word by which the platform calls the error, where it is
// one, see code.
func (c conn) named(err error, word string) error {
	fail := (*events.SendError)(nil)
	if word = code(word, c.secrets...); word != "" && errors.As(err, &fail) {
		fail.Reason += ": " + word
	}
	return err
}

// asked returns err with the time that the platform asks to wait in the body of its
// answer, in seconds, where the header did not say so.
func asked(err error, seconds float64) error {
	if fail := (*events.SendError)(nil); errors.As(err, &fail) && fail.After == 0 {
		fail.After = post.Seconds(seconds)
	}
	return err
}

// at is an address below the base. Each element becomes one element of the path,
// whatever it holds.
func (c conn) at(elements ...string) *url.URL {
	u := *c.base
	plain, raw := strings.TrimRight(u.Path, "/"), strings.TrimRight(u.EscapedPath(), "/")
	for _, e := range elements {
		plain += "/" + e
		raw += "/" + url.PathEscape(e)
	}
	u.Path, u.RawPath = plain, raw
	return &u
}

// jsonHeader is the header of a JSON body, with further names and values.
func jsonHeader(more ...string) http.Header {
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	for i := 0; i+1 < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// bearer is the value of an Authorization header.
func bearer(token string) string { return "Bearer " + token }
