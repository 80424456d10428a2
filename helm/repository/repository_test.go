package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm"
	"github.com/gitopskit/gitopskit/helm/repository"
)

// pack makes a packed chart of a name and version.
func pack(t testing.TB, name, version string) []byte {
	t.Helper()
	p, err := helm.Pack(t.Context(), fstest.MapFS{
		"Chart.yaml": {Data: []byte("apiVersion: v2\nname: " + name + "\nversion: " + version + "\nappVersion: \"7\"\n")},
	}, ".", helm.PackOptions{})
	require.NoError(t, err)
	return p.Archive
}

// entryOf is what an index says of a chart.
func entryOf(name, version, url string, archive []byte) string {
	digest := ""
	if archive != nil {
		sum := sha256.Sum256(archive)
		digest = "    digest: " + hex.EncodeToString(sum[:]) + "\n"
	}
	return fmt.Sprintf("  %[1]s:\n  - name: %[1]s\n    version: %[2]s\n%[4]s    urls:\n    - %[3]s\n", name, version, url, digest)
}

func indexOf(entries ...string) string {
	return "apiVersion: v1\nentries:\n" + strings.Join(entries, "") + "generated: \"2024-01-02T03:04:05Z\"\n"
}

// site is an HTTP server of files, which remembers what it was asked.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string]string
	handlers map[string]http.HandlerFunc
	asked    []*http.Request
	user     string // if not empty, with the password "password"
}

func newSite(t testing.TB, start func(http.Handler) *httptest.Server) *site {
	s := &site{files: map[string]string{}, handlers: map[string]http.HandlerFunc{}}
	s.Server = start(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	content, ok := s.files[r.URL.Path]
	handler, user := s.handlers[r.URL.Path], s.user
	s.mu.Unlock()
	if name, password, _ := r.BasicAuth(); user != "" && (name != user || password != "password") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case handler != nil:
		handler(w, r)
	case !ok:
		http.NotFound(w, r)
	default:
		sum := sha256.Sum256([]byte(content))
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}
}

func (s *site) put(path, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
}

func (s *site) handle(path string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[path] = h
}

// requests returns what was asked since the last call.
func (s *site) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func open(t testing.TB, url string, opts repository.Options) *repository.Repository {
	t.Helper()
	r, err := repository.New(url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func terminal(err error) bool {
	var t interface{ Terminal() bool }
	return errors.As(err, &t) && t.Terminal()
}

func TestIndexIsFetchedConditionally(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	s.put("/charts/index.yaml", indexOf(entryOf("a", "1.0.0", "a.tgz", nil)))
	r := open(t, s.URL+"/charts/", repository.Options{})
	first, err := r.Index(t.Context())
	require.NoError(t, err)
	require.Len(t, s.requests(), 1)

	same, err := r.Index(t.Context())
	require.NoError(t, err)
	require.Same(t, first, same)
	asked := s.requests()
	require.Len(t, asked, 1)
	require.NotEmpty(t, asked[0].Header.Get("If-None-Match"))

	// Another text that says the same is the same index.
	s.put("/charts/index.yaml", strings.ReplaceAll(indexOf(entryOf("a", "1.0.0", "a.tgz", nil)), "2024", "2025"))
	same, err = r.Index(t.Context())
	require.NoError(t, err)
	require.Same(t, first, same)

	s.put("/charts/index.yaml", indexOf(entryOf("a", "1.1.0", "a.tgz", nil)))
	other, err := r.Index(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.Revision(), other.Revision())
	v, err := first.Find("a", "")
	require.NoError(t, err)
	require.Equal(t, "1.0.0", v.Version, "who has the old one keeps it")

	// A failure forgets nothing.
	s.handle("/charts/index.yaml", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	_, err = r.Index(t.Context())
	require.ErrorIs(t, err, repository.ErrUnreachable)
	require.False(t, terminal(err))
	s.handle("/charts/index.yaml", nil)
	s.requests()
	again, err := r.Index(t.Context())
	require.NoError(t, err)
	require.Same(t, other, again)
	require.NotEmpty(t, s.requests()[0].Header.Get("If-None-Match"))
}

func TestIndexByTime(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	text := indexOf(entryOf("a", "1.0.0", "a.tgz", nil))
	s.handle("/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), strings.NewReader(text))
	})
	r := open(t, s.URL, repository.Options{})
	first, err := r.Index(t.Context())
	require.NoError(t, err)
	s.requests()
	same, err := r.Index(t.Context())
	require.NoError(t, err)
	require.Same(t, first, same)
	require.Equal(t, "Tue, 02 Jan 2024 03:04:05 GMT", s.requests()[0].Header.Get("If-Modified-Since"))
}

func TestMaxAge(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "a.tgz", nil)))
	r := open(t, s.URL, repository.Options{MaxAge: time.Hour})
	for range 3 {
		_, err := r.Index(t.Context())
		require.NoError(t, err)
	}
	require.Len(t, s.requests(), 1)
}

