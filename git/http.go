package git

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const userAgent = "git/2.0 (gitopskit)" // some servers look for git/ at the beginning

// httpTransport speaks Git's smart HTTP protocol with one server.
type httpTransport struct {
	base        *url.URL
	credentials *credentials
	// A RoundTripper, not a Client, which would follow redirects, with its own
	// idea of who may see the credentials.
	client    http.RoundTripper
	certified bool   // there is a client certificate
	idle      func() // closes idle connections
}

func newHTTPTransport(base *url.URL, opts Options, way *way, s *secrets) (*httpTransport, error) {
	cert, err := clientCertificate(opts, base.Scheme)
	if err != nil {
		return nil, err
	}
	lanes := newLanes(base, way, cert)
	t := &httpTransport{base: base, client: lanes, idle: lanes.closeIdle, credentials: newCredentials(base, opts.Auth, s)}
	if opts.WrapTransport != nil {
		t.client = opts.WrapTransport(lanes)
	}
	t.certified = cert != nil
	if opts.Auth.GitHubApp != nil {
		app, err := opts.Auth.GitHubApp.installation(base, opts.InsecureCredentials)
		if err != nil {
			return nil, err
		}
		app.send, app.secrets = t.roundTrip, s
		t.credentials.source = app.token
	}
	return t, nil
}

// lanes send each request with the transport for where it goes. Only the origin
// of the repository's URL is shown the client certificate.
type lanes struct {
	origin            string
	own, other, plain *http.Transport
}

func newLanes(base *url.URL, way *way, cert *tls.Certificate) *lanes {
	l := &lanes{origin: origin(base), other: newLane(way), plain: newLane(way)}
	l.own = l.other
	if cert != nil {
		l.own = newLane(way)
		l.own.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	}
	// Proxies that let nobody CONNECT to port 80 pass requests on.
	l.plain.ForceAttemptHTTP2 = false
	if way.proxy != nil && !way.socks() {
		l.plain.DialContext = direct
		l.plain.Proxy = http.ProxyURL(way.proxy)
	}
	return l
}

func newLane(way *way) *http.Transport {
	return &http.Transport{
		DialContext:            way.dial,
		TLSClientConfig:        tlsConfig(way.roots),
		TLSHandshakeTimeout:    connecting,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    4,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

func (l *lanes) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.URL.Scheme == "http":
		return l.plain.RoundTrip(req)
	case origin(req.URL) == l.origin:
		return l.own.RoundTrip(req)
	}
	return l.other.RoundTrip(req)
}

func (l *lanes) closeIdle() {
	for _, lane := range []*http.Transport{l.own, l.other, l.plain} {
		lane.CloseIdleConnections()
	}
}

func (t *httpTransport) close() { t.idle() }

func (t *httpTransport) connect(_ context.Context, protocol string, metered func(io.Reader) io.Reader) (session, error) {
	return &httpSession{httpTransport: t, at: t.base, protocol: protocol, metered: metered}, nil
}

// httpSession is one operation: a GET for the server's greeting, and a POST for
// each request.
type httpSession struct {
	*httpTransport
	at       *url.URL // the repository, after redirects
	protocol string   // the version that is asked for, empty for 0
	metered  func(io.Reader) io.Reader
	open     []io.ReadCloser
}

// stateless: every request stands alone, unless the first one was redirected:
// then it takes the first one to know where the second goes.
func (s *httpSession) stateless() bool { return s.at == s.base }

func (s *httpSession) close(well bool) {
	const leftovers = 1024
	for _, body := range s.open {
		if well {
			// A connection is used again only if the response was read to its
			// end, which is one read behind the last packet. What goes wrong
			// here goes wrong with the connection only.
			_, _ = io.CopyN(io.Discard, body, leftovers)
		}
		body.Close()
	}
}

const (
	refsPath = "/info/refs"
	service  = "git-upload-pack"
)

