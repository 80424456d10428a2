package post_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events/internal/post"
	"github.com/stretchr/testify/require"
)

const canary = "canary-5c1d9e"

func client(t *testing.T, o post.Options) *post.Client {
	t.Helper()
	c, err := post.New(o)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func address(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := post.ParseURL(text)
	require.NoError(t, err)
	return u
}

// send posts to a server and returns what came of it.
func send(t *testing.T, c *post.Client, target string) error {
	t.Helper()
	_, err := c.Do(t.Context(), post.Request{URL: address(t, target), Body: []byte("{}")})
	if err != nil {
		var fail *post.RequestError
		require.ErrorAs(t, err, &fail)
		require.NotContains(t, err.Error(), canary)
	}
	return err
}

func final(err error) bool {
	t, ok := err.(interface{ Terminal() bool })
	return ok && t.Terminal()
}

func certificate(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// pair is the server's own key pair in PEM, which a client may use as well.
func pair(t *testing.T, server *httptest.Server) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	return certificate(server), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestCAOfTheServer(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	require.ErrorContains(t, send(t, client(t, post.Options{}), server.URL), "unknown authority")
	require.NoError(t, send(t, client(t, post.Options{CA: certificate(server)}), server.URL))
}

func TestClientCertificate(t *testing.T) {
	var seen atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.Add(int64(len(r.TLS.PeerCertificates)))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	require.Error(t, send(t, client(t, post.Options{CA: certificate(server)}), server.URL))
	cert, key := pair(t, server)
	require.NoError(t, send(t, client(t, post.Options{CA: cert, ClientCert: cert, ClientKey: key}), server.URL))
	require.EqualValues(t, 1, seen.Load())
}

func TestProxy(t *testing.T) {
	var got *http.Request
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	t.Cleanup(proxy.Close)
	c := client(t, post.Options{Proxy: strings.Replace(proxy.URL, "http://", "http://user:"+canary+"@", 1)})
	require.NoError(t, send(t, c, "http://name-that-is.invalid/hook"))
	require.Equal(t, "http://name-that-is.invalid/hook", got.URL.String())
	require.NotEmpty(t, got.Header.Get("Proxy-Authorization"))
	c.CloseIdleConnections()
	proxy.Close()
	require.ErrorContains(t, send(t, c, "http://name-that-is.invalid/hook"), "proxyconnect")
}

func TestExtraHeader(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	t.Cleanup(server.Close)
	c := client(t, post.Options{Header: http.Header{"x-tenant": {"shop"}, "Content-Type": {"text/plain"}}})
	_, err := c.Do(t.Context(), post.Request{URL: address(t, server.URL), Header: http.Header{"Content-Type": {"application/json"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, got["X-Tenant"])
	require.Equal(t, []string{"application/json"}, got["Content-Type"], "the request's own comes first")
	require.Equal(t, "gitopskit", got.Get("User-Agent"))
}

func TestReply(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, r.Method)
	}))
	t.Cleanup(server.Close)
	for limit, want := range map[int64][]byte{0: nil, 2: nil, 3: []byte("PUT"), 100: []byte("PUT")} {
		reply, err := client(t, post.Options{}).Do(t.Context(), post.Request{Method: http.MethodPut, URL: address(t, server.URL), Reply: limit})
		require.True(t, final(err))
		require.Equal(t, http.StatusBadRequest, reply.Status)
		require.Equal(t, want, reply.Body)
	}
}

func TestAttackEndlessAnswer(t *testing.T) {
	chunk := []byte(strings.Repeat("a", 64<<10))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	reply, err := client(t, post.Options{}).Do(t.Context(), post.Request{URL: address(t, server.URL), Reply: post.MaxReply})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Nil(t, reply.Body)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
}

func TestNewChecksItsOptions(t *testing.T) {
	for want, o := range map[string]post.Options{
		"the CA holds no certificate":          {CA: []byte(canary)},
		"are not a pair":                       {ClientCert: []byte(canary), ClientKey: []byte(canary)},
		"the proxy must be a URL":              {Proxy: "ftp://" + canary},
		"and names a host":                     {Proxy: "http://" + canary + "\x7f"},
		"a Transport of your own":              {Proxy: "http://" + canary, Transport: &http.Transport{}},
		"the name of an extra header":          {Header: http.Header{canary + "\n": {"a"}}},
		"the extra header A holds a character": {Header: http.Header{"A": {canary + "\r\nB: c"}}},
	} {
		_, err := post.New(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), canary)
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://example.test/a": "", "http://[::1]:8080": "",
		"": "must start with", "example.test": "must start with", "ftp://example.test": "must start with",
		"http://": "name a host", "http://:80": "name a host",
		"https://user:" + canary + "@example.test": "a user or a password",
		"https://" + canary + "\x7f":               "cannot be parsed",
	} {
		_, err := post.ParseURL(text)
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), canary)
	}
}

