package receive_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/receive"
)

// CVE-2026-40109 and its like: requests that prove nothing were acted upon.
func TestAttackForgeries(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		name := f.proof()
		if name == "" {
			t.Skip("the path is the proof")
		}
		for what, change := range map[string]func(h http.Header){
			"missing":            func(h http.Header) { h.Del(name) },
			"empty":              func(h http.Header) { h.Set(name, "") },
			"of another secret":  func(h http.Header) { f.prove(t, h, "another secret", f.body); h.Set(name, h.Get(name)+"x") },
			"cut":                func(h http.Header) { h.Set(name, h.Get(name)[:len(h.Get(name))-1]) },
			"too long":           func(h http.Header) { h.Set(name, h.Get(name)+"0") },
			"an algorithm alone": func(h http.Header) { h.Set(name, "sha256=") },
			"no algorithm":       func(h http.Header) { h.Set(name, "="+h.Get(name)) },
			"unknown algorithm":  func(h http.Header) { h.Set(name, "md5=d41d8cd98f00b204e9800998ecf8427e") },
			"no digits":          func(h http.Header) { h.Set(name, "sha256="+strings.Repeat("zz", 32)) },
			"the secret":         func(h http.Header) { h.Set(name, "sha256="+secret) },
			"twice":              func(h http.Header) { h.Add(name, h.Get(name)) },
			"one of two":         func(h http.Header) { h.Add(name, "forged") },
		} {
			req := f.request(t, url, f.body)
			change(req.Header)
			require.Equal(t, http.StatusNotFound, r.do(t, req).status, what)
		}
		require.Empty(t, r.calls())
		require.Equal(t, http.StatusOK, r.post(t, f, url, f.body))
	})
}

func TestAttackSignaturesOfAnotherSecretOrBody(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		switch f.receiver.Type {
		case receive.GitHub, receive.Gitea, receive.Bitbucket, receive.Nexus, receive.GenericHMAC:
			req := f.request(t, url, f.body+" ")
			f.prove(t, req.Header, secret, f.body)
			require.Equal(t, http.StatusNotFound, r.do(t, req).status, "the signature is of another body")
		case receive.GitLab, receive.Harbor:
		default:
			t.Skip("it is not signed with the secret")
		}
		req := f.request(t, url, f.body)
		f.prove(t, req.Header, secret[1:], f.body)
		require.Equal(t, http.StatusNotFound, r.do(t, req).status, "the secret is another")
		require.Empty(t, r.calls())
	})
}

// A signature by a weak hash is no way around a strong one.
func TestAttackDowngrade(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	url := r.set(t, f.receiver)
	old := "sha1=" + mac(sha1.New, secret, f.body)
	weak := func(strong string) *http.Request {
		req := f.request(t, url, f.body)
		req.Header.Del("X-Hub-Signature-256")
		if strong != "" {
			req.Header.Set("X-Hub-Signature-256", strong)
		}
		req.Header.Set("X-Hub-Signature", old)
		return req
	}
	require.Equal(t, http.StatusNotFound, r.do(t, weak("")).status, "not unless asked for")
	require.Equal(t, http.StatusNotFound, r.do(t, weak(old)).status, "the header says which one it is")
	f.receiver.AllowSHA1 = true
	r.set(t, f.receiver)
	require.Equal(t, http.StatusNotFound, r.do(t, weak("sha256=00")).status, "not beside a stronger one that is wrong")
	require.Equal(t, http.StatusOK, r.do(t, weak("")).status)

	both := f.request(t, url, f.body+" ")
	both.Header.Set("X-Gitea-Signature", "00")
	require.Equal(t, http.StatusOK, r.do(t, both).status, "the strongest one counts")
	require.Len(t, r.calls(), 2)
}

func TestGenericHMACTakesFiveAlgorithms(t *testing.T) {
	f := fixtureOf(t, "generic-hmac")
	r := newRig(t, receive.Limits{}, nil)
	url := r.set(t, f.receiver)
	for algo, digits := range hmacs {
		req := f.request(t, url, "hello")
		req.Header.Set("X-Signature", algo+"="+digits)
		require.Equal(t, http.StatusOK, r.do(t, req).status, algo)
		req = f.request(t, url, "hello")
		req.Header.Set("X-Signature", algo+"="+strings.ToUpper(digits))
		require.Equal(t, http.StatusOK, r.do(t, req).status, algo)
	}
}

