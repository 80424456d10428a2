// Package fetch reads from HTTP servers that are not trusted: with credentials
// that go to one origin only, redirects under control, and a say in which
// addresses are dialled.
package fetch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// What errors of this package are.
var (
	ErrInvalidAuth  = errors.New("invalid credentials")
	ErrInsecure     = errors.New("credentials over plain HTTP")
	ErrAuth         = errors.New("the server refuses access")
	ErrNotFound     = errors.New("not found")
	ErrUnreachable  = errors.New("the server cannot be reached")
	ErrRedirect     = errors.New("redirect refused")
	ErrAddress      = errors.New("address refused")
	ErrInvalidURL   = errors.New("invalid URL")
	ErrBadAnswer    = errors.New("unexpected answer")
	errNotPermitted = errors.New("link-local and multicast addresses are not dialled, because clouds serve credentials there; set AllowAddress if that is wanted")
)

// Options are those of a client that the packages above offer.
type Options struct {
	Username, Password string
	BearerToken        string

	CABundle              []byte
	ClientCert, ClientKey []byte

	InsecureCredentials bool
	PassCredentials     bool

	AllowAddress  func(netip.Addr) error
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

// Client sends requests on behalf of one origin.
type Client struct {
	base        *url.URL
	header      string // Authorization
	mu          sync.Mutex
	secrets     []string // never in an error; the newest last
	pass        bool
	insecure    bool
	own, other  http.RoundTripper
	closeIdlers []func()
}

// New makes a client whose credentials belong to the origin of base.
func New(base *url.URL, opts Options) (*Client, error) {
	c := &Client{base: base, pass: opts.PassCredentials, insecure: opts.InsecureCredentials}
	if err := c.takeCredentials(opts); err != nil {
		return nil, err
	}
	roots, cert, err := certificates(base, opts)
	if err != nil {
		return nil, err
	}
	wrap := func(t *http.Transport) http.RoundTripper {
		c.closeIdlers = append(c.closeIdlers, t.CloseIdleConnections)
		if opts.WrapTransport != nil {
			return opts.WrapTransport(t)
		}
		return t
	}
	c.other = wrap(transport(opts, roots, nil))
	c.own = c.other
	if cert != nil {
		c.own = wrap(transport(opts, roots, cert))
	}
	return c, nil
}

func (c *Client) takeCredentials(opts Options) error {
	basic := opts.Username != "" || opts.Password != ""
	switch {
	case basic && opts.BearerToken != "":
		return fmt.Errorf("%w: give a user and password or a bearer token, not both", ErrInvalidAuth)
	case strings.ContainsAny(opts.Username+opts.Password+opts.BearerToken, "\x00\r\n"):
		return fmt.Errorf("%w: they hold a line break; remove it from the end of the secret", ErrInvalidAuth)
	case strings.Contains(opts.Username, ":"):
		return fmt.Errorf("%w: a user name cannot hold a colon", ErrInvalidAuth)
	case opts.BearerToken != "":
		c.header = "Bearer " + opts.BearerToken
		c.secrets = []string{opts.BearerToken}
	case basic:
		encoded := base64.StdEncoding.EncodeToString([]byte(opts.Username + ":" + opts.Password))
		c.header = "Basic " + encoded
		c.secrets = []string{opts.Password, encoded}
	}
	if c.header != "" && c.base.Scheme == "http" && !c.insecure {
		return fmt.Errorf("%w: use https, or set InsecureCredentials", ErrInsecure)
	}
	return nil
}

// Secret makes sure that no error holds a text. A few are remembered.
func (c *Client) Secret(text string) {
	const most = 16
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.secrets, text) {
		c.secrets = append(c.secrets, text)
	}
	if len(c.secrets) > most { // the first two are those that were given
		c.secrets = slices.Delete(c.secrets, 2, 3)
	}
}

// Authorization is the header of the client's credentials, empty without any.
func (c *Client) Authorization() string { return c.header }

// Close closes idle connections.
func (c *Client) Close() {
	for _, idle := range c.closeIdlers {
		idle()
	}
}

func transport(opts Options, roots certPool, cert *certificate) *http.Transport {
	allow := opts.AllowAddress
	if allow == nil {
		allow = noLinkLocal
	}
	// The address is looked at after its name was resolved, so that a name that
	// changes its mind leads nowhere either.
	dialer := &net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAddress, err)
		}
		if err := allow(at.Addr().Unmap()); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrAddress, at.Addr(), err)
		}
		return nil
	}}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig(roots, cert),
		TLSHandshakeTimeout:    30 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    4,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// noLinkLocal refuses the addresses at which clouds serve credentials.
func noLinkLocal(addr netip.Addr) error {
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || addr == netip.AddrFrom16([16]byte{0xfd, 0, 0x0e, 0xc2, 14: 0x02, 15: 0x54}) {
		return errNotPermitted
	}
	return nil
}

