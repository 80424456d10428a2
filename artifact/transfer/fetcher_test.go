package transfer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/transfer"
)

// fetchServer serves one archive, and counts.
type fetchServer struct {
	*httptest.Server
	archive  []byte
	requests atomic.Int32
	mu       sync.Mutex
	seen     []http.Header
	// answer replaces the answer to the request of that number, counted from 1, and
	// reports whether it did.
	answer func(n int, w http.ResponseWriter, r *http.Request) bool
}

func fetchFrom(t testing.TB, archive []byte, answer func(n int, w http.ResponseWriter, r *http.Request) bool) *fetchServer {
	t.Helper()
	s := &fetchServer{archive: archive, answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *fetchServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(s.requests.Add(1))
	s.mu.Lock()
	s.seen = append(s.seen, r.Header.Clone())
	s.mu.Unlock()
	w.Header().Set("ETag", `"`+digest.FromBytes(s.archive).Encoded()+`"`)
	if s.answer != nil && s.answer(n, w, r) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.archive))
}

// header is what request n, counted from 1, asked.
func (s *fetchServer) header(n int, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[n-1].Get(name)
}

func (s *fetchServer) artifact() artifact.Artifact {
	return artifact.Artifact{URL: s.URL + "/a.tar.gz", Digest: digest.FromBytes(s.archive), Size: new(int64(len(s.archive)))}
}