// Whoever is not authentic is answered alike, whether there is a receiver or not.
func TestAttackStrangersLearnNothing(t *testing.T) {
	each(t, receive.Limits{Body: 64 << 10, Header: 4 << 10}, func(t *testing.T, r *rig, f fixture, url string) {
		suspended, err := r.Set(receive.Name{Name: "suspended"}, func() receive.Receiver { s := f.receiver; s.Suspended = true; return s }())
		require.NoError(t, err)
		gone, err := r.Set(receive.Name{Name: "gone"}, f.receiver)
		require.NoError(t, err)
		r.Delete(receive.Name{Name: "gone"})
		urls := map[string]string{
			"gone": r.url + gone, "never there": r.url + receive.Path([]byte("x"), "y", "z"), "root": r.url + "/", "hook": r.url + "/hook/",
			"name": r.url + "/hook/web", "longer": url + "/", "upper": r.url + strings.ToUpper(suspended), "long": r.url + "/" + strings.Repeat("a", 2000),
		}
		if f.proof() != "" {
			urls["there"], urls["suspended"] = url, r.url+suspended
		}
		for what, change := range map[string]func(*http.Request){
			"unsigned":   func(*http.Request) {},
			"large":      func(req *http.Request) { setBody(req, strings.Repeat(" ", 64<<10+1)) },
			"huge":       func(req *http.Request) { setBody(req, strings.Repeat(" ", 64<<10+1)); req.ContentLength = -1 },
			"broken":     func(req *http.Request) { setBody(req, "{") },
			"compressed": func(req *http.Request) { req.Header.Set("Content-Encoding", "gzip") },
			"get":        func(req *http.Request) { req.Method = http.MethodGet },
			"wordy":      func(req *http.Request) { req.Header.Set("X-Long", strings.Repeat("x", 5<<10)) },
		} {
			var first *reply
			for where, u := range urls {
				req := f.request(t, u, f.body)
				if f.proof() != "" {
					req.Header.Set(f.proof(), "sha256=00")
				}
				change(req)
				got := r.do(t, req)
				require.Empty(t, got.body)
				if first == nil {
					first = &got
				}
				require.Equal(t, *first, got, "%s %s", what, where)
			}
		}
		require.Empty(t, r.calls())
	})
}

func setBody(req *http.Request, body string) {
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// The answer comes after the whole body in any case, so that its time tells nothing.
func TestAttackBodiesAreReadForUnknownPathsToo(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	path, err := r.Set(web, f.receiver)
	require.NoError(t, err)
	for _, p := range []string{path, "/hook/unknown"} {
		body := strings.NewReader(strings.Repeat("x", 1<<20))
		req := httptest.NewRequest(http.MethodPost, p, body)
		require.Equal(t, http.StatusNotFound, serve(r.Handler, req))
		require.Zero(t, body.Len(), "what is left of the body")
	}
}

// CVE-2024-40634: a webhook body without bounds.
func TestAttackEndlessBody(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	known := r.set(t, f.receiver)
	for _, url := range []string{known, r.url + "/hook/unknown"} {
		status := 0
		grown := heapGrowth(func() {
			req := f.request(t, url, "")
			req.Body, req.ContentLength = io.NopCloser(endless{}), -1
			resp, err := r.client.Transport.RoundTrip(req)
			if err != nil {
				return // the connection was closed while we were sending
			}
			resp.Body.Close()
			status = resp.StatusCode
		})
		require.Contains(t, []int{0, http.StatusRequestEntityTooLarge}, status)
		require.Less(t, grown, uint64(64<<20))
	}
	require.Equal(t, receive.BodyTooLarge, r.last(t, 1).Result)
	require.Equal(t, receive.BodyTooLarge, r.last(t, 2).Result)
	require.Empty(t, r.calls())
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}

// heapGrowth returns how many bytes were allocated in all, which bounds the peak.
func heapGrowth(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAttackCompressedBodies(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 32<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		for _, encoding := range []string{"gzip", "GZIP", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "identity, gzip", ""} {
			req := f.request(t, url, bomb.String())
			req.Header["Content-Encoding"] = []string{encoding}
			require.Equal(t, http.StatusUnsupportedMediaType, r.do(t, req).status, encoding)
		}
		req := f.request(t, url, f.body)
		req.Header["Content-Encoding"] = []string{"identity", "gzip"}
		require.Equal(t, http.StatusUnsupportedMediaType, r.do(t, req).status)
		req = f.request(t, url, f.body)
		req.Header.Set("Content-Encoding", "identity")
		require.Equal(t, http.StatusOK, r.do(t, req).status)
		require.Len(t, r.calls(), 1)
	})
}

