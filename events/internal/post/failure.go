package post

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RequestError says why a request was not taken, in words of our own.
type RequestError struct {
	Status int           // of the answer; zero where there was none
	Reason string        // what went wrong
	After  time.Duration // how long the server asks to be left alone; zero where it does not
	Final  bool          // whether trying again is useless
	Err    error         // the end of the context, where that was the cause
}

func (e *RequestError) Error() string { return e.Reason }

func (e *RequestError) Unwrap() error { return e.Err }

// Terminal reports whether trying again is useless.
func (e *RequestError) Terminal() bool { return e.Final }

// judge turns an answer into an error. The status line's text is the server's, and
// could repeat a header of the request: the text for the code is our own.
func judge(resp *http.Response) error {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	return &RequestError{
		Status: code, Final: FinalStatus(code),
		Reason: fmt.Sprintf("answered %d %s", code, http.StatusText(code)),
		After:  ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// FinalStatus reports whether sending again after an answer of this status is useless.
func FinalStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	}
	return code < 500
}

const longestWait = 24 * 60 * 60 // seconds; keeps the multiplication from overflowing

// ParseRetryAfter reads seconds or a date. What is neither, or past, asks nothing.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(n, longestWait)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), longestWait*time.Second)
	}
	return 0
}

// Seconds is how long a number of seconds in a platform's own answer asks to wait.
func Seconds(n float64) time.Duration {
	if !(n > 0) { // not a number, too
		return 0
	}
	return time.Duration(min(n, longestWait) * float64(time.Second))
}

// refusal says why a request is not sent on.
type refusal string

func (e refusal) Error() string { return string(e) }

const (
	errRedirectHost   refusal = "redirects to another host, which is not followed: set the URL of the sink to the new address"
	errRedirectMethod refusal = "redirects in a way that turns a POST into a GET, which would lose the event: set the URL of the sink to the new address"
	errRedirectLoop   refusal = "redirects without end"
	errForbidden      refusal = "has a link-local address, or one where a cloud keeps credentials: use another, or allow it where that is meant"
)

func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case req.URL.Scheme != first.URL.Scheme || !strings.EqualFold(req.URL.Host, first.URL.Host):
		return errRedirectHost
	case req.Method != first.Method:
		return errRedirectMethod
	case len(via) > maxRedirects:
		return errRedirectLoop
	}
	return nil
}

// failure describes why there was no answer. The client's own error repeats the
// address, and some repeat what the server sent: neither goes further.
func failure(ctx context.Context, err error) error {
	fail := &RequestError{Reason: "the connection failed or the answer was not HTTP"}
	var (
		refused  refusal
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
	case errors.As(err, &refused):
		fail.Final = true
		fail.Reason = refused.Error()
	case errors.As(err, &unknown):
		fail.Reason = "its certificate is signed by an unknown authority: add the CA of the server to what is trusted"
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