// breakOff sends the first bytes of a body that is to be longer.
func breakOff(w http.ResponseWriter, body []byte, n int) {
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	_, _ = w.Write(body[:n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func fetchWith(t testing.TB, opts transfer.FetcherOptions) *transfer.Fetcher {
	t.Helper()
	if opts.RetryWait == 0 {
		opts.RetryWait = time.Millisecond
	}
	f, err := transfer.NewFetcher(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// download reads all of an archive.
func download(t testing.TB, f *transfer.Fetcher, a artifact.Artifact, opts transfer.FetchOptions) ([]byte, error) {
	t.Helper()
	d, err := f.Get(t.Context(), a, opts)
	if err != nil {
		require.Nil(t, d)
		return nil, err
	}
	defer d.Close()
	return io.ReadAll(d)
}

func TestFetch(t *testing.T) {
	archive, sum := pack(t, small())
	server := fetchFrom(t, archive, nil)
	f := fetchWith(t, transfer.FetcherOptions{})

	got, err := download(t, f, server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(archive, got))

	tree, err := f.Open(t.Context(), server.artifact(), artifact.OpenOptions{})
	require.NoError(t, err)
	again, _ := pack(t, tree)
	require.True(t, bytes.Equal(archive, again))

	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	unpacked, err := f.Unpack(t.Context(), server.artifact(), root, artifact.UnpackOptions{Dir: "x"})
	require.NoError(t, err)
	require.Equal(t, sum, unpacked)
	require.EqualValues(t, 3, server.requests.Load())
}

// The artifact as a source of the GitOps Toolkit publishes it.
func TestFetchWhatASourcePublishes(t *testing.T) {
	archive, _ := pack(t, small())
	server := fetchFrom(t, archive, nil)
	var a artifact.Artifact
	require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{"digest":%q,"lastUpdateTime":"2026-05-01T10:00:00Z","path":"gitrepository/ns/app/1.tar.gz",
		"revision":"main@sha1:0123456789012345678901234567890123456789","size":%d,"url":%q}`,
		digest.FromBytes(archive), len(archive), server.URL+"/gitrepository/ns/app/1.tar.gz"), &a))
	tree, err := fetchWith(t, transfer.FetcherOptions{}).Open(t.Context(), a, artifact.OpenOptions{})
	require.NoError(t, err)
	data, err := fs.ReadFile(tree, "deploy/app.yaml")
	require.NoError(t, err)
	require.Equal(t, "kind: Deployment\n", string(data))
}

func TestFetchChecksTheDigest(t *testing.T) {
	archive, _ := pack(t, small())
	server := fetchFrom(t, archive, nil)
	f := fetchWith(t, transfer.FetcherOptions{})
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		a := server.artifact()
		a.Digest = algorithm.FromBytes(archive)
		_, err := download(t, f, a, transfer.FetchOptions{})
		require.NoError(t, err)

		a.Digest = algorithm.FromString("other")
		_, err = download(t, f, a, transfer.FetchOptions{})
		wrong, ok := errors.AsType[*artifact.DigestError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, a.Digest, wrong.Want)
		require.Equal(t, algorithm.FromBytes(archive), wrong.Got)
		_, err = f.Open(t.Context(), a, artifact.OpenOptions{})
		require.ErrorAs(t, err, new(*artifact.DigestError))
		root, err := os.OpenRoot(t.TempDir())
		require.NoError(t, err)
		defer root.Close()
		_, err = f.Unpack(t.Context(), a, root, artifact.UnpackOptions{})
		require.ErrorAs(t, err, new(*artifact.DigestError))
		left, err := fs.ReadDir(root.FS(), ".")
		require.NoError(t, err)
		require.Empty(t, left)
	}
	before := server.requests.Load()
	for _, bad := range []digest.Digest{"", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:ABC"} {
		a := server.artifact()
		a.Digest = bad
		_, err := download(t, f, a, transfer.FetchOptions{})
		require.ErrorContains(t, err, "digest")
	}
	_, err := f.Open(t.Context(), server.artifact(), artifact.OpenOptions{Digest: digest.FromString("x")})
	require.ErrorContains(t, err, "leave it to the artifact")
	require.Equal(t, before, server.requests.Load(), "nobody is asked for what cannot be checked")
}

func TestFetchOfWhatTheCallerHas(t *testing.T) {
	archive, _ := pack(t, small())
	server := fetchFrom(t, archive, nil)
	f := fetchWith(t, transfer.FetcherOptions{NoDigest: true})
	a := server.artifact()
	_, err := download(t, f, a, transfer.FetchOptions{Have: a.Digest})
	require.ErrorIs(t, err, transfer.ErrUnchanged)
	require.Zero(t, server.requests.Load())
	_, err = download(t, f, a, transfer.FetchOptions{Have: digest.FromString("older"), ETag: `"older"`})
	require.NoError(t, err)
	require.Empty(t, server.header(1, "If-None-Match"), "with a digest no tag is needed")

	a.Digest = ""
	d, err := f.Get(t.Context(), a, transfer.FetchOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, d.ETag())
	require.EqualValues(t, len(archive), d.Size())
	require.NoError(t, d.Close())
	_, err = d.Read(make([]byte, 1))
	require.ErrorContains(t, err, "closed")
	_, err = download(t, f, a, transfer.FetchOptions{ETag: d.ETag()})
	require.ErrorIs(t, err, transfer.ErrUnchanged)
	got, err := download(t, f, a, transfer.FetchOptions{ETag: `"older"`})
	require.NoError(t, err)
	require.True(t, bytes.Equal(archive, got))
}

// Each way to break off, and what the next request then asks for.
func TestFetchGoesOnWhereItBrokeOff(t *testing.T) {
	archive, sum := pack(t, large())
	half := len(archive) / 2
	part := func(w http.ResponseWriter, from int, etag string) {
		w.Header().Set("ETag", etag)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(archive)-1, len(archive)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(archive[from:])
	}
	for name, tt := range map[string]struct {
		answer   func(n int, w http.ResponseWriter, r *http.Request) bool
		requests int32
	}{
		"once": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				breakOff(w, archive, half)
			}
			return false
		}, 2},
		"each time, a bit further": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 4 {
				return false
			}
			from := 0
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			if n > 1 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(archive)-1, len(archive)))
				w.Header().Set("Content-Length", strconv.Itoa(len(archive)-from))
				w.WriteHeader(http.StatusPartialContent)
			}
			breakOff(w, archive[from:], 1000)
			return true
		}, 5},
		"without a length": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				_, _ = w.Write(archive[:half])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}, 2},
		"at the very end, without a length": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				_, _ = w.Write(archive)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}, 2},
		"a server without ranges": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				breakOff(w, archive, half)
			}
			r.Header.Del("Range")
			return false
		}, 2},
		"a part from elsewhere": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			switch n {
			case 1:
				breakOff(w, archive, half)
			case 2:
				part(w, half-1, w.Header().Get("ETag"))
				return true
			}
			return false
		}, 3},
		"errors in between": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			switch n {
			case 1, 3:
				w.WriteHeader(http.StatusBadGateway)
				return true
			case 2:
				breakOff(w, archive, half)
			}
			return false
		}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			server := fetchFrom(t, archive, tt.answer)
			a := server.artifact()
			if strings.Contains(name, "without a length") {
				a.Size = nil
			}
			f := fetchWith(t, transfer.FetcherOptions{})
			got, err := download(t, f, a, transfer.FetchOptions{})
			require.NoError(t, err)
			require.True(t, bytes.Equal(archive, got))
			require.Equal(t, tt.requests, server.requests.Load())

			server.requests.Store(0)
			_, err = f.Open(t.Context(), a, artifact.OpenOptions{})
			require.NoError(t, err, "decompression goes on as well")
			require.Equal(t, tt.requests, server.requests.Load())
		})
	}

	server := fetchFrom(t, archive, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 1 {
			breakOff(w, archive, half)
		}
		return false
	})
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("bytes=%d-", half), server.header(2, "Range"))
	require.Equal(t, `"`+sum.Digest.Encoded()+`"`, server.header(2, "If-Range"))
}

// What cannot be known to belong together is not put together.
func TestFetchDoesNotMixArchives(t *testing.T) {
	archive, _ := pack(t, large())
	other, _ := pack(t, small())
	cut := func(then func(w http.ResponseWriter, r *http.Request)) func(n int, w http.ResponseWriter, r *http.Request) bool {
		return func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				breakOff(w, archive, len(archive)/2)
			}
			then(w, r)
			return true
		}
	}
	for name, answer := range map[string]func(n int, w http.ResponseWriter, r *http.Request) bool{
		"replaced": cut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"other"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(other))
		}),
		"replaced by one of the same size": cut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"other"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(archive))
		}),
		"a part of another": cut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"other"`)
			r.Header.Del("If-Range")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(archive))
		}),
		"a part of a longer one": cut(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(archive, 'x')))
		}),
		"shorter now": cut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes */10")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}),
	} {
		for _, checked := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " ", checked), func(t *testing.T) {
				server := fetchFrom(t, archive, answer)
				a := server.artifact()
				if !checked {
					a.Digest = ""
				}
				_, err := download(t, fetchWith(t, transfer.FetcherOptions{NoDigest: true}), a, transfer.FetchOptions{})
				require.ErrorAs(t, err, new(*transfer.ChangedError), "%v", err)
				require.EqualValues(t, 2, server.requests.Load())
			})
		}
	}
	t.Run("neither digest nor tag", func(t *testing.T) {
		server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("ETag", `W/"weak"`)
			breakOff(w, archive, len(archive)/2)
			return true
		})
		a := server.artifact()
		a.Digest = ""
		_, err := download(t, fetchWith(t, transfer.FetcherOptions{NoDigest: true}), a, transfer.FetchOptions{})
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.EqualValues(t, 1, server.requests.Load())
	})
}