// CVE-2025-59531, CVE-2025-59537, CVE-2025-59538: a field that was not there, or of
// another type, ended the process.
func TestAttackMalformedBodies(t *testing.T) {
	odd := []string{"null", "[]", "1", `"x"`, "true", "{}", `[{}]`, `{"a":`, "", "{}{}", "\xff", `{"a":1e999}`}
	var bodies []string
	for _, field := range []string{
		"repository", "push", "changes", "project", "object_attributes", "pull_request", "release", "package", "event_data", "data", "resources",
		"push_data", "updated_tags", "message", "target", "request", "component", "context", "subject", "ref", "after", "action", "type", "id", "date",
	} {
		for _, value := range odd[:7] {
			bodies = append(bodies, fmt.Sprintf(`{%q:%s}`, field, value))
		}
	}
	bodies = append(bodies, odd...)
	bodies = append(bodies,
		`{"push":{"changes":[]}}`, `{"push":{"changes":[null]}}`, `{"push":{"changes":[{"new":null,"old":null}]}}`, `{"push":{"changes":{"0":1}}}`,
		`{"changes":[{"ref":[]}]}`, `{"repository":{"project":[]}}`, `{"repository":{"full_name":{}}}`, `{"object_kind":"merge_request","object_attributes":{"last_commit":[]}}`,
		`{"message":{"data":"not base64"}}`, `{"message":{"data":"bnVsbA=="}}`, `{"message":{"data":"W10="}}`, `{"message":{"data":{}}}`,
	)
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, _ string) {
		path, err := r.Set(web, f.receiver)
		require.NoError(t, err)
		for _, event := range []string{"", "push", "create", "pull_request", "release", "package"} {
			if event != "" && f.header["X-GitHub-Event"] == "" {
				break
			}
			for _, body := range bodies {
				req := f.request(t, "http://hooks.example.com"+path, body)
				if event != "" {
					req.Header.Set("X-GitHub-Event", event)
				}
				require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, serve(r.Handler, req), body)
			}
		}
	})
}

func TestAttackDeepAndWideJSON(t *testing.T) {
	r := newRig(t, receive.Limits{}, nil)
	f := fixtureOf(t, "generic-hmac")
	f.receiver.Filter = "true"
	path, err := r.Set(web, f.receiver)
	require.NoError(t, err)
	const size = 3 << 20
	for name, body := range map[string]string{
		"deep lists":     strings.Repeat("[", size),
		"deep objects":   strings.Repeat(`{"":`, size/4),
		"deep, balanced": strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"many lists":     "[" + strings.Repeat("[],", size/3-1) + "1]",
		"many objects":   "[" + strings.Repeat("{},", size/3-1) + "1]",
		"many names":     `{"a":` + strings.Repeat(`0,"a":`, size/6-2) + "1}",
		"many quotes":    `["` + strings.Repeat(`\"`, size/4) + `",[` + strings.Repeat("[],", 1000) + strings.Repeat("[", 100),
	} {
		req := f.request(t, "http://hooks.example.com"+path, body)
		grown := heapGrowth(func() { require.Equal(t, http.StatusBadRequest, serve(r.Handler, req), name) })
		require.Less(t, grown, uint64(32<<20), name)
	}

	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for body, want := range map[string]int{
		deep(64): 200, deep(65): 400, // the limit, and one more
		`["` + strings.Repeat("[", 1000) + `"]`:        200, // in a string it is text
		`["` + strings.Repeat(`\"[`, 1000) + `"]`:      200,
		`["\\",` + strings.Repeat(`"[\\",`, 70) + "1]": 200,
	} {
		require.Equal(t, want, serve(r.Handler, f.request(t, "http://hooks.example.com"+path, body)), body[:min(len(body), 50)])
	}
}

