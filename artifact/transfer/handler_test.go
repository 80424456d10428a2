package transfer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/transfer"
)

// storeServer serves a store that holds one archive.
type storeServer struct {
	*httptest.Server
	store   *artifact.Store
	sum     artifact.Summary
	archive []byte
	path    string
}

func newStoreServer(t testing.TB, own bool, opts transfer.HandlerOptions) *storeServer {
	t.Helper()
	var storeOpts artifact.StoreOptions
	if !own {
		disk, err := artifact.NewDisk(t.TempDir())
		require.NoError(t, err)
		storeOpts.Backend = struct{ artifact.Backend }{disk}
	}
	s, err := artifact.NewStore(t.TempDir(), storeOpts)
	require.NoError(t, err)
	archive, _ := pack(t, noise())
	sum, err := s.Pack(t.Context(), noise(), artifact.PackOptions{})
	require.NoError(t, err)
	p, err := artifact.Path(app, sum.Digest)
	require.NoError(t, err)
	server := httptest.NewServer(transfer.NewHandler(s.Backend(), opts))
	t.Cleanup(server.Close)
	return &storeServer{server, s, sum, archive, "/" + p}
}

// storeAnswer is what a client gets, with the body apart.
type storeAnswer struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64
}

func (s *storeServer) ask(t testing.TB, method, path string, header ...string) (storeAnswer, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return storeAnswer{resp.StatusCode, resp.Header, resp.ContentLength}, body
}

func TestHandler(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own=%t", own), func(t *testing.T) {
			s := newStoreServer(t, own, transfer.HandlerOptions{})
			tag := `"` + s.sum.Digest.String() + `"`
			n := len(s.archive)
			for name, tt := range map[string]struct {
				method string
				header []string
				status int
				body   []byte
			}{
				"get":                     {"GET", nil, 200, s.archive},
				"head":                    {"HEAD", nil, 200, nil},
				"known":                   {"GET", []string{"If-None-Match", tag}, 304, nil},
				"known head":              {"HEAD", []string{"If-None-Match", `"x", ` + tag}, 304, nil},
				"another is known":        {"GET", []string{"If-None-Match", `"x"`}, 200, s.archive},
				"begin":                   {"GET", []string{"Range", "bytes=0-9"}, 206, s.archive[:10]},
				"resumed":                 {"GET", []string{"Range", "bytes=1000000-", "If-Range", tag}, 206, s.archive[1000000:]},
				"resumed, but another":    {"GET", []string{"Range", "bytes=1000000-", "If-Range", `"x"`}, 200, s.archive},
				"end":                     {"GET", []string{"Range", "bytes=-7"}, 206, s.archive[n-7:]},
				"behind the end":          {"GET", []string{"Range", fmt.Sprintf("bytes=%d-", n)}, 416, nil},
				"only if it is this":      {"GET", []string{"If-Match", tag}, 200, s.archive},
				"only if it is something": {"GET", []string{"If-Match", `"x"`}, 412, nil},
			} {
				t.Run(name, func(t *testing.T) {
					resp, body := s.ask(t, tt.method, s.path, tt.header...)
					require.Equal(t, tt.status, resp.StatusCode)
					if tt.status == 416 {
						return
					}
					require.Equal(t, tag, resp.Header.Get("ETag"))
					require.Equal(t, digest.FromBytes(tt.body), digest.FromBytes(body))
					if tt.status < 300 {
						require.Equal(t, "application/gzip", resp.Header.Get("Content-Type"))
						require.Equal(t, "bytes", resp.Header.Get("Accept-Ranges"))
					}
					if tt.method == "HEAD" && tt.status == 200 {
						require.EqualValues(t, n, resp.ContentLength)
					}
				})
			}
			resp, body := s.ask(t, "GET", "/sha256/"+s.sum.Digest.Encoded()+".tar.gz")
			require.Equal(t, 200, resp.StatusCode)
			require.Len(t, body, n)
			resp, body = s.ask(t, "GET", s.path, "Range", "bytes=5-6,1000-1001")
			require.Equal(t, 206, resp.StatusCode)
			require.Contains(t, string(body), string(s.archive[1000:1002]))
		})
	}
}