func TestFetchStatus(t *testing.T) {
	archive, _ := pack(t, small())
	for status, requests := range map[int]int32{
		404: 1, 410: 1, 401: 1, 403: 1, 400: 1, 206: 1, 304: 1, 204: 1, 300: 1, 416: 1, 501: 1,
		500: 4, 502: 4, 503: 4, 504: 4, 429: 4, 408: 4, 425: 4,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(status)
				return true
			})
			a := server.artifact()
			a.URL = server.URL + "/dir/a.tar.gz?sig=secret"
			_, err := download(t, fetchWith(t, transfer.FetcherOptions{Retries: 3}), a, transfer.FetchOptions{})
			got, ok := errors.AsType[*transfer.StatusError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, status, got.Status)
			require.Equal(t, status == 404 || status == 410, errors.Is(err, fs.ErrNotExist))
			require.ErrorContains(t, err, server.URL+"/dir/a.tar.gz")
			require.NotContains(t, err.Error(), "secret")
			require.Equal(t, requests, server.requests.Load())
		})
	}
	server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{Retries: -1}), server.artifact(), transfer.FetchOptions{})
	require.Error(t, err)
	require.EqualValues(t, 1, server.requests.Load())
}

func TestFetchWaitsAsTheServerAsks(t *testing.T) {
	archive, _ := pack(t, small())
	busy := func(after string) func(n int, w http.ResponseWriter, _ *http.Request) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n == 1
		}
	}
	server := fetchFrom(t, archive, busy("1"))
	start := time.Now()
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{}), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), time.Second)

	for _, after := range []string{"3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
		server = fetchFrom(t, archive, busy(after))
		_, err = download(t, fetchWith(t, transfer.FetcherOptions{}), server.artifact(), transfer.FetchOptions{})
		status, ok := errors.AsType[*transfer.StatusError](err)
		require.True(t, ok, "%v", err)
		require.Greater(t, status.RetryAfter, 50*time.Minute, "the caller has better things to do meanwhile")
		require.EqualValues(t, 1, server.requests.Load())
	}

	// Whoever waits stops when the caller does.
	server = fetchFrom(t, archive, busy("50"))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no longer needed")
	go func() {
		for server.requests.Load() == 0 {
			<-time.After(time.Millisecond)
		}
		cancel(why)
	}()
	_, err = fetchWith(t, transfer.FetcherOptions{}).Get(ctx, server.artifact(), transfer.FetchOptions{})
	require.ErrorIs(t, err, why)
}