// What passes every bound still fits into memory.
func TestAttackLargestBodyCostsLittle(t *testing.T) {
	f := fixtureOf(t, "generic-hmac")
	r := newRig(t, receive.Limits{}, nil)
	path, err := r.Set(web, f.receiver)
	require.NoError(t, err)
	body := "[" + strings.Repeat("{},", 120_000) + "1]"
	req := f.request(t, "http://hooks.example.com"+path, body)
	grown := heapGrowth(func() { require.Equal(t, http.StatusOK, serve(r.Handler, req)) })
	require.Less(t, grown, uint64(64<<20))
	require.NotNil(t, r.calls()[0].Body)
}

func TestAttackSlowBodies(t *testing.T) {
	f := fixtureOf(t, "github")
	h, err := receive.New(receive.Options{
		Receive: func(context.Context, receive.Request) error { return errors.New("not reached") },
		Limits:  receive.Limits{ReadTimeout: 50 * time.Millisecond},
	})
	require.NoError(t, err)
	known, err := h.Set(web, f.receiver)
	require.NoError(t, err)
	srv := httptest.NewServer(h) // which has no time limit of its own
	defer srv.Close()
	for _, path := range []string{known, "/hook/unknown"} {
		for extra, want := range map[string]int{"": http.StatusBadRequest, "Content-Encoding: gzip\r\n": http.StatusUnsupportedMediaType} {
			conn := dial(t, srv.URL)
			_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 1000\r\n\r\n{", path, extra)
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, want, resp.StatusCode)
			_, err = conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF, "the connection is over")
		}
	}
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

// The time for the body is not the time for the callback.
func TestCallbacksOutliveTheTimeForTheBody(t *testing.T) {
	const short = 50 * time.Millisecond
	f := fixtureOf(t, "generic")
	h, err := receive.New(receive.Options{
		Limits: receive.Limits{ReadTimeout: short},
		Receive: func(ctx context.Context, _ receive.Request) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(4 * short):
				return nil
			}
		},
	})
	require.NoError(t, err)
	path, err := h.Set(web, f.receiver)
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, body := range []string{f.body, ""} {
		resp, err := srv.Client().Do(f.request(t, srv.URL+path, body))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
}

// Who holds one path can keep its receiver busy, and no other.
func TestAttackSlowSendersHoldUpOneReceiver(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{Concurrent: 2, ReadTimeout: time.Second}, nil)
	held := r.set(t, f.receiver)
	other, err := r.Set(receive.Name{Name: "other"}, f.receiver)
	require.NoError(t, err)
	for range 4 {
		_, err := fmt.Fprintf(dial(t, r.url), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", strings.TrimPrefix(held, r.url))
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusOK, r.post(t, f, r.url+other, f.body))
	require.Eventually(t, func() bool { return r.post(t, f, held, f.body) == http.StatusOK }, 20*time.Second, time.Millisecond, "and not for ever")
}

func TestBusyReceiversSaySo(t *testing.T) {
	f := fixtureOf(t, "generic-hmac")
	begun, end := make(chan struct{}), make(chan struct{})
	var results []receive.Result
	h, err := receive.New(receive.Options{
		Limits:  receive.Limits{Concurrent: 1, ReadTimeout: 20 * time.Millisecond},
		Receive: func(context.Context, receive.Request) error { close(begun); <-end; return nil },
		Observe: func(o receive.Outcome) { results = append(results, o.Result) },
	})
	require.NoError(t, err)
	path, err := h.Set(web, f.receiver)
	require.NoError(t, err)
	first, second := f.request(t, "http://x"+path, f.body), f.request(t, "http://x"+path, f.body)
	var wg sync.WaitGroup
	wg.Go(func() { serve(h, first) })
	<-begun
	require.Equal(t, http.StatusServiceUnavailable, serve(h, second))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, http.StatusServiceUnavailable, serve(h, f.request(t, "http://x"+path, f.body).WithContext(ctx)))
	close(end)
	wg.Wait()
	require.Equal(t, []receive.Result{receive.Busy, receive.Busy, receive.Received}, results)
}