// Get follows redirects and returns the first answer that is none. The
// credentials go to the client's origin, and to that of target if they are to be
// passed on; never with a redirect elsewhere, and never over plain HTTP from
// HTTPS.
func (c *Client) Get(ctx context.Context, target *url.URL, header http.Header) (*http.Response, error) {
	origins := []string{Origin(c.base)}
	if c.pass && (target.Scheme == "https" || c.insecure) {
		origins = append(origins, Origin(target))
	}
	return c.follow(ctx, &request{method: http.MethodGet, header: header, authorization: c.header, origins: origins}, target)
}

// Do is Get with another method, and with what is given instead of the client's
// credentials, which goes to the origin of target only.
func (c *Client) Do(ctx context.Context, method string, target *url.URL, header http.Header, authorization string) (*http.Response, error) {
	return c.follow(ctx, &request{method: method, header: header, authorization: authorization, origins: []string{Origin(target)}}, target)
}

// request is what stays the same over redirects.
type request struct {
	method        string
	header        http.Header
	authorization string
	origins       []string // that may see it
}

func (c *Client) follow(ctx context.Context, what *request, target *url.URL) (*http.Response, error) {
	const redirects = 5 // as many as a person would follow
	if err := c.check(c.base, target); err != nil {
		return nil, err
	}
	for range redirects + 1 {
		resp, err := c.send(ctx, what, target)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return resp, nil
		}
		_ = resp.Body.Close()
		next, err := resp.Location()
		if err != nil {
			return nil, fmt.Errorf("%w: it leads nowhere", ErrRedirect)
		}
		if err := c.check(target, next); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRedirect, err)
		}
		target = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects", ErrRedirect, redirects)
}

// check refuses to go from one address to another that is less trustworthy.
func (c *Client) check(from, to *url.URL) error {
	switch {
	case to.Scheme != "https" && to.Scheme != "http":
		return fmt.Errorf("%w: its scheme is %q, not http or https", ErrInvalidURL, Clip(to.Scheme))
	case from.Scheme == "https" && to.Scheme == "http":
		return fmt.Errorf("%w: it leads from https to http", ErrInvalidURL)
	case to.User != nil:
		return fmt.Errorf("%w: it holds a user or a password", ErrInvalidURL)
	case to.Hostname() == "":
		return fmt.Errorf("%w: it has no host", ErrInvalidURL)
	}
	return nil
}

func (c *Client) send(ctx context.Context, what *request, target *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, what.method, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be requested", ErrInvalidURL)
	}
	for name, values := range what.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "gitopskit")
	at, trip := Origin(target), c.other
	if at == Origin(c.base) {
		trip = c.own
	}
	if what.authorization != "" && slices.Contains(what.origins, at) {
		req.Header.Set("Authorization", what.authorization)
	}
	resp, err := trip.RoundTrip(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return resp, nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, ErrAddress) {
		return &hidden{c.Redact(fmt.Sprintf("%v: %v", ErrUnreachable, err)), err}
	}
	return &hidden{c.Redact(fmt.Sprintf("%v: %v; check the URL, the certificates, and that the server runs", ErrUnreachable, err)), err}
}

// hidden is an error whose text has been cleaned. What it is can be recognized.
type hidden struct {
	text  string
	cause error
}

func (h *hidden) Error() string { return h.text }
func (h *hidden) Is(target error) bool {
	return target == ErrUnreachable || errors.Is(h.cause, target)
}

// Status turns an answer that is not the wanted one into an error.
func Status(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized && resp.Request.Header.Get("Authorization") == "":
		return fmt.Errorf("%w (status %d): no credentials were sent; set them, they go to the repository's own scheme, host and port only", ErrAuth, code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w (status %d): check the credentials, and what they may read", ErrAuth, code)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w (status %d): check the URL", ErrNotFound, code)
	case code == http.StatusTooManyRequests, code >= 500:
		return fmt.Errorf("%w: status %d; try again later", ErrUnreachable, code)
	default:
		return fmt.Errorf("%w: status %d", ErrBadAnswer, code)
	}
}

// Origin is what credentials are bound to: scheme, host and port.
func Origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// Redact takes the client's credentials out of a text, and makes it fit for a
// message.
func (c *Client) Redact(text string) string {
	c.mu.Lock()
	secrets := slices.Clone(c.secrets)
	c.mu.Unlock()
	for _, secret := range secrets {
		quoted := strconv.Quote(secret)
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), quoted[1 : len(quoted)-1]} {
			if form != "" {
				text = strings.ReplaceAll(text, form, "***")
			}
		}
	}
	return printable(text, 600)
}

// Clip makes text from elsewhere fit for a message: one line, printable, short.
func Clip(s string) string { return printable(s, 200) }

func printable(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}

// Place is a URL for a message: without user, query and fragment.
func Place(u *url.URL) string { return Clip(u.Scheme + "://" + u.Host + u.Path) }

// Visible is a text without what cannot be printed.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
