package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultHTTPTimeout bounds one request of an [HTTPSink].
	DefaultHTTPTimeout = 10 * time.Second

	// What a server may answer. The answer to an event says nothing that we
	// want to know but its status, so little is enough.
	maxReplyHeader = 64 << 10
	maxReplyBody   = 64 << 10
	maxReplyTime   = time.Second
	maxRedirects   = 3
)

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
	// system's CAs and no proxy.
	Transport http.RoundTripper
}

// HTTPSink posts each event as JSON to one URL. Any 2xx answer means that the event
// is delivered. It tries once; trying again is the recorder's work.
type HTTPSink struct {
	target *url.URL
	opts   HTTPOptions
	client *http.Client
	own    *http.Transport // nil where the transport is the user's
}

// NewHTTPSink returns a sink for an http or https URL.
func NewHTTPSink(target string, opts HTTPOptions) (*HTTPSink, error) {
	u, err := url.Parse(target)
	switch {
	// An address may hold a secret, and the parser's error the address.
	case err != nil:
		return nil, errors.New("events: the URL of the HTTP sink cannot be parsed")
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return nil, errors.New("events: the URL of the HTTP sink must start with http:// or https:// and name a host")
	case u.User != nil:
		return nil, errors.New("events: the URL of the HTTP sink holds a user or a password: use HTTPOptions.Token")
	case strings.ContainsFunc(opts.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("events: the token of the HTTP sink holds a blank or another character that no header takes")
	case opts.Token != "" && u.Scheme != "https" && !opts.AllowPlainToken:
		return nil, errors.New("events: the token of the HTTP sink would go over plain HTTP: use https, or set AllowPlainToken")
	}
	opts.Timeout = orDefault(opts.Timeout, DefaultHTTPTimeout)
	opts.HMACKey = bytes.Clone(opts.HMACKey)
	s := &HTTPSink{target: u, opts: opts}
	transport := opts.Transport
	if transport == nil {
		s.own = newTransport()
		transport = s.own
	}
	s.client = &http.Client{Transport: transport, CheckRedirect: s.checkRedirect}
	return s, nil
}

func newTransport() *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: maxReplyHeader,
		DisableCompression:     true, // no small answer that unpacks to a large one
	}
}

// CloseIdleConnections closes the connections that no request uses, for when the
// sink is not needed any more. It leaves the caller's own transport alone.
func (s *HTTPSink) CloseIdleConnections() {
	if s.own != nil {
		s.own.CloseIdleConnections()
	}
}

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
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	req, err := s.request(ctx, e)
	if err != nil {
		return &SendError{Target: s.String(), Reason: "the event cannot be written as JSON", Final: true}
	}
	resp, err := s.client.Do(req) //nolint:bodyclose // drain closes it
	if err != nil {
		return s.failure(ctx, err)
	}
	if resp.Body != http.NoBody {
		defer drain(resp.Body, cancel)
	}
	return s.judge(resp)
}

func (s *HTTPSink) request(ctx context.Context, e Event) (*http.Request, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gitopskit")
	if s.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.opts.Token)
	}
	if len(s.opts.HMACKey) > 0 {
		mac := hmac.New(sha256.New, s.opts.HMACKey)
		mac.Write(body) // a hash's Write does not fail
		req.Header.Set("X-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return req, nil
}

// judge turns an answer into an error. The status line's text is the server's, and
// could repeat a header of the request: the text for the code is our own.
func (s *HTTPSink) judge(resp *http.Response) error {
	code := resp.StatusCode
	if (code >= 200 && code < 300) || (code == http.StatusTooManyRequests && s.opts.TooManyIsDuplicate) {
		return nil
	}
	reason := fmt.Sprintf("answered %d %s", code, http.StatusText(code))
	return &SendError{
		Target: s.String(), Status: code, Reason: reason, Final: finalStatus(code),
		After: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

func finalStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	}
	return code < 500
}

// parseRetryAfter reads seconds or a date. What is neither, or past, asks nothing.
func parseRetryAfter(value string, now time.Time) time.Duration {
	const longest = 24 * 60 * 60 // seconds; keeps the multiplication from overflowing
	if n, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(n, longest)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), longest*time.Second)
	}
	return 0
}

// redirectError says why a redirect is not followed.
type redirectError string

func (e redirectError) Error() string { return string(e) }

const (
	errRedirectHost   redirectError = "redirects to another host, which is not followed: set the URL of the sink to the new address"
	errRedirectMethod redirectError = "redirects in a way that turns a POST into a GET, which would lose the event: set the URL of the sink to the new address"
	errRedirectLoop   redirectError = "redirects without end"
)

func (s *HTTPSink) checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Scheme != s.target.Scheme || !strings.EqualFold(req.URL.Host, s.target.Host):
		return errRedirectHost
	case req.Method != http.MethodPost:
		return errRedirectMethod
	case len(via) > maxRedirects:
		return errRedirectLoop
	}
	return nil
}

// failure describes why there was no answer. The client's own error repeats the
// address, and some repeat what the server sent: neither goes further.
func (s *HTTPSink) failure(ctx context.Context, err error) error {
	fail := &SendError{Target: s.String(), Reason: "the connection failed or the answer was not HTTP"}
	var (
		redirect redirectError
		op       *net.OpError
		dns      *net.DNSError
		cert     *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
	)
	switch {
	case ctx.Err() != nil:
		fail.Err = ctx.Err()
		fail.Reason = "no answer in time"
		if errors.Is(fail.Err, context.Canceled) {
			fail.Reason = "canceled"
		}
	case errors.As(err, &redirect):
		fail.Final = true
		fail.Reason = redirect.Error()
	case errors.As(err, &unknown):
		fail.Reason = "its certificate is signed by an unknown authority: add the CA to the Transport"
	case errors.As(err, &hostname):
		fail.Reason = "its certificate is for another host"
	case errors.As(err, &cert):
		fail.Reason = "its certificate is not valid"
	case errors.As(err, &dns):
		fail.Reason = "the name of the host cannot be resolved"
	case errors.As(err, &op):
		fail.Reason = op.Op + ": " + reasonOf(op)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		fail.Reason = "the connection was closed before the answer"
	}
	return fail
}

// reasonOf names a network failure as the operating system does.
func reasonOf(op *net.OpError) string {
	var errno syscall.Errno
	switch {
	case errors.As(op.Err, &errno):
		return errno.Error()
	case op.Timeout():
		return "timed out"
	}
	return "the connection failed"
}

// drain reads what little a server may answer, so that the connection can be used
// again. A longer or slower answer costs the connection.
func drain(body io.ReadCloser, cancel context.CancelFunc) {
	slow := time.AfterFunc(maxReplyTime, cancel)
	defer slow.Stop()
	_, _ = io.CopyN(io.Discard, body, maxReplyBody) // the status said it all
	_ = body.Close()
}
