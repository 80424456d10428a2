package transfer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/transfer"
)

// fetchAll fetches in all ways and checks that nothing came of it.
func fetchAll(t *testing.T, f *transfer.Fetcher, a artifact.Artifact, check func(err error)) {
	t.Helper()
	_, err := download(t, f, a, transfer.FetchOptions{})
	check(err)
	tree, err := f.Open(t.Context(), a, artifact.OpenOptions{})
	require.Nil(t, tree)
	check(err)
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	_, err = f.Unpack(t.Context(), a, root, artifact.UnpackOptions{Dir: "x"})
	check(err)
	left, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	hidden, err := filepath.Glob(dir + "/.*")
	require.NoError(t, err)
	require.Empty(t, append(left, hidden...))
}

func TestAttackFetchEndlessBody(t *testing.T) {
	server := fetchFrom(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.Copy(w, endless{})
		return true
	})
	a := artifact.Artifact{URL: server.URL, Digest: digest.FromString("x")}
	heap(t, 64<<20, func() {
		fetchAll(t, fetchWith(t, transfer.FetcherOptions{Limits: artifact.Limits{ArchiveBytes: 8 << 20}}), a, func(err error) {
			require.Error(t, err)
		})
		_, err := download(t, fetchWith(t, transfer.FetcherOptions{Limits: artifact.Limits{ArchiveBytes: 8 << 20}}), a, transfer.FetchOptions{})
		limit(t, err, "ArchiveBytes")
	})
	a.Size = new(int64(1 << 20))
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), a, transfer.FetchOptions{})
	require.ErrorAs(t, err, new(*transfer.ChangedError), "the artifact says how long it is")
}

func TestAttackFetchSizes(t *testing.T) {
	archive, _ := pack(t, small())
	for name, tt := range map[string]struct {
		length string
		body   []byte
		sized  bool
		check  func(err error) bool
	}{
		"a length over the limit":       {"99999999999", archive, false, isA[*artifact.LimitError]},
		"a length that is another":      {"99999", archive, true, isA[*transfer.ChangedError]},
		"longer than its length":        {"10", archive, false, isA[*artifact.DigestError]},
		"shorter than its length":       {fmt.Sprint(len(archive) + 10), archive, false, isA[*transfer.ChangedError]},
		"longer than the artifact says": {"", append(bytes.Clone(archive), 'x'), true, isA[*transfer.ChangedError]},
	} {
		t.Run(name, func(t *testing.T) {
			server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") != "" {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
					return true
				}
				// Written by hand: the server package keeps servers honest.
				conn, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return true
				}
				defer conn.Close()
				_, _ = buf.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n")
				if tt.length != "" {
					_, _ = buf.WriteString("Content-Length: " + tt.length + "\r\n")
				}
				_, _ = buf.WriteString("\r\n")
				_, _ = buf.Write(tt.body)
				_ = buf.Flush()
				return true
			})
			a := server.artifact()
			if !tt.sized {
				a.Size = nil
			}
			fetchAll(t, fetchWith(t, transfer.FetcherOptions{}), a, func(err error) { require.True(t, tt.check(err), "%v", err) })
		})
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// A server that sends a byte now and then, or nothing at all.
func TestAttackFetchSlowServer(t *testing.T) {
	archive, _ := pack(t, small())
	opts := transfer.FetcherOptions{StallTime: 50 * time.Millisecond, Retries: 2}
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"no head": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no body": func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"a byte now and then": func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil && i < len(archive); i++ {
				_, _ = w.Write(archive[i : i+1])
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(5 * time.Millisecond):
				case <-r.Context().Done():
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, r *http.Request) bool {
				answer(w, r)
				return true
			})
			a := server.artifact()
			a.Size = nil
			fetchAll(t, fetchWith(t, opts), a, func(err error) { require.ErrorContains(t, err, "too little") })
		})
	}
}