// advertise asks for the references, and follows redirects: what moves is the
// repository, so that the second request goes to the new place directly.
func (s *httpSession) advertise(ctx context.Context) (*packetReader, error) {
	const redirects = 5 // as many as a person would follow
	at := s.at
	for range redirects + 1 {
		target := at.JoinPath(refsPath)
		target.RawQuery = "service=" + service
		resp, err := s.do(ctx, http.MethodGet, target, nil)
		if err != nil {
			return nil, err
		}
		next, err := redirected(resp)
		if err != nil {
			return nil, err
		}
		if next == nil {
			s.at = at
			packets, err := s.result(resp, "application/x-git-upload-pack-advertisement")
			if err != nil {
				return nil, err
			}
			return packets, skipService(packets)
		}
		at = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects", ErrProtocol, redirects)
}

// redirected returns the repository that a redirect leads to, nil if the
// response is none.
func redirected(resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	resp.Body.Close()
	refuse := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("%w: redirect refused: it leads %s", ErrProtocol, why)
	}
	next, err := resp.Location()
	if err != nil {
		return refuse("nowhere")
	}
	from := resp.Request.URL.Scheme
	switch {
	case next.Scheme != "https" && next.Scheme != "http":
		return refuse("to a scheme other than http and https")
	case from == "https" && next.Scheme == "http":
		return refuse("from https to http")
	case next.User != nil:
		return refuse("to an address with a user or password")
	case !strings.HasSuffix(next.Path, refsPath):
		return refuse("to a page that is not a repository, such as a login form")
	}
	next.Path = strings.TrimSuffix(next.Path, refsPath)
	next.RawPath = strings.TrimSuffix(next.RawPath, refsPath)
	next.RawQuery, next.Fragment, next.RawFragment = "", "", ""
	return next, nil
}

// request sends what is wanted and returns the answer.
func (s *httpSession) request(ctx context.Context, body []byte) (*packetReader, error) {
	resp, err := s.do(ctx, http.MethodPost, s.at.JoinPath(service), body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 3 {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: redirect of a POST refused", ErrProtocol)
	}
	return s.result(resp, "application/x-git-upload-pack-result")
}

func (s *httpSession) do(ctx context.Context, method string, target *url.URL, body []byte) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	req.Header.Set("User-Agent", userAgent)
	if s.protocol != "" {
		req.Header.Set("Git-Protocol", s.protocol)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		req.Header.Set("Accept", "application/x-git-upload-pack-result")
	}
	return s.send(req)
}

// result checks the head of a response and returns its body.
func (s *httpSession) result(resp *http.Response, contentType string) (*packetReader, error) {
	s.open = append(s.open, resp.Body)
	sent := resp.Request.Header.Get("Authorization") != ""
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized && !sent && s.credentials.any():
		return nil, fmt.Errorf("%w: the repository has moved to %s, where the credentials are not sent; change its URL",
			ErrAuthRequired, clip(resp.Request.URL.Host))
	case code == http.StatusUnauthorized && !sent:
		return nil, fmt.Errorf("%w: set Options.Auth", ErrAuthRequired)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return nil, fmt.Errorf("%w (status %d): check the user, the password or token, and what it may read", ErrAuthRefused, code)
	case code == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("%w: %w", ErrProxy, proxyStatus(code))
	case code == http.StatusNotFound, code == http.StatusGone:
		return nil, fmt.Errorf("%w (status %d): check the URL; a private repository may say so if credentials are missing", ErrRepositoryNotFound, code)
	case code == http.StatusTooManyRequests, code >= 500:
		return nil, fmt.Errorf("%w: status %d; try again later", ErrUnreachable, code)
	case code != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d", ErrProtocol, code)
	}
	got, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if strings.TrimSpace(got) != contentType {
		return nil, fmt.Errorf("%w: %q is not a Git server with smart HTTP (content type %q)", ErrProtocol, clip(resp.Request.URL.Host), clip(got))
	}
	return newPacketReader(s.metered(resp.Body)), nil
}

// skipService reads the lines that come before the greeting over HTTP only.
// Some servers leave them out in version 2.
func skipService(packets *packetReader) error {
	begin, err := packets.r.Peek(len("000eversion 2"))
	if err == nil && string(begin) == "000eversion 2" {
		return nil
	}
	line, m, err := packets.line()
	if err != nil {
		return err
	}
	if m != data || strings.TrimSpace(line) != "# service="+service {
		return fmt.Errorf("%w: not the references of a repository", ErrProtocol)
	}
	if _, m, err = packets.line(); err != nil {
		return err
	}
	if m != flush {
		return fmt.Errorf("%w: not the references of a repository", ErrProtocol)
	}
	return nil
}