func TestAttackLargeHeaders(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	path, err := r.Set(web, f.receiver)
	require.NoError(t, err)
	for name, change := range map[string]func(http.Header){
		"long value":  func(h http.Header) { h.Set("X-Long", strings.Repeat("x", 256<<10)) },
		"many values": func(h http.Header) { h["X-Many"] = strings.Split(strings.Repeat("xxxxxxxxxx ", 16<<10), " ") },
	} {
		req := f.request(t, "http://hooks.example.com"+path, f.body)
		change(req.Header)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, serve(r.Handler, req), name)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, r.do(t, func() *http.Request {
			req := f.request(t, r.url+path, f.body)
			change(req.Header)
			return req
		}()).status, name)
	}
	require.Empty(t, r.calls())
}

// A captured request comes again under another id, which nobody signed.
func TestAttackReplayUnderAnotherID(t *testing.T) {
	for name, id := range map[string]string{
		"github": "X-GitHub-Delivery", "gitea": "X-Gitea-Delivery", "bitbucket server": "X-Request-Id", "nexus": "X-Nexus-Webhook-Delivery",
		"gcr": "X-Any", "acr": "X-Any", "cdevents": "X-Any",
	} {
		f := fixtureOf(t, name)
		r := newRig(t, receive.Limits{}, nil)
		url := r.set(t, f.receiver)
		require.Equal(t, http.StatusOK, r.post(t, f, url, f.body))
		req := f.request(t, url, f.body)
		req.Header.Set(id, "another")
		require.Equal(t, http.StatusOK, r.do(t, req).status)
		require.Equal(t, receive.Duplicate, r.last(t, 2).Result, name)
		require.Len(t, r.calls(), 1, name)
	}
}

func TestReplaysAreBounded(t *testing.T) {
	f := fixtureOf(t, "acr")
	r := newRig(t, receive.Limits{ReplayEntries: 2}, nil)
	url := r.set(t, f.receiver)
	post := func(id string) int {
		require.Equal(t, http.StatusOK, r.post(t, f, url, `{"id":"`+id+`","action":"push"}`))
		return len(r.calls())
	}
	require.Equal(t, 1, post("a"))
	require.Equal(t, 2, post("b"))
	require.Equal(t, 3, post("c")) // the oldest is forgotten
	require.Equal(t, 3, post("b"))
	require.Equal(t, 3, post("c"))
	require.Equal(t, 4, post("a"))
	require.Equal(t, http.StatusBadRequest, r.post(t, f, url, `{"id":"`+strings.Repeat("x", 1025)+`","action":"push"}`))
}

// Of two deliveries that come together the second one waits, and is taken where the
// first one failed.
func TestAttackTheSameDeliveryTwiceAtOnce(t *testing.T) {
	for name, firstErr := range map[string]error{"the first succeeds": nil, "the first fails": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			f := fixtureOf(t, "github")
			begun, end := make(chan struct{}), make(chan struct{})
			calls := 0
			results := make(chan receive.Result, 2)
			h, err := receive.New(receive.Options{
				Observe: func(o receive.Outcome) { results <- o.Result },
				Receive: func(context.Context, receive.Request) error {
					if calls++; calls > 1 {
						return nil
					}
					close(begun)
					<-end
					return firstErr
				},
			})
			require.NoError(t, err)
			path, err := h.Set(web, f.receiver)
			require.NoError(t, err)
			first, second := f.request(t, "http://x"+path, f.body), f.request(t, "http://x"+path, f.body)
			var wg sync.WaitGroup
			wg.Go(func() { serve(h, first) })
			<-begun
			waiting, hangUp := context.WithCancel(t.Context())
			hangUp()
			require.Equal(t, http.StatusServiceUnavailable, serve(h, second.WithContext(waiting)), "who hangs up waits for nothing")
			require.Equal(t, receive.Busy, <-results)
			second = f.request(t, "http://x"+path, f.body)
			wg.Go(func() { serve(h, second) })
			close(end)
			wg.Wait()
			got := []receive.Result{<-results, <-results}
			if firstErr == nil {
				require.ElementsMatch(t, []receive.Result{receive.Received, receive.Duplicate}, got)
				require.Equal(t, 1, calls)
				return
			}
			require.ElementsMatch(t, []receive.Result{receive.Failed, receive.Received}, got)
			require.Equal(t, 2, calls)
		})
	}
}