// roundTripper answers without a network, so that time stands still.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConcurrentUsersShareARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, release := 0, make(chan struct{})
		trip := roundTripper(func(req *http.Request) (*http.Response, error) {
			requests++
			select {
			case <-release:
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			return &http.Response{StatusCode: http.StatusOK, Request: req, Body: io.NopCloser(strings.NewReader(indexOf(entryOf("a", "1.0.0", "a.tgz", nil))))}, nil
		})
		r, err := repository.New("https://charts.example.org", repository.Options{WrapTransport: func(http.RoundTripper) http.RoundTripper { return trip }})
		require.NoError(t, err)
		leader, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, err := r.Index(leader)
			gaveUp <- err
		}()
		synctest.Wait()
		results := make(chan *repository.Index, 50)
		for range 50 {
			go func() {
				x, err := r.Index(t.Context())
				if err != nil {
					x = nil
				}
				results <- x
			}()
		}
		synctest.Wait()
		cancel() // that of the first is nothing to the others
		synctest.Wait()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		require.Equal(t, 2, requests)
		waiting, stop := context.WithCancel(t.Context())
		go func() {
			_, err := r.Index(waiting)
			gaveUp <- err
		}()
		synctest.Wait()
		stop()
		require.ErrorIs(t, <-gaveUp, context.Canceled, "who waits can stop waiting")
		close(release)
		first := <-results
		require.NotNil(t, first)
		for range 49 {
			require.Same(t, first, <-results)
		}
		require.Equal(t, 2, requests)
		require.NoError(t, r.Close())
	})
}

func TestPull(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	archive := pack(t, "a", "1.2.3")
	s.put("/charts/index.yaml", indexOf(
		entryOf("a", "1.2.3", "files/a-1.2.3.tgz", archive),
		entryOf("absolute", "1.0.0", s.URL+"/elsewhere.tgz", nil),
		entryOf("missing", "1.0.0", "none.tgz", nil),
		entryOf("oci", "1.0.0", "oci://example.org/charts/a", nil),
	))
	s.put("/charts/files/a-1.2.3.tgz", string(archive))
	s.put("/elsewhere.tgz", string(pack(t, "absolute", "1.0.0")))
	r := open(t, s.URL+"/charts?token=x", repository.Options{})
	got, err := r.Pull(t.Context(), "a", "1.x")
	require.NoError(t, err)
	sum := sha256.Sum256(archive)
	require.Equal(t, &repository.Chart{Name: "a", Version: "1.2.3", AppVersion: "7", Archive: archive, Digest: "sha256:" + hex.EncodeToString(sum[:])}, got)
	for _, req := range s.requests() {
		require.Equal(t, "token=x", req.URL.RawQuery, "the repository's query goes with it, as in Helm")
	}
	c, err := helm.LoadArchive(t.Context(), got.Archive, helm.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, "1.2.3", c.Version())

	_, err = r.Pull(t.Context(), "absolute", "")
	require.NoError(t, err)
	_, err = r.Pull(t.Context(), "missing", "")
	require.ErrorIs(t, err, repository.ErrNotFound)
	require.NotContains(t, err.Error(), "token=x")
	_, err = r.Pull(t.Context(), "oci", "")
	require.ErrorIs(t, err, repository.ErrInvalidURL)
	require.ErrorContains(t, err, "use package registry")
	_, err = r.Pull(t.Context(), "nobody", "")
	require.ErrorIs(t, err, repository.ErrNoChart)
}

