package git

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/proxy"
)

// Proxy is what connections go through. The zero value is none; the environment
// is not asked.
type Proxy struct {
	// URL is the address: http://host:port or https://host:port for a proxy
	// that knows the method CONNECT, socks5://host:port or socks5h://host:port
	// for SOCKS5. It is used for HTTP and for SSH, and for the API of a
	// [GitHubApp]. With every one of them it is the proxy that resolves the
	// names of servers. The certificate of an https proxy is checked as that of
	// a server; it gets no client certificate. Without a port it is 80, 443 or
	// 1080. To an http address over an http or https proxy the requests
	// themselves go through the proxy, which can read them.
	URL string
	// Username and Password for the proxy. Only to an https proxy do they go
	// encrypted.
	Username, Password string
}

// connecting is how long opening a connection may take: each of finding the
// host and the proxy, the proxy's answer, TLS, and the SSH handshake.
const connecting = 30 * time.Second

// parse reads the address of the proxy; nil if there is none. Its errors quote
// nothing.
func (p Proxy) parse() (*url.URL, error) {
	refuse := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("%w: Options.Proxy: %s", ErrInvalidURL, why)
	}
	if p == (Proxy{}) {
		return nil, nil
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return refuse("write http://host:port, https://host:port or socks5://host:port")
	}
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	port, known := ports[u.Scheme]
	switch {
	case !known:
		return refuse("its scheme is none of http, https, socks5 and socks5h")
	case u.User != nil:
		return refuse("the address holds a user or password; give them in Proxy.Username and Password")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return refuse("the address has a path, a query or a fragment")
	case !validPort(u):
		return refuse("its port is none")
	case len(p.Username) > 255 || len(p.Password) > 255:
		return refuse("the user or password is longer than 255 bytes")
	case strings.Contains(p.Username, ":") || strings.ContainsAny(p.Username+p.Password, "\x00\r\n"):
		return refuse("the user holds a colon, or one of user and password a line break")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	at := &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(u.Hostname(), port)}
	if p.Username != "" || p.Password != "" {
		at.User = url.UserPassword(p.Username, p.Password)
	}
	return at, nil
}

// direct opens connections without a proxy.
func direct(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{Timeout: connecting}).DialContext(ctx, network, addr)
}

// way is how the hosts of one Remote are reached.
type way struct {
	proxy *url.URL       // with user and password; nil if there is none
	roots *x509.CertPool // nil: those of the system
}

func newWay(opts Options) (*way, error) {
	proxy, err := opts.Proxy.parse()
	if err != nil {
		return nil, err
	}
	roots, err := trusted(opts.CABundle)
	return &way{proxy, roots}, err
}

func (w *way) socks() bool { return strings.HasPrefix(w.proxy.Scheme, "socks5") }

// dial opens a connection, through the proxy if there is one.
func (w *way) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if w.proxy == nil {
		return direct(ctx, network, addr)
	}
	connect := w.connect
	if w.socks() {
		connect = w.dialSOCKS
	}
	ctx, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	conn, err := connect(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrProxy, w.proxy.Host, err)
	}
	return conn, nil
}

func (w *way) dialSOCKS(ctx context.Context, network, addr string) (net.Conn, error) {
	var auth *proxy.Auth
	if w.proxy.User != nil {
		password, _ := w.proxy.User.Password()
		auth = &proxy.Auth{User: w.proxy.User.Username(), Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", w.proxy.Host, auth, directly{})
	if err != nil {
		return nil, err
	}
	with, ok := dialer.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the SOCKS5 client knows no context")
	}
	return with.DialContext(ctx, network, addr)
}

// directly is direct as package proxy likes it.
type directly struct{}

func (directly) Dial(string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported // nobody dials without a context
}

func (directly) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return direct(ctx, network, addr)
}

// connect uses the method CONNECT of an HTTP proxy.
func (w *way) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := direct(ctx, network, w.proxy.Host)
	if err != nil {
		return nil, err
	}
	// Whatever it waits for below: the end of ctx ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	through, err := w.handshake(ctx, conn, addr)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return through, nil
}

func (w *way) handshake(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	if w.proxy.Scheme == "https" {
		config := tlsConfig(w.roots)
		config.ServerName = w.proxy.Hostname()
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{"User-Agent": {userAgent}}}
	if w.proxy.User != nil {
		password, _ := w.proxy.User.Password()
		req.Header.Set("Proxy-Authorization", Token{Username: w.proxy.User.Username(), Password: password}.header())
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	return accepted(conn, req)
}

// accepted reads the proxy's answer. What follows it is the server's.
func accepted(conn net.Conn, req *http.Request) (net.Conn, error) {
	const head = 64 << 10
	buffered := bufio.NewReader(io.LimitReader(conn, head))
	resp, err := http.ReadResponse(buffered, req)
	if err != nil {
		// What it says may be anything, and is of no use.
		return nil, errors.New("it does not answer as an HTTP proxy")
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, proxyStatus(resp.StatusCode)
	}
	early, err := buffered.Peek(buffered.Buffered())
	if err != nil {
		return nil, err
	}
	return &joined{conn, io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)}, nil
}

// proxyStatus says what a proxy's refusal means. Its text and page are not
// repeated: proxies like to show what they were sent.
func proxyStatus(code int) error {
	if code == http.StatusProxyAuthRequired {
		return errors.New("it wants other credentials (status 407); check Proxy.Username and Password")
	}
	return fmt.Errorf("it answers with status %d; check that it may connect to this host and port", code)
}

// joined is a connection of which some bytes have been read already.
type joined struct {
	net.Conn
	r io.Reader
}

func (j *joined) Read(p []byte) (int, error) { return j.r.Read(p) }