func TestPanicsOfCallbacksHoldNothing(t *testing.T) {
	f := fixtureOf(t, "github")
	calls := 0
	h, err := receive.New(receive.Options{
		Limits: receive.Limits{Concurrent: 1},
		Receive: func(context.Context, receive.Request) error {
			if calls++; calls == 1 {
				panic("a mistake of the controller")
			}
			return nil
		},
	})
	require.NoError(t, err)
	path, err := h.Set(web, f.receiver)
	require.NoError(t, err)
	require.Panics(t, func() { serve(h, f.request(t, "http://x"+path, f.body)) })
	require.Equal(t, http.StatusOK, serve(h, f.request(t, "http://x"+path, f.body)))
	require.Equal(t, 2, calls, "it was not taken before")
}

func TestAttackExpensiveFilters(t *testing.T) {
	for _, filter := range []string{
		`req.list.all(a, req.list.all(b, req.list.all(c, a + b + c >= 0)))`,
		`req.list.map(a, req.list.map(b, req.list)).size() > 0`,
		`req.text.split("").size() > 0`,
		`req.list.map(a, req.some.split("")).size() > 0 && req.list.all(a, req.list.map(b, req.some.split("")).size() > 0)`,
		`req.text.matches("(a*)*(a*)*(a*)*b") || req.list.all(a, req.text.matches("(a|aa)+$"))`,
	} {
		f := fixtureOf(t, "generic-hmac")
		f.receiver.Filter = filter
		r := newRig(t, receive.Limits{}, nil)
		path, err := r.Set(web, f.receiver)
		require.NoError(t, err)
		body := `{"list":[` + strings.Repeat("1,", 2000) + `1],"text":"` + strings.Repeat("a", 100_000) + `","some":"` + strings.Repeat("a", 1000) + `"}`
		req := f.request(t, "http://x"+path, body)
		grown := heapGrowth(func() { require.Equal(t, http.StatusBadRequest, serve(r.Handler, req), filter) })
		require.Less(t, grown, uint64(256<<20), filter)
		require.Equal(t, receive.FilterFailed, r.last(t, 1).Result)
		require.Less(t, len(r.last(t, 1).Err.Error()), 400)
	}
}

func TestSplitIsPaidFor(t *testing.T) {
	f := fixtureOf(t, "generic-hmac")
	f.receiver.Filter = `req.text.split("").size() == 1000`
	body := `{"text":"` + strings.Repeat("a", 1000) + `"}`
	for cost, want := range map[uint64]receive.Result{900: receive.FilterFailed, 2000: receive.Received} {
		r := newRig(t, receive.Limits{FilterCost: cost}, nil)
		r.post(t, f, r.set(t, f.receiver), body)
		require.Equal(t, want, r.last(t, 1).Result)
	}
}

// Joined, the names of two receivers can be the same, and so would be their path.
func TestAttackPathOfAnotherReceiver(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	_, err := r.Set(receive.Name{Namespace: "shop", Name: "web"}, f.receiver)
	require.NoError(t, err)
	_, err = r.Set(receive.Name{Namespace: "hop", Name: "webs"}, f.receiver)
	require.ErrorIs(t, err, receive.ErrPathTaken)
	r.Delete(receive.Name{Namespace: "hop", Name: "webs"})
	require.Equal(t, http.StatusOK, r.post(t, f, r.url+receive.Path(f.receiver.Secret, "web", "shop"), f.body), "it is still the first one's")
	require.Equal(t, web, r.calls()[0].Receiver)
}

