package git_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func authority(t *testing.T) *gitserver.Authority {
	t.Helper()
	a, err := gitserver.NewAuthority()
	require.NoError(t, err)
	return a
}

// client is a client certificate of an authority, for Options.
func client(t *testing.T, a *gitserver.Authority) git.Options {
	t.Helper()
	cert, key, err := a.Client("reader")
	require.NoError(t, err)
	return git.Options{ClientCert: cert, ClientKey: key, CABundle: a.PEM()}
}

// serve starts another HTTP server for the fixture.
func (f *fixture) serve(opts gitserver.HTTPOptions) *gitserver.Server {
	f.t.Helper()
	server, err := gitserver.ServeHTTP(f.t.Context(), f.root, opts)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, server.Close()) })
	return server
}

func TestClientCertificate(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	ours, others := authority(t), authority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			config, err := ours.Mutual()
			require.NoError(t, err)
			config.MinVersion, config.MaxVersion = version, version
			server := f.serve(gitserver.HTTPOptions{TLS: config, Username: "u", Password: "p"})
			opts := client(t, ours)
			opts.Auth = git.Auth{Username: "u", Password: "p"} // beside the certificate
			snapshot(t, open(t, server.URL+"/repo.git", opts), git.Ref{})

			stranger := client(t, others)
			stranger.CABundle = ours.PEM()
			_, err = open(t, server.URL+"/repo.git", stranger).Resolve(t.Context(), git.Ref{})
			requireRefused(t, err, version, git.ErrAuthRefused)
			_, err = open(t, server.URL+"/repo.git", git.Options{CABundle: ours.PEM()}).Resolve(t.Context(), git.Ref{})
			// The alert of TLS 1.2 for this may mean other things too.
			requireRefused(t, err, version, git.ErrUnreachable)
		})
	}
}

// requireRefused: with TLS 1.3 the server's reason may be lost with the
// connection, for the client has begun to talk by then.
func requireRefused(t *testing.T, err error, version uint16, want error) {
	t.Helper()
	if version == tls.VersionTLS12 {
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, "Options.ClientCert")
		return
	}
	require.Error(t, err)
}

func TestOpenRefusesClientCertificates(t *testing.T) {
	a := authority(t)
	good, other := client(t, a), client(t, a)
	private, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for name, tt := range map[string]struct {
		url  string
		opts git.Options
		want string
	}{
		"no key":           {"https://x/y", git.Options{ClientCert: good.ClientCert}, "together"},
		"no certificate":   {"https://x/y", git.Options{ClientKey: good.ClientKey}, "together"},
		"another key":      {"https://x/y", git.Options{ClientCert: good.ClientCert, ClientKey: other.ClientKey}, "not the key"},
		"no PEM":           {"https://x/y", git.Options{ClientCert: []byte("canary"), ClientKey: []byte("canary")}, "in PEM"},
		"encrypted":        {"https://x/y", git.Options{ClientCert: good.ClientCert, ClientKey: locked}, "openssl pkey"},
		"swapped":          {"https://x/y", git.Options{ClientCert: good.ClientKey, ClientKey: good.ClientCert}, "in PEM"},
		"an enormous key":  {"https://x/y", git.Options{ClientCert: good.ClientCert, ClientKey: make([]byte, 20<<10)}, "larger than 16384 bytes"},
		"plain HTTP":       {"http://x/y", good, "https URLs"},
		"SSH":              {"ssh://x/y", git.Options{ClientCert: good.ClientCert, ClientKey: good.ClientKey, Auth: git.Auth{SSHKey: private}}, "https URLs"},
		"an SSH key in it": {"https://x/y", git.Options{ClientCert: good.ClientCert, ClientKey: private}, "in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.Open(tt.url, tt.opts)
			require.ErrorIs(t, err, git.ErrInvalidAuth)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "canary")
		})
	}
}

// A server that the certificate is not for may ask for it, and does not get it.
func TestAttackClientCertificateOnRedirect(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	a := authority(t)
	backend, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	var requests, leaked atomic.Int64
	elsewhere := secure(t, a, func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		if len(req.TLS.PeerCertificates) > 0 || req.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
		backend.ServeHTTP(w, req)
	})
	var shown atomic.Int64
	here := secure(t, a, func(w http.ResponseWriter, req *http.Request) {
		if len(req.TLS.PeerCertificates) > 0 {
			shown.Add(1)
		}
		http.Redirect(w, req, elsewhere.URL+"/repo.git/info/refs?service=git-upload-pack", http.StatusFound)
	})
	opts := client(t, a)
	opts.Auth = git.Auth{BearerToken: "t"}
	snapshot(t, open(t, here.URL+"/old.git", opts), git.Ref{})
	require.Positive(t, shown.Load())
	require.GreaterOrEqual(t, requests.Load(), int64(2))
	require.Zero(t, leaked.Load())
}

// secure is a server that asks for a client certificate, and does without.
func secure(t *testing.T, a *gitserver.Authority, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	config, err := a.Server()
	require.NoError(t, err)
	config.ClientAuth = tls.RequestClientCert
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestUntrustedServer(t *testing.T) {
	a := authority(t)
	server := secure(t, a, func(http.ResponseWriter, *http.Request) {})
	_, err := open(t, server.URL+"/x", git.Options{CABundle: authority(t).PEM()}).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrUnreachable)
	require.ErrorContains(t, err, "Options.CABundle")
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
	// The name in the certificate counts too.
	_, err = open(t, strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1)+"/x", git.Options{CABundle: a.PEM()}).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrUnreachable)
}

func TestHTTP2(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	backend, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	var others atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ProtoMajor != 2 {
			others.Add(1)
		}
		backend.ServeHTTP(w, req)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, scheme := range []string{"", "http", "socks5"} {
		opts := git.Options{CABundle: certificate(server)}
		if scheme != "" {
			opts.Proxy.URL = scheme + "://" + serveProxy(t, gitserver.ProxyOptions{}).Addr
		}
		snapshot(t, open(t, server.URL+"/repo.git", opts), git.Ref{})
	}
	require.Zero(t, others.Load())
}