func TestFetchEndsWithItsContext(t *testing.T) {
	archive, _ := pack(t, large())
	server := fetchFrom(t, archive, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = w.Write(archive[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	d, err := fetchWith(t, transfer.FetcherOptions{}).Get(ctx, server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	defer d.Close()
	_, err = io.ReadFull(d, make([]byte, 1000))
	require.NoError(t, err)
	cancel()
	_, err = d.Read(make([]byte, 1))
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, server.requests.Load())
}

func TestFetchWithTLS(t *testing.T) {
	archive, _ := pack(t, small())
	server := &fetchServer{archive: archive}
	server.Server = httptest.NewUnstartedServer(server)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the client does not trust it, as it should
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	got, err := download(t, fetchWith(t, transfer.FetcherOptions{
		TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Token: func(_ context.Context, origin string) (string, error) {
			require.Equal(t, server.URL, origin)
			return "s3cret", nil
		},
	}), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(archive, got))
	require.Equal(t, "Bearer s3cret", server.header(1, "Authorization"))

	_, err = download(t, fetchWith(t, transfer.FetcherOptions{}), server.artifact(), transfer.FetchOptions{})
	require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
	require.EqualValues(t, 1, server.requests.Load())

	_, err = transfer.NewFetcher(transfer.FetcherOptions{Transport: http.NewFileTransport(http.Dir(".")), TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	require.ErrorContains(t, err, "Transport")
}

func TestFetcherIsSafeForConcurrentUse(t *testing.T) {
	archive, sum := pack(t, small())
	server := fetchFrom(t, archive, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n%3 == 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
		return n%3 == 0
	})
	f := fetchWith(t, transfer.FetcherOptions{Retries: 30})
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 4 {
				got, err := f.Unpack(t.Context(), server.artifact(), root, artifact.UnpackOptions{Dir: fmt.Sprint(i, "-", j)})
				if err != nil || got != sum {
					t.Errorf("%v %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFetchToDisk(t *testing.T) {
	archive, _ := pack(t, large())
	server := fetchFrom(t, archive, nil)
	dir := t.TempDir()
	tree, err := fetchWith(t, transfer.FetcherOptions{}).Open(t.Context(), server.artifact(), artifact.OpenOptions{SpillDir: dir, Memory: 1})
	require.NoError(t, err)
	again, _ := pack(t, tree)
	require.True(t, bytes.Equal(archive, again))
	require.NoError(t, tree.(io.Closer).Close())
}

func TestFetchBounds(t *testing.T) {
	archive, _ := pack(t, fstest.MapFS{"a": {Data: make([]byte, 100)}})
	server := fetchFrom(t, archive, nil)
	n := int64(len(archive))
	_, err := download(t, fetchWith(t, transfer.FetcherOptions{Limits: artifact.Limits{ArchiveBytes: n}}), server.artifact(), transfer.FetchOptions{})
	require.NoError(t, err)
	f := fetchWith(t, transfer.FetcherOptions{Limits: artifact.Limits{ArchiveBytes: n - 1}})
	_, err = download(t, f, server.artifact(), transfer.FetchOptions{})
	limit(t, err, "ArchiveBytes")
	require.EqualValues(t, 1, server.requests.Load(), "the artifact says its size")
	_, err = f.Open(t.Context(), server.artifact(), artifact.OpenOptions{Limits: artifact.Limits{ArchiveBytes: n}})
	require.NoError(t, err, "the call's limits are what counts")
	a := server.artifact()
	a.Size = nil
	_, err = download(t, f, a, transfer.FetchOptions{})
	limit(t, err, "ArchiveBytes")
}