func TestAttackCDEventsThatAreNone(t *testing.T) {
	f := fixtureOf(t, "cdevents")
	r := newRig(t, receive.Limits{}, nil)
	url := r.set(t, f.receiver)
	for what, replace := range map[string][2]string{
		"no id":          {`"id":"271069a8-fc18-44f1-b38f-9d70a1695819",`, ``},
		"another id":     {`"id":"271069a8`, `"id":"371069a8`},
		"no source":      {`"source":"/ci/shop","type":"dev`, `"type":"dev`},
		"another source": {`"source":"/ci/shop","type":"dev`, `"source":"/ci/evil","type":"dev`},
		"no version":     {`"version":"0.4.1",`, ``},
		"no timestamp":   {`,"timestamp":"2026-08-01T12:00:00Z"`, ``},
		"a bad time":     {`2026-08-01T12:00:00Z`, `yesterday`},
		"another type":   {`artifact.published`, `artifact.signed`},
		"no subject":     {`"subject"`, `"object"`},
		"no subject id":  {`"subject":{"id"`, `"subject":{"name"`},
		"no content":     {`"content":{}`, `"content":1`},
	} {
		body := strings.Replace(f.body, replace[0], replace[1], 1)
		require.NotEqual(t, f.body, body, what)
		require.Equal(t, http.StatusBadRequest, r.post(t, f, url, body), what)
	}
	for name, value := range map[string]string{"Ce-Specversion": "0.3", "Ce-Type": "", "Content-Type": "application/cloudevents-batch+json"} {
		req := f.request(t, url, f.body)
		req.Header.Set(name, value)
		require.Equal(t, http.StatusBadRequest, r.do(t, req).status, name)
	}
	odd := strings.ReplaceAll(f.body, "dev.cdevents.artifact.published.0.2.0", "com.example.thing")
	req := f.request(t, url, odd)
	req.Header.Set("Ce-Type", "com.example.thing")
	require.Equal(t, http.StatusBadRequest, r.do(t, req).status)
	require.Empty(t, r.calls())
}

// Receivers change while requests come in.
func TestReceiversChangeWhileTheyServe(t *testing.T) {
	r := newRig(t, receive.Limits{}, nil)
	f := fixtureOf(t, "github")
	oidc := fixtureOf(t, "generic-oidc")
	path, err := r.Set(web, f.receiver)
	require.NoError(t, err)
	var wg sync.WaitGroup
	const rounds = 40
	for i := range 4 {
		wg.Go(func() {
			for n := range rounds {
				body := fmt.Sprintf(`{"ref":"refs/heads/%d-%d"}`, i, n)
				req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
				req.Header.Set("X-GitHub-Event", "push")
				req.Header.Set("X-Hub-Signature-256", "sha256="+mac(sha256.New, secret, body))
				if code := serve(r.Handler, req); code != http.StatusOK {
					t.Errorf("a request was lost with %d", code)
				}
			}
		})
	}
	job := receive.Name{Name: "job"}
	jobs, err := r.Set(job, oidc.receiver)
	require.NoError(t, err)
	for range 2 {
		wg.Go(func() {
			for range rounds {
				if code := serve(r.Handler, oidc.request(t, "http://x"+jobs, oidc.body)); code != http.StatusOK {
					t.Errorf("a request with a token was lost with %d", code)
				}
			}
		})
	}
	wg.Go(func() {
		for n := range rounds {
			changed := f.receiver
			changed.Filter = fmt.Sprintf("ref != '%d'", n)
			if _, err := r.Set(web, changed); err != nil {
				t.Error(err)
			}
			name := receive.Name{Name: fmt.Sprint(n)}
			if _, err := r.Set(name, oidc.receiver); err != nil {
				t.Error(err)
			}
			r.Delete(name)
		}
	})
	wg.Wait()
	require.Len(t, r.calls(), 6*rounds)
	r.Delete(job)
	require.Zero(t, r.Issuers())
}