func TestPullRefusesWhatTheIndexDoesNotDescribe(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	good := pack(t, "a", "1.0.0")
	for name, c := range map[string]struct {
		archive []byte
		entry   string
		want    error
	}{
		"another digest":  {pack(t, "a", "1.0.1"), entryOf("a", "1.0.0", "x.tgz", good), repository.ErrDigest},
		"another name":    {pack(t, "b", "1.0.0"), entryOf("a", "1.0.0", "x.tgz", nil), repository.ErrMismatch},
		"another version": {pack(t, "a", "1.0.1"), entryOf("a", "1.0.0", "x.tgz", nil), repository.ErrMismatch},
		"no archive":      {[]byte("<html>"), entryOf("a", "1.0.0", "x.tgz", nil), repository.ErrMismatch},
		"cut off":         {good[:40], entryOf("a", "1.0.0", "x.tgz", nil), repository.ErrMismatch},
		"no URL":          {good, "  a:\n  - name: a\n    version: 1.0.0\n", repository.ErrIndex},
		"malformed URL":   {good, entryOf("a", "1.0.0", "\"ht%tp://x\"", nil), repository.ErrInvalidURL},
		"file URL":        {good, entryOf("a", "1.0.0", "file:///etc/passwd", nil), repository.ErrInvalidURL},
		"password in URL": {good, entryOf("a", "1.0.0", strings.Replace(s.URL, "//", "//user:hunter2@", 1)+"/x.tgz", nil), repository.ErrInvalidURL},
	} {
		t.Run(name, func(t *testing.T) {
			s.put("/x.tgz", string(c.archive))
			s.put("/index.yaml", indexOf(c.entry))
			_, err := open(t, s.URL, repository.Options{}).Pull(t.Context(), "a", "")
			require.ErrorIs(t, err, c.want)
			require.NotContains(t, err.Error(), "hunter2")
			require.True(t, terminal(err))
		})
	}
}

func TestInvalidOptions(t *testing.T) {
	for url, want := range map[string]error{
		"": repository.ErrInvalidURL, "charts": repository.ErrInvalidURL, "ftp://x": repository.ErrInvalidURL, "oci://x/y": repository.ErrInvalidURL,
		"https://": repository.ErrInvalidURL, "https://user:hunter2@x": repository.ErrInvalidURL, "https://x\x7f": repository.ErrInvalidURL, "file:///etc": repository.ErrInvalidURL,
	} {
		_, err := repository.New(url, repository.Options{})
		require.ErrorIs(t, err, want, url)
		require.NotContains(t, err.Error(), "hunter2")
		require.True(t, terminal(err))
	}
	for name, c := range map[string]struct {
		opts repository.Options
		want error
	}{
		"two kinds":      {repository.Options{Username: "u", BearerToken: "t"}, repository.ErrInvalidAuth},
		"line break":     {repository.Options{Username: "u", Password: "p\n"}, repository.ErrInvalidAuth},
		"no certificate": {repository.Options{CABundle: []byte("x")}, repository.ErrInvalidAuth},
		"no key":         {repository.Options{ClientCert: []byte("x")}, repository.ErrInvalidAuth},
		"bad key":        {repository.Options{ClientCert: []byte("x"), ClientKey: []byte("y")}, repository.ErrInvalidAuth},
		"keyring":        {repository.Options{Keyring: []byte("x")}, repository.ErrKeyring},
	} {
		_, err := repository.New("https://charts.example.org", c.opts)
		require.ErrorIs(t, err, c.want, name)
	}
	_, err := repository.New("http://charts.example.org", repository.Options{Username: "u", Password: "hunter2"})
	require.ErrorIs(t, err, repository.ErrInsecureCredentials)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestClose(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "a.tgz", nil)))
	r := open(t, s.URL, repository.Options{})
	x, err := r.Index(t.Context())
	require.NoError(t, err)
	v, err := x.Find("a", "")
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = r.Index(t.Context())
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = r.Fetch(t.Context(), v)
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = x.Find("a", "")
	require.NoError(t, err, "an index needs no repository")
}

func TestReadIndexEndsWithItsReader(t *testing.T) {
	_, err := repository.ReadIndex(t.Context(), io.MultiReader(strings.NewReader("apiVersion: v1\n"), failing{}), repository.Limits{})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = repository.ReadIndex(ctx, bytes.NewReader([]byte(small)), repository.Limits{})
	require.ErrorIs(t, err, context.Canceled)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
