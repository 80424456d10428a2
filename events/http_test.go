package events_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
)

// serve starts a server that ends with the test.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func httpSink(t *testing.T, url string, opts events.HTTPOptions) *events.HTTPSink {
	t.Helper()
	sink, err := events.NewHTTPSink(url, opts)
	require.NoError(t, err)
	t.Cleanup(sink.CloseIdleConnections)
	return sink
}

func sendError(t *testing.T, err error) *events.SendError {
	t.Helper()
	var fail *events.SendError
	require.ErrorAs(t, err, &fail)
	return fail
}

func TestHTTPSinkPostsTheEvent(t *testing.T) {
	var got *http.Request
	var body []byte
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	key := []byte("shared")
	sink := httpSink(t, server.URL+"/hook?channel=ops", events.HTTPOptions{
		Token: "s3cret", AllowPlainToken: true, HMACKey: key,
	})
	e := event("web", "<fine> & well")
	require.NoError(t, sink.Send(t.Context(), e))

	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/hook?channel=ops", got.URL.String())
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "Bearer s3cret", got.Header.Get("Authorization"))
	want, err := json.Marshal(e)
	require.NoError(t, err)
	require.Equal(t, string(want), string(body))
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	require.Equal(t, "sha256="+hex.EncodeToString(mac.Sum(nil)), got.Header.Get("X-Signature"))
	back, err := events.Decode(bytes.NewReader(body), events.DecodeOptions{})
	require.NoError(t, err)
	require.Equal(t, e.Message, back.Message)
}

func TestHTTPSinkSendsNoHeaderItWasNotAskedFor(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Signature") != "" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	require.NoError(t, httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine")))
}

func TestHTTPSinkJudgesAnswers(t *testing.T) {
	for status, final := range map[int]bool{
		200: false, 201: false, 202: false, 204: false,
		300: true, 304: true, 400: true, 401: true, 403: true, 404: true, 410: true, 413: true, 422: true,
		408: false, 425: false, 429: false,
		500: false, 501: true, 502: false, 503: false, 504: false, 505: true, 599: false,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			err := httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
			if status < 300 {
				require.NoError(t, err)
				return
			}
			fail := sendError(t, err)
			require.Equal(t, status, fail.Status)
			require.Equal(t, final, fail.Terminal())
			require.Contains(t, err.Error(), fmt.Sprintf("send event to %s: answered %d", server.URL, status))
		})
	}
}

// A duplicate is no reason to leave the receiver alone: others behind it are none.
func TestHTTPSinkWhereTooManyIsADuplicate(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	rec := record(t, httpSink(t, server.URL, events.HTTPOptions{TooManyIsDuplicate: true}))
	emit(t, rec, event("web", "one"), event("web", "two"))
	flush(t, rec)
	require.Equal(t, events.SinkStats{Accepted: 2, Delivered: 2}, outcomes(rec, "sink"))
}

func TestHTTPSinkReadsRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"0":                             0,
		"-1":                            0,
		"soon":                          0,
		"1.5":                           0,
		"99999999999":                   24 * time.Hour,
		"99999999999999999999999999999": 0,
		"Thu, 01 Jan 2015 00:00:00 GMT": 0,
		"Fri, 31 Dec 9999 23:59:59 GMT": 24 * time.Hour,
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		err := httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
		require.Equal(t, want, sendError(t, err).RetryAfter(), "Retry-After: %s", value)
	}
	date := time.Now().Add(time.Hour)
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", date.UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	err := httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
	require.InDelta(t, time.Hour.Seconds(), sendError(t, err).RetryAfter().Seconds(), 60)
}

func TestHTTPSinkFollowsARedirectOnItsHost(t *testing.T) {
	for _, status := range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		var got []byte
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/moved", status)
				return
			}
			got, _ = io.ReadAll(r.Body)
		})
		require.NoError(t, httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine")))
		_, err := events.Decode(bytes.NewReader(got), events.DecodeOptions{})
		require.NoError(t, err, "the body went along")
	}
}

func TestHTTPSinkKeepsItsConnection(t *testing.T) {
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("thank you"))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	sink := httpSink(t, server.URL, events.HTTPOptions{})
	for range 5 {
		require.NoError(t, sink.Send(t.Context(), event("web", "fine")))
	}
	require.EqualValues(t, 1, opened.Load())
}