func TestSeconds(t *testing.T) {
	for n, want := range map[float64]time.Duration{
		0: 0, -1: 0, math.Inf(-1): 0, 0.5: 500 * time.Millisecond, 30: 30 * time.Second,
		1e300: 24 * time.Hour, math.Inf(1): 24 * time.Hour,
	} {
		require.Equal(t, want, post.Seconds(n), "%v", n)
	}
	require.Zero(t, post.Seconds(math.NaN()))
}

func TestAttackForbiddenAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"169.254.169.254": true, "169.254.1.1": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true,
		"::169.254.169.254": true, "2002:a9fe:a9fe::1": true, "2002:7f00:1::1": false,
		"fe80::1": true, "fe80::1%eth0": true, "fd00:ec2::254": true, "fd20:ce::254": true,
		"100.100.100.200": true, "168.63.129.16": true, "192.0.0.192": true, "::ffff:168.63.129.16": true,
		"0.0.0.0": true, "::": true, "224.0.0.1": true, "ff02::1": true,
		"127.0.0.1": false, "::1": false, "10.0.0.1": false, "192.168.1.1": false, "fd00::1": false, "93.184.216.34": false,
	} {
		require.Equal(t, want, post.Forbidden(netip.MustParseAddr(text)), text)
	}
}

func TestAttackLinkLocalTarget(t *testing.T) {
	for _, target := range []string{
		"http://169.254.169.254/latest/meta-data/" + canary, "https://[fe80::1]/", "http://[::ffff:169.254.169.254]/", "http://0.0.0.0:1/",
	} {
		err := send(t, client(t, post.Options{}), target)
		require.ErrorContains(t, err, "has a link-local address")
		require.True(t, final(err))
	}
}

// What is dialed is looked at, wherever the address came from: here, from a proxy's.
func TestAttackLinkLocalAddressIsDialed(t *testing.T) {
	err := send(t, client(t, post.Options{Proxy: "http://169.254.169.254:1"}), "http://name-that-is.invalid/")
	require.ErrorContains(t, err, "has a link-local address")
	require.True(t, final(err))

	dial := post.Control(post.Options{})
	require.Error(t, dial("tcp4", "169.254.169.254:80", nil))
	require.Error(t, dial("tcp6", "[fe80::1%lo]:80", nil))
	require.NoError(t, dial("tcp4", "127.0.0.1:80", nil))
	require.NoError(t, post.Control(post.Options{AllowLinkLocal: true})("tcp4", "169.254.169.254:80", nil))
}

// A proxy is not asked for what is refused.
func TestAttackLinkLocalTargetBehindAProxy(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(proxy.Close)
	err := send(t, client(t, post.Options{Proxy: proxy.URL}), "http://169.254.169.254/latest")
	require.ErrorContains(t, err, "has a link-local address")
	require.Zero(t, asked.Load())
	require.NoError(t, send(t, client(t, post.Options{Proxy: proxy.URL, AllowLinkLocal: true}), "http://169.254.169.254/latest"))
	require.EqualValues(t, 1, asked.Load())
}
