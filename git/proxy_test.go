package git_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func serveProxy(t *testing.T, opts gitserver.ProxyOptions) *gitserver.Proxy {
	t.Helper()
	p, err := gitserver.ServeProxy(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// behind are the addresses of a repository with everything needed to read it.
func behind(t *testing.T, f *fixture, a *gitserver.Authority) map[string]func() (string, git.Options) {
	t.Helper()
	config, err := a.Mutual()
	require.NoError(t, err)
	secure := f.serve(gitserver.HTTPOptions{TLS: config})
	return map[string]func() (string, git.Options){
		"http": func() (string, git.Options) { return f.http.URL + "/repo.git", git.Options{CABundle: a.PEM()} },
		"https": func() (string, git.Options) {
			return secure.URL + "/repo.git", client(t, a)
		},
		"ssh": func() (string, git.Options) {
			return f.ssh.URL + "/repo.git", git.Options{CABundle: a.PEM(), Auth: f.sshAuth()}
		},
	}
}

func TestProxy(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	a := authority(t)
	config, err := a.Server()
	require.NoError(t, err)
	config.ClientAuth = tls.RequestClientCert
	seen := make(chan int, 100)
	config.VerifyConnection = func(s tls.ConnectionState) error { seen <- len(s.PeerCertificates); return nil }
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		for name, target := range behind(t, f, a) {
			for _, who := range []gitserver.ProxyOptions{{}, {Username: "u", Password: "p@:/% "}} {
				t.Run(scheme+" for "+name+" as "+who.Username, func(t *testing.T) {
					if scheme == "https" {
						who.TLS = config
					}
					p := serveProxy(t, who)
					url, opts := target()
					opts.Proxy = git.Proxy{URL: scheme + "://" + p.Addr, Username: who.Username, Password: who.Password}
					snapshot(t, open(t, url, opts), git.Ref{})
					host := strings.TrimPrefix(strings.Split(url, "/")[2], "git@")
					require.NotEmpty(t, p.Targets())
					for _, target := range p.Targets() {
						require.Equal(t, host, target)
					}
				})
			}
		}
	}
	// The client certificate is for the server, not for the proxy.
	require.NotEmpty(t, seen)
	for range len(seen) {
		require.Zero(t, <-seen)
	}
}

// A name is resolved by the proxy, so that it works where we cannot.
func TestProxyResolvesNames(t *testing.T) {
	f := newFixture(t)
	for _, scheme := range []string{"http", "socks5", "socks5h"} {
		p := serveProxy(t, gitserver.ProxyOptions{})
		opts := git.Options{Auth: f.sshAuth(), Proxy: git.Proxy{URL: scheme + "://" + p.Addr}}
		_, err := open(t, "ssh://no-such-host.invalid/x", opts).Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrProxy)
		require.ErrorIs(t, err, git.ErrUnreachable)
		require.Equal(t, []string{"no-such-host.invalid:22"}, p.Targets())
	}
}

func TestProxyRefusals(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	a := authority(t)
	for _, scheme := range []string{"http", "socks5"} {
		for name, target := range behind(t, f, a) {
			t.Run(scheme+" for "+name, func(t *testing.T) {
				p := serveProxy(t, gitserver.ProxyOptions{Username: "u", Password: "p"})
				url, opts := target()
				for _, wrong := range []git.Proxy{{}, {Username: "u", Password: "canary"}} {
					wrong.URL = scheme + "://" + p.Addr
					opts.Proxy = wrong
					_, err := open(t, url, opts).Resolve(t.Context(), git.Ref{})
					require.ErrorIs(t, err, git.ErrProxy)
					require.False(t, terminal(t, err))
					require.NotContains(t, err.Error(), "canary")
					require.NotContains(t, err.Error(), base64.StdEncoding.EncodeToString([]byte("u:canary")))
				}
				require.Empty(t, p.Targets())
			})
		}
	}
}

