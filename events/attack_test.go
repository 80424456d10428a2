package events_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
)

const canary = "canary-5c1d9e"

// hostile answers each connection with what talk writes, which gets the request's
// text. It counts nothing and keeps nothing.
func hostile(t *testing.T, talk func(conn net.Conn, request string)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				var text strings.Builder
				_ = req.Header.Write(&text)
				body, _ := io.ReadAll(req.Body)
				text.Write(body)
				talk(conn, text.String())
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// writes sends data until the other side has had enough, and returns how much that
// was.
func writeEndlessly(conn net.Conn, data string) (n int64) {
	for {
		m, err := io.WriteString(conn, data)
		if n += int64(m); err != nil {
			return n
		}
	}
}

// allocated is what f leaves behind or throws away on the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAttackEndlessBody(t *testing.T) {
	for _, status := range []string{"200 OK", "400 Bad Request", "503 Service Unavailable"} {
		t.Run(status, func(t *testing.T) {
			wrote := make(chan int64, 1)
			url := hostile(t, func(conn net.Conn, _ string) {
				_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Type: text/plain\r\n\r\n")
				wrote <- writeEndlessly(conn, strings.Repeat("a", 64<<10))
			})
			sink := httpSink(t, url, events.HTTPOptions{})
			var err error
			used := allocated(func() { err = sink.Send(t.Context(), event("web", "fine")) })
			require.Equal(t, status == "200 OK", err == nil, "the status decides, not the body: %v", err)
			require.Less(t, used, uint64(16<<20))
			require.Less(t, <-wrote, int64(64<<20), "the connection was closed: only buffers were filled")
		})
	}
}

func TestAttackSlowBody(t *testing.T) {
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	url := hostile(t, func(conn net.Conn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na")
		<-hold
	})
	sink := httpSink(t, url, events.HTTPOptions{Timeout: 10 * time.Minute})
	started := time.Now()
	require.NoError(t, sink.Send(t.Context(), event("web", "fine")), "the event was accepted")
	require.Less(t, time.Since(started), time.Minute)
}

func TestAttackEndlessHeader(t *testing.T) {
	url := hostile(t, func(conn net.Conn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		writeEndlessly(conn, "X-Fill: "+strings.Repeat("a", 1000)+"\r\n")
	})
	sink := httpSink(t, url, events.HTTPOptions{})
	var err error
	used := allocated(func() { err = sink.Send(t.Context(), event("web", "fine")) })
	require.Error(t, err)
	require.Less(t, used, uint64(16<<20))
}

func TestAttackSlowHeader(t *testing.T) {
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	url := hostile(t, func(net.Conn, string) { <-hold })
	sink := httpSink(t, url, events.HTTPOptions{Timeout: 50 * time.Millisecond})
	err := sink.Send(t.Context(), event("web", "fine"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, sendError(t, err).Terminal())
}

func TestAttackRedirectToAnotherHost(t *testing.T) {
	var reached atomic.Int64
	thief := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	tlsThief := httptest.NewTLSServer(thief.Config.Handler)
	t.Cleanup(tlsThief.Close)
	for _, target := range []string{
		thief.URL + "/" + canary, tlsThief.URL, strings.Replace(thief.URL, "http:", "", 1),
		"http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "file:///etc/passwd", "gopher://example.test/",
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", target)
				w.WriteHeader(status)
			})
			sink := httpSink(t, server.URL, events.HTTPOptions{Token: canary, HMACKey: []byte(canary), AllowPlainToken: true})
			err := sink.Send(t.Context(), event("web", "fine"))
			require.True(t, sendError(t, err).Terminal(), "%d to %s", status, target)
			require.ErrorContains(t, err, "another host")
			require.NotContains(t, err.Error(), canary, "Location")
			require.NotContains(t, err.Error(), "meta-data")
		}
	}
	require.Zero(t, reached.Load())
}

func TestAttackRedirectThatLosesTheEvent(t *testing.T) {
	for _, status := range []int{301, 302, 303} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				http.Redirect(w, r, "/login", status)
			}
		})
		err := httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
		require.True(t, sendError(t, err).Terminal())
		require.ErrorContains(t, err, "turns a POST into a GET")
	}
}

func TestAttackRedirectLoop(t *testing.T) {
	var requests atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprint("/", requests.Add(1)), http.StatusTemporaryRedirect)
	})
	err := httpSink(t, server.URL, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
	require.ErrorContains(t, err, "redirects without end")
	require.LessOrEqual(t, requests.Load(), int64(4))
}