// A reader that takes its time is no slow server.
func TestFetchWaitsForASlowReader(t *testing.T) {
	archive, _ := pack(t, large())
	server := fetchFrom(t, archive, nil)
	d, err := fetchWith(t, transfer.FetcherOptions{StallTime: 2 * time.Second}).Get(t.Context(), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	defer d.Close()
	_, err = io.ReadFull(d, make([]byte, 10))
	require.NoError(t, err)
	<-time.After(2500 * time.Millisecond)
	_, err = io.Copy(io.Discard, d)
	require.NoError(t, err)
	require.EqualValues(t, 1, server.requests.Load())
}

// A server that breaks off on purpose must not keep a client busy without end.
func TestAttackFetchBreakingOff(t *testing.T) {
	archive, _ := pack(t, large())
	for name, tt := range map[string]struct {
		answer func(n int, w http.ResponseWriter, r *http.Request) bool
		most   int32
	}{
		"a byte each time": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			from := 0
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(archive)-1, len(archive)))
				w.Header().Set("Content-Length", fmt.Sprint(len(archive)-from))
				w.WriteHeader(http.StatusPartialContent)
			}
			breakOff(w, archive[from:], 1)
			return true
		}, 6},
		"from the start each time, a megabyte further": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			breakOff(w, archive, min(len(archive)-1, n*(1<<20+1000)))
			return true
		}, 7},
		"always a wrong part": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				breakOff(w, archive, 1000)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(archive)-1, len(archive)))
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, 3},
		"parts that make no sense": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				breakOff(w, archive, 1000)
			}
			w.Header().Set("Content-Range", []string{"", "bytes", "bytes 1000-5/3", "bytes -1000-/*", "bytes 1000-99999999999999999999/*", "items 1000-1001/1002"}[n%6])
			if r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			server := fetchFrom(t, archive, tt.answer)
			_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), server.artifact(), transfer.FetchOptions{})
			if name != "parts that make no sense" {
				require.Error(t, err)
			}
			require.LessOrEqual(t, server.requests.Load(), tt.most)
		})
	}
}

func TestAttackFetchBombs(t *testing.T) {
	for name, tt := range map[string]struct {
		archive []byte
		limits  artifact.Limits
		limit   string
	}{
		"ratio": {zeros(t, 100<<20), artifact.Limits{Ratio: 10}, "Ratio"},
		"bytes": {zeros(t, 100<<20), artifact.Limits{Ratio: 1e6, Bytes: 20 << 20}, "Bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			server := fetchFrom(t, tt.archive, nil)
			f := fetchWith(t, transfer.FetcherOptions{Limits: tt.limits})
			root, err := os.OpenRoot(t.TempDir())
			require.NoError(t, err)
			defer root.Close()
			heap(t, 32<<20, func() {
				_, err := f.Unpack(t.Context(), server.artifact(), root, artifact.UnpackOptions{})
				limit(t, err, tt.limit)
			})
			dir := t.TempDir()
			heap(t, 32<<20, func() {
				_, err := f.Open(t.Context(), server.artifact(), artifact.OpenOptions{SpillDir: dir, Memory: 1 << 20})
				limit(t, err, tt.limit)
			})
		})
	}
}

func TestAttackFetchHeaders(t *testing.T) {
	archive, _ := pack(t, small())
	server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Large", strings.Repeat("x", 1<<20))
		return false
	})
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{Retries: -1}), server.artifact(), transfer.FetchOptions{})
	require.ErrorContains(t, err, "header")
	server = fetchFrom(t, archive, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("ETag", `"`+strings.Repeat("x", 10_000)+`"`)
		return false
	})
	d, err := fetchWith(t, transfer.FetcherOptions{}).Get(t.Context(), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.Empty(t, d.ETag(), "nobody keeps that in a status")
	require.NoError(t, d.Close())
}

func TestAttackFetchRedirects(t *testing.T) {
	archive, _ := pack(t, small())
	plain := fetchFrom(t, archive, nil)
	for name, to := range map[string]string{
		"another scheme":   "file:///etc/passwd",
		"gopher":           "gopher://localhost/x",
		"down to http":     plain.URL,
		"with credentials": "https://user:s3cret@localhost/x",
		"nowhere":          "",
		"no URL":           "https://[::1/x",
		"itself":           "/again?token=s3cret",
	} {
		t.Run(name, func(t *testing.T) {
			server := &fetchServer{archive: archive, answer: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				w.Header()["Location"] = []string{to}
				w.WriteHeader(http.StatusFound)
				return true
			}}
			server.Server = httptest.NewTLSServer(server)
			defer server.Close()
			_, err := download(t, fetchWith(t, transfer.FetcherOptions{TLS: trusting(server.Server)}), server.artifact(), transfer.FetchOptions{})
			refused, ok := errors.AsType[*transfer.RefusedError](err)
			require.True(t, ok, "%v", err)
			require.True(t, refused.Terminal())
			require.NotContains(t, err.Error(), "s3cret")
			require.LessOrEqual(t, server.requests.Load(), int32(6))
			require.Zero(t, plain.requests.Load())
		})
	}
}