func TestOpenRefusesProxies(t *testing.T) {
	for name, p := range map[string]git.Proxy{
		"no URL":                {Username: "u", Password: "canary"},
		"no scheme":             {URL: "proxy.example.com:3128"},
		"no host":               {URL: "http://"},
		"another scheme":        {URL: "socks4://example.com"},
		"a password in the URL": {URL: "http://u:canary@example.com"},
		"a path":                {URL: "http://example.com/canary"},
		"a query":               {URL: "http://example.com/?canary"},
		"a port that is none":   {URL: "http://example.com:99999"},
		"a colon in the user":   {URL: "http://example.com", Username: "a:b"},
		"a line break":          {URL: "http://example.com", Username: "a", Password: "canary\r\nX: y"},
		"a long password":       {URL: "socks5://example.com", Username: "a", Password: strings.Repeat("canary", 100)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.Open("https://example.com/x", git.Options{Proxy: p})
			require.ErrorIs(t, err, git.ErrInvalidURL)
			require.ErrorContains(t, err, "Options.Proxy")
			require.NotContains(t, err.Error(), "canary")
			require.True(t, terminal(t, err))
		})
	}
}

// What is in the environment is for somebody else.
func TestProxyNotFromEnvironment(t *testing.T) {
	f := anotherFixture(t)
	f.commit("main", files("a", "1"), nil)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	for _, r := range f.remotes() {
		snapshot(t, r, git.Ref{})
	}
}

// A proxy that has something to say says it to nobody.
func TestAttackProxyRepeatsCredentials(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("u:c4n4ry"))
	handlers := map[string]func(conn net.Conn){
		"in a page": func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 407 c4n4ry "+basic+"\r\nContent-Length: 40\r\nX: c4n4ry\r\n\r\nu c4n4ry "+basic)
		},
		"in no protocol":  func(conn net.Conn) { io.WriteString(conn, "Basic "+basic+" c4n4ry\r\n\r\n") },
		"in a header":     func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nc4n4ry "+basic+"\r\n\r\n") },
		"as the server":   func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nc4n4ry "+basic+"\r\n") },
		"without an end":  func(conn net.Conn) { pourOut(conn, "HTTP/1.1 200 OK\r\n", "X: c4n4ry\r\n") },
		"in words of SSH": func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-c4n4ry\r\nc4n4ry") },
	}
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	for name, handler := range handlers {
		for _, url := range []string{"http://example.com/x", "https://example.com/x", "ssh://example.com/x"} {
			t.Run(name+" to "+url[:5], func(t *testing.T) {
				addr := listen(t, func(conn net.Conn) {
					_, _ = http.ReadRequest(bufio.NewReader(conn))
					handler(conn)
				})
				opts := git.Options{Proxy: git.Proxy{URL: "http://" + addr, Username: "u", Password: "c4n4ry"}}
				if strings.HasPrefix(url, "ssh") {
					opts.Auth.SSHKey = key
				}
				_, err := open(t, url, opts).Resolve(t.Context(), git.Ref{})
				require.Error(t, err)
				require.NotContains(t, err.Error(), "c4n4ry")
				require.NotContains(t, err.Error(), basic)
			})
		}
	}
}

// pourOut writes until nobody reads any more.
func pourOut(w io.Writer, first, then string) {
	_, err := io.WriteString(w, first)
	for err == nil {
		_, err = io.WriteString(w, then)
	}
}

// listen serves connections on loopback, one after the other, until the test
// ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			serve(conn)
			stop()
			conn.Close()
		}
	}()
	t.Cleanup(func() { cancel(); l.Close(); <-done })
	return l.Addr().String()
}

