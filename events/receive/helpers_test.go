package receive_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/receive"
)

var web = receive.Name{Namespace: "shop", Name: "web"}

// rig is a handler behind a real server, and what it was told.
type rig struct {
	*receive.Handler
	t      testing.TB
	client *http.Client
	url    string

	mu       sync.Mutex
	got      []receive.Request
	outcomes []receive.Outcome
	fail     error
	clock    time.Time // zero: the real one
}

func newRig(t testing.TB, limits receive.Limits, transport http.RoundTripper) *rig {
	t.Helper()
	r := &rig{t: t}
	if transport == nil {
		transport = issuers(t, google, ci)
	}
	h, err := receive.New(receive.Options{Receive: r.receive, Observe: r.observe, Transport: transport, Limits: limits})
	require.NoError(t, err)
	h.SetClock(r.now)
	r.Handler = h
	srv := httptest.NewUnstartedServer(h)
	own := receive.NewServer(h)
	own.Addr = ""
	srv.Config = own
	srv.Start()
	t.Cleanup(srv.Close)
	r.url, r.client = srv.URL, srv.Client()
	return r
}

func (r *rig) receive(_ context.Context, req receive.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, req)
	return r.fail
}

func (r *rig) observe(o receive.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
	if text := fmt.Sprint(o); strings.Contains(text, secret) || strings.Contains(text, "/hook/") || strings.Contains(text, "eyJ") {
		r.t.Errorf("an outcome tells a secret: %s", text)
	}
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clock.IsZero() {
		return time.Now()
	}
	return r.clock
}

// advance stops the clock and puts it forward.
func (r *rig) advance(d time.Duration) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = now.Add(d)
}

func (r *rig) failWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *rig) calls() []receive.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]receive.Request(nil), r.got...)
}

// set adds the receiver of a fixture and returns its URL.
func (r *rig) set(t testing.TB, rec receive.Receiver) string {
	t.Helper()
	path, err := r.Set(web, rec)
	require.NoError(t, err)
	require.Equal(t, receive.Path(rec.Secret, web.Name, web.Namespace), path)
	return r.url + path
}

// reply is what a sender sees.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r *rig) do(t testing.TB, req *http.Request) reply {
	t.Helper()
	resp, err := r.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Header.Del("Date")
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// last waits for the outcome of the n-th request and returns it: a sender may have its
// answer before the observer.
func (r *rig) last(t testing.TB, n int) receive.Outcome {
	t.Helper()
	var o receive.Outcome
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.outcomes) < n {
			return false
		}
		o = r.outcomes[n-1]
		return true
	}, 10*time.Second, time.Millisecond)
	return o
}

// post sends a signed body and returns the status.
func (r *rig) post(t testing.TB, f fixture, url, body string) int {
	t.Helper()
	return r.do(t, f.request(t, url, body)).status
}

// serve answers a request without a connection.
func serve(h http.Handler, req *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code
}

// listen returns the address of a listener that fails the test when it is reached.
func listen(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a local address was reached")
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