func trusting(servers ...*httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	for _, s := range servers {
		roots.AddCert(s.Certificate())
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// Tokens and client certificates are for the origin of the artifact's URL.
func TestAttackFetchCredentialsElsewhere(t *testing.T) {
	archive, _ := pack(t, small())
	serve := func(answer func(n int, w http.ResponseWriter, r *http.Request) bool) *fetchServer {
		s := &fetchServer{archive: archive, answer: answer}
		s.Server = httptest.NewUnstartedServer(s)
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	certified := make(chan bool, 10)
	other := serve(func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		certified <- len(r.TLS.PeerCertificates) > 0
		return false
	})
	own := serve(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		certified <- len(r.TLS.PeerCertificates) > 0
		if r.URL.Path == "/a.tar.gz" {
			http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
			return true
		}
		http.Redirect(w, r, other.URL+"/x", http.StatusFound)
		return true
	})
	config := trusting(own.Server, other.Server)
	config.Certificates = own.TLS.Certificates
	var asked []string
	f := fetchWith(t, transfer.FetcherOptions{TLS: config, Token: func(_ context.Context, origin string) (string, error) {
		asked = append(asked, origin)
		return "s3cret", nil
	}})
	_, err := download(t, f, own.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{own.URL, own.URL}, asked)
	require.Equal(t, "Bearer s3cret", own.header(1, "Authorization"))
	require.Equal(t, "Bearer s3cret", own.header(2, "Authorization"), "a redirect to the same origin")
	require.Empty(t, other.header(1, "Authorization"))
	require.True(t, <-certified)
	require.True(t, <-certified)
	require.False(t, <-certified)
}

func TestAttackFetchTokenOverHTTP(t *testing.T) {
	archive, _ := pack(t, small())
	server := fetchFrom(t, archive, nil)
	token := func(context.Context, string) (string, error) { return "s3cret", nil }
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{Token: token}), server.artifact(), transfer.FetchOptions{})
	require.ErrorContains(t, err, "InsecureCredentials")
	require.Zero(t, server.requests.Load())
	_, err = download(t, fetchWith(t, transfer.FetcherOptions{Token: token, InsecureCredentials: true}), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, "Bearer s3cret", server.header(1, "Authorization"))

	for name, token := range map[string]func(context.Context, string) (string, error){
		"none":      func(context.Context, string) (string, error) { return "", errors.New("no token today") },
		"two lines": func(context.Context, string) (string, error) { return "s3cret\r\nX-Evil: 1", nil },
	} {
		server.requests.Store(0)
		_, err = download(t, fetchWith(t, transfer.FetcherOptions{Token: token, InsecureCredentials: true}), server.artifact(), transfer.FetchOptions{})
		require.ErrorContains(t, err, "get a token", name)
		require.NotContains(t, err.Error(), "s3cret")
		require.Zero(t, server.requests.Load())
	}
}

func TestAttackFetchURLs(t *testing.T) {
	for _, raw := range []string{
		"", "x", "/etc/passwd", "file:///etc/passwd", "ftp://host/x", "http://", "https:///x", "-oProxyCommand=x",
		"https://user:s3cret@host/x", "https://host/\x00s3cret", "s3cret:x", "https:s3cret", "http://host:s3cret/",
	} {
		a := artifact.Artifact{URL: raw, Digest: digest.FromString("x")}
		_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), a, transfer.FetchOptions{})
		require.ErrorAs(t, err, new(*transfer.RefusedError), raw)
		if raw != "s3cret:x" {
			require.NotContains(t, err.Error(), "s3cret")
		}
	}
}