// What is not an archive has one answer, which does not depend on what there is.
func TestAttackHandlerPaths(t *testing.T) {
	s := newStoreServer(t, true, transfer.HandlerOptions{})
	require.NoError(t, s.store.Record(t.Context(), app, s.sum.Digest))
	hex := s.sum.Digest.Encoded()
	const temporary = "tmp" // where a store writes what has no name yet
	for _, path := range []string{
		"/", "", "/sha256", "/sha256/", "/names/", "/" + temporary + "/", "/gitrepository/default/app", "/gitrepository/default/app/", "/index.html",
		"/" + hex + ".tar.gz", "/sha256/" + hex, "/sha256/" + hex + ".tar.gz/", "/sha256/" + hex + ".idx", "/sha256/" + strings.ToUpper(hex) + ".tar.gz",
		"//" + hex + ".tar.gz", "/a//" + hex + ".tar.gz", "/../" + hex + ".tar.gz", "/a/../" + hex + ".tar.gz", "/a/%2e%2e/" + hex + ".tar.gz", "/a/./" + hex + ".tar.gz",
		"/sha256/../../../../etc/passwd", "/sha256/..%2f..%2f..%2fetc%2fpasswd", "/sha256/%2e%2e%2fsha256%2f" + hex + ".tar.gz", "/a/%ff/" + hex + ".tar.gz",
		"/sha256/" + strings.Repeat("0", 64) + ".tar.gz", "/sha256/" + hex[:63] + ".tar.gz", "/sha256/" + hex[:63] + "%00.tar.gz", "/sha256/*.tar.gz",
	} {
		resp, body := s.ask(t, "GET", path)
		require.Equal(t, 404, resp.StatusCode, path)
		require.Equal(t, "not found\n", string(body), path)
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "OPTIONS", "PROPFIND", "TRACE"} {
		resp, _ := s.ask(t, method, s.path)
		require.Equal(t, 405, resp.StatusCode, method)
	}
	_, err := os.Stat("/etc/passwd")
	require.NoError(t, err, "or the test proves nothing")
}

// A stranger cannot tell what is there, whatever they ask for.
func TestAttackStranger(t *testing.T) {
	s := newStoreServer(t, true, transfer.HandlerOptions{Allow: transfer.BearerToken("secret", "", "next")})
	for _, token := range []string{"secret", "next"} {
		resp, _ := s.ask(t, "GET", s.path, "Authorization", "Bearer "+token)
		require.Equal(t, 200, resp.StatusCode)
	}
	resp, _ := s.ask(t, "GET", "/sha256/x.tar.gz", "Authorization", "bearer secret")
	require.Equal(t, 404, resp.StatusCode)
	var first http.Header
	for _, auth := range []string{"", "Bearer", "Bearer ", "Bearer  secret", "secret", "Basic secret", "Bearer secre", "Bearer secrets", "Bearer secret,next"} {
		for _, path := range []string{s.path, "/", "/sha256/" + strings.Repeat("0", 64) + ".tar.gz", "/../x"} {
			for _, method := range []string{"GET", "DELETE"} {
				resp, body := s.ask(t, method, path, "Authorization", auth, "If-None-Match", `"`+s.sum.Digest.String()+`"`, "Range", "bytes=0-0")
				require.Equal(t, 401, resp.StatusCode, "%q %s %s", auth, method, path)
				require.Equal(t, "unauthorized\n", string(body))
				resp.Header.Del("Date")
				if first == nil {
					first = resp.Header
				}
				require.Equal(t, first, resp.Header)
			}
		}
	}
	none := newStoreServer(t, true, transfer.HandlerOptions{Allow: transfer.BearerToken("")})
	for _, auth := range []string{"", "Bearer", "Bearer "} {
		resp, _ := none.ask(t, "GET", none.path, "Authorization", auth)
		require.Equal(t, 401, resp.StatusCode, "no token allows nobody")
	}
}

// storeCerts makes certificates for a test.
type storeCerts struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newStoreCA(t testing.TB) *storeCerts {
	return (*storeCerts)(nil).issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
}

func (c *storeCerts) issue(t testing.TB, tmpl *x509.Certificate) *storeCerts {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.Subject = pkix.Name{CommonName: "test"}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	parent, signer := tmpl, key
	if c != nil {
		parent, signer = c.cert, c.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &storeCerts{key, cert}
}

func (c *storeCerts) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

func (c *storeCerts) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key}
}

func TestHandlerClientCertificate(t *testing.T) {
	ca, otherCA := newStoreCA(t), newStoreCA(t)
	consumer := &x509.Certificate{DNSNames: []string{"kustomize-controller"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "cluster", Path: "/kc"}}}
	good, other := ca.issue(t, consumer), ca.issue(t, &x509.Certificate{DNSNames: []string{"other"}})
	foreign := otherCA.issue(t, consumer)
	for name, tt := range map[string]struct {
		names  []string
		client *storeCerts
		auth   tls.ClientAuthType
		status int
	}{
		"any of the CA":              {nil, other, tls.VerifyClientCertIfGiven, 200},
		"by DNS name":                {[]string{"x", "kustomize-controller"}, good, tls.VerifyClientCertIfGiven, 200},
		"by URI":                     {[]string{"spiffe://cluster/kc"}, good, tls.VerifyClientCertIfGiven, 200},
		"another name":               {[]string{"kustomize-controller"}, other, tls.VerifyClientCertIfGiven, 401},
		"none":                       {nil, nil, tls.VerifyClientCertIfGiven, 401},
		"nobody verifies it":         {nil, good, tls.RequestClientCert, 401},
		"another CA, nobody noticed": {[]string{"kustomize-controller"}, foreign, tls.RequireAnyClientCert, 401},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStoreServer(t, true, transfer.HandlerOptions{})
			server := httptest.NewUnstartedServer(transfer.NewHandler(s.store.Backend(), transfer.HandlerOptions{Allow: transfer.ClientCertificate(tt.names...)}))
			server.TLS = &tls.Config{ClientCAs: ca.pool(), ClientAuth: tt.auth}
			server.StartTLS()
			defer server.Close()
			if tt.client != nil {
				server.Client().Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{tt.client.tls()}
			}
			s.Server = server
			resp, _ := s.ask(t, "GET", s.path)
			require.Equal(t, tt.status, resp.StatusCode)
		})
	}
	s := newStoreServer(t, true, transfer.HandlerOptions{Allow: transfer.ClientCertificate()})
	resp, _ := s.ask(t, "GET", s.path)
	require.Equal(t, 401, resp.StatusCode, "without TLS")
}

// storeFails is a backend that is out of order.
type storeFails struct {
	artifact.Backend
	open error
}

var errStoreBroken = errors.New("bucket secret-name: connection refused")

func (b storeFails) Stat(ctx context.Context, key string) (artifact.Info, error) {
	if b.open == nil {
		return artifact.Info{}, errStoreBroken
	}
	return artifact.Info{Size: 1 << 20, Version: "1"}, nil
}

func (b storeFails) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, b.open
}

func TestHandlerTellsTheClientNothing(t *testing.T) {
	var told []error
	opts := transfer.HandlerOptions{OnError: func(r *http.Request, err error) { told = append(told, err) }}
	s := &storeServer{Server: httptest.NewServer(transfer.NewHandler(storeFails{}, opts))}
	defer s.Close()
	resp, body := s.ask(t, "GET", "/x/"+strings.Repeat("0", 64)+".tar.gz")
	require.Equal(t, 500, resp.StatusCode)
	require.Equal(t, "internal server error\n", string(body))
	require.Empty(t, resp.Header.Get("ETag"))
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], errStoreBroken)
}

// An archive that breaks off does not look whole.
func TestHandlerBreaksOff(t *testing.T) {
	server := httptest.NewServer(transfer.NewHandler(storeFails{open: errStoreBroken}, transfer.HandlerOptions{}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/x/"+strings.Repeat("0", 64)+".tar.gz", nil)
	require.NoError(t, err)
	resp, err := server.Client().Do(req)
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	require.Error(t, err)
}

func TestNewServer(t *testing.T) {
	s := newStoreServer(t, true, transfer.HandlerOptions{})
	server := transfer.NewServer("", transfer.NewHandler(s.store.Backend(), transfer.HandlerOptions{}))
	require.NotZero(t, server.ReadHeaderTimeout)
	require.NotZero(t, server.WriteTimeout)
	require.NotZero(t, server.IdleTimeout)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+s.path, nil)
	require.NoError(t, err)
	req.Header.Set("X", strings.Repeat("x", 40<<10))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
	require.NoError(t, server.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, http.ErrServerClosed)
}