// A proxy, or a server behind it, that stops at any point holds nobody up.
func TestAttackStuckProxy(t *testing.T) {
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	saying := func(words ...string) func(net.Conn) {
		return func(conn net.Conn) {
			buf := make([]byte, 1024)
			for _, word := range words {
				if _, err := conn.Read(buf); err != nil {
					return
				}
				io.WriteString(conn, word)
			}
			silent(conn)
		}
	}
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	const secureOnly, sshOnly = "no http", "no https"
	for name, tt := range map[string]struct {
		scheme string
		serve  func(net.Conn)
		not    string // what would answer with an error here
	}{
		"before CONNECT is answered":    {"http", silent, ""},
		"in the answer to CONNECT":      {"http", saying("HTTP/1.1 200 OK\r\nX: "), ""},
		"after CONNECT":                 {"http", saying("HTTP/1.1 200 OK\r\n\r\n"), secureOnly},
		"in TLS with the proxy":         {"https", silent, ""},
		"in the greeting of SOCKS":      {"socks5", silent, ""},
		"in the authentication":         {"socks5", saying("\x05\x02"), ""},
		"before SOCKS connects":         {"socks5", saying("\x05\x02", "\x01\x00"), ""},
		"in what SOCKS says":            {"socks5", saying("\x05\x02", "\x01\x00", "\x05\x00\x00"), ""},
		"after SOCKS has connected":     {"socks5", saying("\x05\x02", "\x01\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"), ""},
		"in the handshake through both": {"socks5h", saying("\x05\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00SSH-2.0-x\r\n"), sshOnly},
	} {
		for _, url := range []string{"http://example.com/x", "https://example.com/x", "ssh://example.com/x"} {
			if tt.not != "" && strings.HasPrefix(url, "http:") || tt.not == sshOnly && !strings.HasPrefix(url, "ssh") {
				continue
			}
			t.Run(name+" to "+url[:5], func(t *testing.T) {
				opts := git.Options{Proxy: git.Proxy{URL: tt.scheme + "://" + listen(t, tt.serve), Username: "u", Password: "p"}}
				if strings.HasPrefix(url, "ssh") {
					opts.Auth.SSHKey = key
				}
				requireCancelled(t, open(t, url, opts))
			})
		}
	}
}

// requireCancelled: an operation that hangs ends with its context.
func requireCancelled(t *testing.T, r *git.Remote) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	timer := time.AfterFunc(100*time.Millisecond, cancel)
	defer timer.Stop()
	begin := time.Now()
	_, err := r.Resolve(ctx, git.Ref{})
	require.Less(t, time.Since(begin), time.Minute)
	require.ErrorIs(t, err, context.Canceled)
	require.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond, "it did not hang: %v", err)
}

// A proxy hears nothing of the credentials for a server behind TLS or SSH, and
// a server nothing of those for the proxy.
func TestAttackProxyCredentialsStayApart(t *testing.T) {
	a := authority(t)
	var heard []string
	server := secure(t, a, func(w http.ResponseWriter, req *http.Request) {
		heard = append(heard, req.Header.Get("Authorization")+req.Header.Get("Proxy-Authorization"))
		http.Error(w, "no", http.StatusNotFound)
	})
	var toProxy []http.Header
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		toProxy = append(toProxy, req.Header.Clone())
		target, err := net.Dial("tcp", req.Host)
		if err != nil {
			return
		}
		defer target.Close()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(target, conn); target.Close() }()
		_, _ = io.Copy(conn, target)
	}))
	defer proxy.Close()
	opts := git.Options{
		CABundle: a.PEM(),
		Auth:     git.Auth{BearerToken: "for-the-server"},
		Proxy:    git.Proxy{URL: proxy.URL, Username: "u", Password: "for-the-proxy"},
	}
	_, err := open(t, server.URL+"/x", opts).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrRepositoryNotFound)
	require.Equal(t, []string{"Bearer for-the-server"}, heard)
	require.Len(t, toProxy, 1)
	require.Empty(t, toProxy[0].Get("Authorization"))
	require.NotEmpty(t, toProxy[0].Get("Proxy-Authorization"))
}