// The services that give out a cloud's credentials, in each spelling.
func TestAttackFetchMetadataService(t *testing.T) {
	for _, host := range []string{
		"169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "100.100.100.200", "168.63.129.16", "224.0.0.1",
	} {
		a := artifact.Artifact{URL: "http://" + host + "/latest/meta-data/", Digest: digest.FromString("x")}
		_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), a, transfer.FetchOptions{})
		require.ErrorAs(t, err, new(*transfer.RefusedError), "%s: %v", host, err)
	}
	// A redirect leads there as well, and a policy of the caller's own decides too.
	archive, _ := pack(t, small())
	server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://169.254.169.254/latest/", http.StatusFound)
		return true
	})
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), server.artifact(), transfer.FetchOptions{})
	require.ErrorAs(t, err, new(*transfer.RefusedError))
	require.ErrorContains(t, err, "link-local")
	require.EqualValues(t, 1, server.requests.Load())

	mine := errors.New("not within the cluster")
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	var dialed netip.AddrPort
	f := fetchWith(t, transfer.FetcherOptions{Dial: func(addr netip.AddrPort) error { dialed = addr; return mine }})
	_, err = download(t, f, server.artifact(), transfer.FetchOptions{})
	require.ErrorIs(t, err, mine)
	require.Equal(t, u.Host, dialed.String())
	require.EqualValues(t, 1, server.requests.Load())
}

// What a server sends in place of HTTP comes up in errors: not all of it, and
// never the token that it was sent.
func TestAttackFetchEchoes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = conn.Write([]byte("HTTP/1.1 you-said-s3cret" + strings.Repeat("x", 5000) + "\r\n\r\n"))
			conn.Close()
		}
	}()
	a := artifact.Artifact{URL: "http://" + listener.Addr().String() + "/x?sig=s3cret", Digest: digest.FromString("x")}
	f := fetchWith(t, transfer.FetcherOptions{
		InsecureCredentials: true, Token: func(context.Context, string) (string, error) { return "s3cret", nil },
	})
	_, err = download(t, f, a, transfer.FetchOptions{})
	require.ErrorContains(t, err, "you-said-[token]")
	require.NotContains(t, err.Error(), "s3cret")
	require.Less(t, len(err.Error()), 600)
}

// FuzzFetch lets a server answer whatever it likes to each request: what comes out
// is the archive or an error, after few requests.
func FuzzFetch(f *testing.F) {
	archive := zip(bytes.Repeat([]byte("archive "), 100))
	half := len(archive) / 2
	f.Add(200, "", `"a"`, half, 206, fmt.Sprintf("bytes %d-%d/%d", half, len(archive)-1, len(archive)), `"a"`, half)
	f.Add(200, "", ``, half, 200, "", ``, 0)
	f.Add(200, "", `"a"`, len(archive), 416, fmt.Sprintf("bytes */%d", len(archive)), `"a"`, 0)
	f.Add(302, "", ``, 0, 304, "bytes 0-0/*", `W/"a"`, -1)
	f.Fuzz(func(t *testing.T, status1 int, range1, etag1 string, n1, status2 int, range2, etag2 string, n2 int) {
		requests := 0
		answer := func(req *http.Request) (*http.Response, error) {
			requests++
			status, span, etag, from, to := status1, range1, etag1, 0, n1
			if requests > 1 {
				status, span, etag, from, to = status2, range2, etag2, n2, len(archive)
			}
			from = max(0, min(from, len(archive)))
			to = max(from, min(to, len(archive)))
			return &http.Response{
				StatusCode: status, ContentLength: -1, Request: req,
				Header: http.Header{"Content-Range": {span}, "Etag": {etag}, "Location": {span}, "Retry-After": {"0"}},
				Body:   io.NopCloser(io.MultiReader(bytes.NewReader(archive[from:to]), failing{io.ErrUnexpectedEOF})),
			}, nil
		}
		fetcher := fetchWith(t, transfer.FetcherOptions{Transport: roundTrip(answer), Retries: 2, RetryWait: time.Nanosecond})
		a := artifact.Artifact{URL: "https://host.test/a", Digest: digest.FromBytes(archive)}
		got, err := download(t, fetcher, a, transfer.FetchOptions{})
		if err == nil {
			require.True(t, bytes.Equal(archive, got))
		}
		require.LessOrEqual(t, requests, 3*6)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }
