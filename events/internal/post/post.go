// Package post sends small requests to servers that are not trusted. What such a
// server does costs bounded time and memory, and nothing that it writes, and no part
// of an address, gets into an error.
package post

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultTimeout bounds one request with its answer.
	DefaultTimeout = 10 * time.Second
	// MaxReply is how much of an answer is read where somebody wants to see it.
	MaxReply = 64 << 10

	maxHeader    = 64 << 10
	maxDrain     = 64 << 10
	maxDrainTime = time.Second
	maxRedirects = 3
)

// Options configures a [Client]. The zero value is ready to use.
type Options struct {
	// Timeout bounds one request. Zero means [DefaultTimeout].
	Timeout time.Duration
	// CA holds certificates in PEM that sign the server's. Empty means the system's.
	CA []byte
	// ClientCert and ClientKey, in PEM, tell the server who asks.
	ClientCert, ClientKey []byte
	// Proxy is the URL of an HTTP, HTTPS or SOCKS5 proxy. Empty means none.
	Proxy string
	// Header is sent with each request. A request's own header comes first.
	Header http.Header
	// AllowLinkLocal lets requests go to link-local addresses and to those where
	// cloud providers keep credentials.
	AllowLinkLocal bool
	// AllowPlainHTTP lets secrets go over plain HTTP.
	AllowPlainHTTP bool
	// Transport sends the requests instead of one of the client's own. It cannot be
	// combined with CA, ClientCert, ClientKey and Proxy.
	Transport http.RoundTripper
}

// Client sends requests. It is safe for concurrent use.
type Client struct {
	http    *http.Client
	own     *http.Transport // nil where the transport is the caller's
	timeout time.Duration
	header  http.Header
	guard   guard
}

// New makes a client. Errors hold nothing of the options.
func New(o Options) (*Client, error) {
	if err := checkHeader(o.Header); err != nil {
		return nil, err
	}
	c := &Client{timeout: o.Timeout, header: o.Header.Clone(), guard: guard{open: o.AllowLinkLocal}}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	transport := o.Transport
	if transport == nil {
		own, err := newTransport(o, c.guard)
		if err != nil {
			return nil, err
		}
		c.own, transport = own, own
	} else if o.Proxy != "" || len(o.CA)+len(o.ClientCert)+len(o.ClientKey) > 0 {
		return nil, errors.New("a Transport of your own brings its own CA, client certificate and proxy: leave those options empty")
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	return c, nil
}

// CloseIdleConnections closes the connections that no request uses, but leaves the
// caller's own transport alone.
func (c *Client) CloseIdleConnections() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Request is what is sent.
type Request struct {
	Method string // empty means POST
	URL    *url.URL
	Header http.Header
	Body   []byte
	// Reply is how many bytes of the answer's body are wanted. A body that is longer
	// is not returned at all.
	Reply int64
}

// Reply is what came back.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte // nil where it was not wanted, too long or not read in time
}

// Do sends a request once. The error is a [*RequestError], also for an answer whose status
// is not 2xx; the reply is then there too.
func (c *Client) Do(ctx context.Context, r Request) (Reply, error) {
	if c.guard.refuses(r.URL) {
		return Reply{}, &RequestError{Reason: string(errForbidden), Final: true}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return Reply{}, &RequestError{Reason: "the request cannot be written", Final: true}
	}
	resp, err := c.http.Do(req) //nolint:bodyclose // drain closes it
	if err != nil {
		return Reply{}, failure(ctx, err)
	}
	if resp.Body != http.NoBody {
		defer drain(resp.Body, cancel)
	}
	reply := Reply{Status: resp.StatusCode, Header: resp.Header}
	if r.Reply > 0 {
		reply.Body = readAtMost(resp.Body, r.Reply)
	}
	return reply, judge(resp)
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "gitopskit")
	for _, all := range []http.Header{c.header, r.Header} {
		for name, values := range all {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	return req, nil
}

// readAtMost returns a body, or nil where it is longer or does not end.
func readAtMost(body io.Reader, limit int64) []byte {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil || int64(len(data)) > limit {
		return nil
	}
	return data
}

// drain reads what little a server may answer, so that the connection can be used
// again. A longer or slower answer costs the connection.
func drain(body io.ReadCloser, cancel context.CancelFunc) {
	slow := time.AfterFunc(maxDrainTime, cancel)
	defer slow.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	_ = body.Close()
}

// ParseURL reads the address of a server. Errors do not repeat it, since an address
// may hold a secret.
func ParseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("cannot be parsed")
	case (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return nil, errors.New("must start with http:// or https:// and name a host")
	case u.User != nil:
		return nil, errors.New("holds a user or a password, which belong into options of their own")
	}
	return u, nil
}

// ValidHeader reports whether a text can be the value of a header: printable ASCII
// without blanks at its ends.
func ValidHeader(value string) bool {
	return value == strings.TrimSpace(value) &&
		!strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

func checkHeader(h http.Header) error {
	const special = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for name, values := range h {
		if name == "" || strings.Trim(name, special) != "" {
			return errors.New("the name of an extra header is not valid")
		}
		for _, v := range values {
			if !ValidHeader(v) {
				return fmt.Errorf("the extra header %s holds a character that no header takes", name)
			}
		}
	}
	return nil
}