// A server that repeats what it was sent, wherever an error could pick it up.
func TestAttackServerEchoesTheToken(t *testing.T) {
	for name, answer := range map[string]string{
		"body":                  "HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\n\r\n" + canary,
		"reason phrase":         "HTTP/1.1 400 " + canary + "\r\nContent-Length: 0\r\n\r\n",
		"header":                "HTTP/1.1 503 No\r\nRetry-After: " + canary + "\r\nWww-Authenticate: " + canary + "\r\nContent-Length: 0\r\n\r\n",
		"malformed status line": canary + "\r\n\r\n",
		"malformed status code": "HTTP/1.1 " + canary + "\r\n\r\n",
		"malformed version":     "HTTP/" + canary + " 200 OK\r\n\r\n",
		"malformed header":      "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n",
		"malformed length":      "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n",
		"malformed encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n",
		"malformed location":    "HTTP/1.1 307 No\r\nLocation: http://%zz" + canary + "\r\nContent-Length: 0\r\n\r\n",
		"location with a user":  "HTTP/1.1 307 No\r\nLocation: http://" + canary + ":" + canary + "@example.test\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			url := hostile(t, func(conn net.Conn, request string) {
				if !strings.Contains(request, canary) {
					t.Error("the request holds no token: the test proves nothing")
				}
				_, _ = io.WriteString(conn, answer)
			})
			sink := httpSink(t, url+"/services/"+canary+"?key="+canary, events.HTTPOptions{Token: canary, AllowPlainToken: true})
			err := sink.Send(t.Context(), event("web", "fine"))
			require.Error(t, err)
			for e := err; e != nil; {
				require.NotContains(t, e.Error(), canary)
				require.NotContains(t, fmt.Sprintf("%+v %#v", e, e), canary)
				unwrap, ok := e.(interface{ Unwrap() error })
				if !ok {
					break
				}
				e = unwrap.Unwrap()
			}
		})
	}
}

func TestAttackSecretInAnAddressThatFails(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, url := range []string{closed.URL + "/services/" + canary, "http://host.invalid/" + canary + "?key=" + canary} {
		sink := httpSink(t, url, events.HTTPOptions{Token: canary, HMACKey: []byte(canary), AllowPlainToken: true})
		err := sink.Send(t.Context(), event("web", "fine"))
		require.Error(t, err)
		require.NotContains(t, err.Error(), canary)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", sink, sink, sink, sink), canary, "printing a sink")
	}
}

func TestAttackRetryAfterStopsNobodyForEver(t *testing.T) {
	var requests atomic.Int64
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			w.Header().Set("Retry-After", "9999999999")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	rec := record(t, httpSink(t, server.URL, events.HTTPOptions{}), func(o *events.Options) {
		o.Retry = events.Retry{Initial: time.Millisecond, MaxRetryAfter: 10 * time.Millisecond}
	})
	emit(t, rec, event("web", "fine"))
	flush(t, rec)
	require.EqualValues(t, 2, requests.Load())
}

func TestAttackDecodeIsBounded(t *testing.T) {
	valid, err := json.Marshal(event("web", "fine"))
	require.NoError(t, err)
	for name, in := range map[string]io.Reader{
		"endless":        endless("{"),
		"endless string": io.MultiReader(strings.NewReader(`{"message":"`), endless("a")),
		"endless blanks": io.MultiReader(strings.NewReader(string(valid)), endless(" ")),
		"deep nesting":   strings.NewReader(`{"a":` + strings.Repeat("[", 3<<20-100)),
		"many fields":    strings.NewReader("{" + strings.Repeat(`"a":1,`, 500_000)),
		"a long time":    strings.NewReader(`{"timestamp":"` + strings.Repeat("9", 1<<20) + `"}`),
		"a long number":  strings.NewReader(`{"message":` + strings.Repeat("9", 1<<20) + `}`),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			used := allocated(func() { _, err = events.Decode(in, events.DecodeOptions{}) })
			require.Error(t, err)
			require.Less(t, len(err.Error()), 500, "an error does not repeat the input")
			require.Less(t, used, uint64(64<<20))
		})
	}
}

// endless reads the same byte for ever.
type endless string

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e[0]
	}
	return len(p), nil
}

func TestAttackLinkLocalTarget(t *testing.T) {
	for _, host := range []string{"169.254.169.254", "[fe80::1]", "100.100.100.200"} {
		err := httpSink(t, "http://"+host+"/"+canary, events.HTTPOptions{}).Send(t.Context(), event("web", "fine"))
		require.True(t, sendError(t, err).Terminal())
		require.ErrorContains(t, err, "link-local")
		require.NotContains(t, err.Error(), canary)
	}
}