func TestHTTPSinkNamesWhatIsWrong(t *testing.T) {
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	hangUp := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for url, want := range map[string]string{
		tls.URL:                             "signed by an unknown authority: add the CA",
		closed.URL:                          "dial: connection refused",
		hangUp.URL:                          "closed before the answer",
		"http://host.name-that-is.invalid/": "the name of the host cannot be resolved",
	} {
		err := httpSink(t, url, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
		require.ErrorContains(t, err, want)
		require.False(t, sendError(t, err).Terminal())
	}
}

func TestHTTPSinkUsesTheCallersTransport(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	sink := httpSink(t, server.URL, events.HTTPOptions{Token: "s3cret", Transport: server.Client().Transport})
	require.NoError(t, sink.Send(t.Context(), event("web", "fine")))
}

func TestHTTPSinkHonoursItsContext(t *testing.T) {
	entered, done := make(chan struct{}), make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-done
	})
	t.Cleanup(func() { close(done) }) // before the server closes
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	err := httpSink(t, server.URL, events.HTTPOptions{}).Send(ctx, event("web", "fine"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewHTTPSinkChecksItsOptions(t *testing.T) {
	for _, test := range []struct {
		url, want string
		opts      events.HTTPOptions
	}{
		{"", "must start with http", events.HTTPOptions{}},
		{"hooks.example.test/x", "must start with http", events.HTTPOptions{}},
		{"file:///etc/passwd", "must start with http", events.HTTPOptions{}},
		{"https:///x", "name a host", events.HTTPOptions{}},
		{"https://user:canary-5c1d@example.test", "HTTPOptions.Token", events.HTTPOptions{}},
		{"https://example.test/canary-5c1d\x7f", "cannot be parsed", events.HTTPOptions{}},
		{"http://example.test", "plain HTTP", events.HTTPOptions{Token: "canary-5c1d"}},
		{"https://example.test", "no header takes", events.HTTPOptions{Token: "canary-5c1d\n"}},
	} {
		_, err := events.NewHTTPSink(test.url, test.opts)
		require.ErrorContains(t, err, test.want)
		require.NotContains(t, err.Error(), "canary-5c1d")
	}
}

// The server is away for a while, in every way that a server can be, then recovers.
func TestNothingAcceptedIsLostInAnOutage(t *testing.T) {
	const objects, each, outage = 5, 20, 30
	var mu sync.Mutex
	requests := 0
	got := map[string][]string{}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests <= outage {
			switch requests % 3 {
			case 0:
				panic(http.ErrAbortHandler)
			case 1:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return
		}
		e, err := events.Decode(r.Body, events.DecodeOptions{})
		if err != nil {
			t.Error(err)
		}
		got[e.InvolvedObject.Name] = append(got[e.InvolvedObject.Name], e.Message)
		w.WriteHeader(http.StatusAccepted)
	})
	rec := record(t, httpSink(t, server.URL, events.HTTPOptions{}), func(o *events.Options) {
		o.Retry = events.Retry{Initial: time.Millisecond, Max: 5 * time.Millisecond}
		o.Sinks[0].Workers = 3
	})
	want := map[string][]string{}
	for i := range each {
		for o := range objects {
			name := fmt.Sprint("object-", o)
			e := event(name, fmt.Sprint("message ", i))
			want[name] = append(want[name], e.Message)
			emit(t, rec, e)
		}
	}
	flush(t, rec)
	require.Equal(t, want, got, "all of it, in order")
	stats := rec.Stats().Sinks["sink"]
	require.EqualValues(t, outage, stats.Retried)
	require.EqualValues(t, objects*each, stats.Delivered)
	require.Zero(t, stats.Failed+stats.Dropped)
}

func TestErrorsUnwrap(t *testing.T) {
	err := error(&events.SendError{Target: "https://example.test", Reason: "no answer in time", Err: context.DeadlineExceeded})
	require.True(t, errors.Is(err, context.DeadlineExceeded))
	require.EqualError(t, err, "send event to https://example.test: no answer in time")
}
