package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// maxRedirects is as many as a person would follow.
const maxRedirects = 5

// client makes single requests and follows redirects. It knows who may see what;
// [http.Client] has its own ideas of that.
type client struct {
	own, other http.RoundTripper // for the artifact's origin, and for others
	opts       FetcherOptions
}

func newClient(opts FetcherOptions) *client {
	if opts.Transport != nil {
		return &client{own: opts.Transport, other: opts.Transport, opts: opts}
	}
	c := &client{own: newTransport(opts), opts: opts}
	c.other = c.own
	if opts.TLS != nil && (len(opts.TLS.Certificates) > 0 || opts.TLS.GetClientCertificate != nil) {
		opts.TLS = opts.TLS.Clone()
		opts.TLS.Certificates, opts.TLS.GetClientCertificate = nil, nil
		c.other = newTransport(opts)
	}
	return c
}

func newTransport(opts FetcherOptions) *http.Transport {
	dialer := &net.Dialer{Timeout: opts.StallTime, KeepAlive: 15 * time.Second, ControlContext: control(opts.Dial)}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        opts.TLS.Clone(),
		TLSHandshakeTimeout:    opts.StallTime,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // an archive is compressed; its digest is of these bytes
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         64 << 10,
	}
}

// control asks the policy about each address that is dialed.
func control(policy func(netip.AddrPort) error) func(context.Context, string, string, syscall.RawConn) error {
	if policy == nil {
		policy = notLinkLocal
	}
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err == nil {
			err = policy(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
		}
		if err != nil {
			return &RefusedError{URL: address, Reason: err.Error(), Err: err}
		}
		return nil
	}
}

// notLinkLocal refuses where clouds have the services that hand out credentials,
// also through the translation of IPv4 into IPv6.
func notLinkLocal(at netip.AddrPort) error {
	addr := at.Addr().WithZone("")
	if b := addr.As16(); addr.Is6() && netip.MustParsePrefix("64:ff9b::/96").Contains(addr) {
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() {
		return errors.New("it is link-local or multicast; set Dial to allow it")
	}
	switch addr.String() {
	case "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192":
		return errors.New("a cloud's metadata service is there; set Dial to allow it")
	}
	return nil
}

func (c *client) close() {
	if c.opts.Transport != nil {
		return
	}
	for _, t := range []http.RoundTripper{c.own, c.other} {
		if t, ok := t.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

// check parses the URL of an artifact and refuses what cannot be fetched safely.
func (c *client) check(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, &RefusedError{URL: safeURL(raw), Reason: "it is not a URL"}
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	if c.opts.Token != nil && u.Scheme == "http" && !c.opts.InsecureCredentials {
		return nil, &RefusedError{URL: safeURL(raw), Reason: "its token could be read on the way; use https, or set InsecureCredentials"}
	}
	return u, nil
}

func checkURL(u *url.URL) error {
	refuse := func(why string) error { return &RefusedError{URL: safe(u), Reason: why} }
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("only http and https are fetched from")
	case u.Hostname() == "":
		return refuse("it has no host")
	case u.User != nil:
		return refuse("it holds credentials; give a Token instead")
	}
	return nil
}

// get makes a request and follows redirects.
func (c *client) get(ctx context.Context, to *url.URL, header http.Header) (*http.Response, error) {
	at := to
	for range maxRedirects + 1 {
		resp, err := c.send(ctx, at, origin(at) == origin(to), header)
		if err != nil {
			return nil, err
		}
		next, err := redirected(at, resp)
		if err != nil || next != nil {
			_ = resp.Body.Close()
		}
		if err != nil || next == nil {
			return resp, err
		}
		at = next
	}
	return nil, &RefusedError{URL: safe(to), Reason: fmt.Sprintf("it redirects more than %d times", maxRedirects)}
}

// send makes a single request.
func (c *client) send(ctx context.Context, at *url.URL, own bool, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, &RefusedError{URL: safe(at), Reason: "it is not a URL"}
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", "gitopskit")
	req.Header.Set("Accept-Encoding", "identity")
	if !own {
		resp, err := c.other.RoundTrip(req)
		return resp, lost(err, "")
	}
	token, err := c.authorize(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, err := c.own.RoundTrip(req)
	return resp, lost(err, token)
}

func (c *client) authorize(ctx context.Context, req *http.Request) (string, error) {
	if c.opts.Token == nil {
		return "", nil
	}
	token, err := c.opts.Token(ctx, origin(req.URL))
	if err != nil {
		return "", &tokenError{err}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", &tokenError{errors.New("it holds a space or a control character")}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return token, nil
}

// tokenError keeps errors of the caller's function from being tried again.
type tokenError struct{ error }

func (e *tokenError) Error() string { return "get a token: " + e.error.Error() }
func (e *tokenError) Unwrap() error { return e.error }

// lost shortens what a transport says, which may repeat what a server sent.
func lost(err error, token string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if token != "" {
		text = strings.ReplaceAll(text, token, "[token]")
	}
	return &lostError{clip.Quote(text, 300), err}
}

type lostError struct {
	text string
	err  error
}

func (e *lostError) Error() string { return e.text }
func (e *lostError) Unwrap() error { return e.err }

// redirected returns where a redirect leads, nil if the answer is none.
func redirected(from *url.URL, resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return nil, &RefusedError{URL: safe(from), Reason: "it redirects to nowhere"}
	}
	if err := checkURL(to); err != nil {
		return nil, err
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, &RefusedError{URL: safe(to), Reason: "it is where a redirect leads from https"}
	}
	return to, nil
}

// origin is what credentials are for. The default port is spelled out.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// safe is a URL for errors: queries and users may be secret.
func safe(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, Opaque: u.Opaque}
	if u.Opaque != "" {
		shown.Opaque = "…"
	}
	return clip.Quote(shown.String(), 300)
}

func safeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "a URL that cannot be read"
	}
	return safe(u)
}
