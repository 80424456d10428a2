package hooktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/events"
)

// Canary has to be part of every secret that a provider is given, and of no error.
const Canary = "canary-5c1d9e"

// Provider is one kind of sink and what its platform expects of it.
type Provider struct {
	Name string
	// New makes the sink for the server at a URL that starts with http://, with
	// Canary in each secret.
	New func(server string) (events.Sink, error)
	// Event is what is sent. Zero means Event().
	Event events.Event
	// OK is how the platform accepts a request.
	OK Answer

	// Asks is how many requests come before the one that is checked.
	Asks int
	// The request that the platform expects. Method empty means POST. Header holds
	// exact values; a value "-" means that there must be none. Body is JSON and is
	// compared whole, unless Check is there, which then looks at all the rest.
	Method, Path string
	Query        url.Values
	Header       map[string]string
	Body         string
	Check        func(t *testing.T, r Request)

	// Final and Retry are further answers of the platform and what they mean. 401,
	// 404, 429 and 503 are tried with each provider.
	Final, Retry []Answer
}

// Event is an event with a bit of everything in it.
func Event() events.Event {
	return events.Event{
		InvolvedObject: events.ObjectReference{
			APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "shop", Name: "web", UID: "uid-web",
		},
		Severity:  events.SeverityError,
		Timestamp: metav1.NewTime(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)),
		Message:   "health check failed: <Deployment> \"shop/web\" & *more* @all",
		Reason:    "HealthCheckFailed",
		Metadata: map[string]string{
			"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1f0c",
			"kustomize.toolkit.fluxcd.io/token":    "internal",
			"env":                                  "prod",
		},
		ReportingController: "kustomize-controller",
		ReportingInstance:   "kustomize-controller-0",
	}
}

// Conform tries everything that a provider has to get right.
func Conform(t *testing.T, p Provider) {
	if p.Event.Message == "" {
		p.Event = Event()
	}
	t.Run("request", func(t *testing.T) { p.accepted(t) })
	t.Run("answers", func(t *testing.T) { p.answers(t) })
	t.Run("endless answers", func(t *testing.T) { p.endless(t) })
	t.Run("redirect to another host", func(t *testing.T) { p.redirect(t) })
	t.Run("slow header", func(t *testing.T) { p.slow(t) })
	t.Run("no secret is printed", func(t *testing.T) { p.printed(t) })
}

func (p Provider) sink(t *testing.T, server string) events.Sink {
	t.Helper()
	sink, err := p.New(server)
	require.NoError(t, err)
	if c, ok := sink.(interface{ CloseIdleConnections() }); ok {
		t.Cleanup(c.CloseIdleConnections)
	}
	return sink
}

func (p Provider) accepted(t *testing.T) {
	server := Start(t, p.OK)
	require.NoError(t, p.sink(t, server.URL).Send(t.Context(), p.Event))
	all := server.Requests()
	require.Len(t, all, p.Asks+1)
	got := all[p.Asks]
	method := p.Method
	if method == "" {
		method = http.MethodPost
	}
	require.Equal(t, method, got.Method)
	require.Equal(t, p.Path, got.Path)
	if p.Query == nil {
		p.Query = url.Values{}
	}
	require.Equal(t, p.Query, got.Query)
	for name, value := range p.Header {
		if value == "-" {
			value = ""
		}
		require.Equal(t, value, got.Header.Get(name), name)
	}
	if p.Body != "" {
		require.JSONEq(t, p.Body, got.Body)
	}
	if p.Check != nil {
		p.Check(t, got)
	}
	require.True(t, p.Body != "" || p.Check != nil, "the body is checked")
}

func (p Provider) answers(t *testing.T) {
	final := append([]Answer{{Status: 401}, {Status: 404}}, p.Final...)
	retry := append([]Answer{
		{Status: 429, Header: map[string]string{"Retry-After": "7"}, Wait: 7 * time.Second},
		{Status: 503},
	}, p.Retry...)
	finals := len(final)
	for i, a := range append(final, retry...) {
		a.Body += " " // a body that is not JSON must not matter where there is none
		server := Start(t, a)
		err := p.sink(t, server.URL).Send(t.Context(), p.Event)
		final, wait := failed(t, err)
		require.Equal(t, i < finals, final, "%+v: %v", a, err)
		require.Equal(t, a.Wait, wait, "%+v: %v", a, err)
	}
	echo := p.sink(t, Start(t, Answer{Status: 400, Body: `{"ok":false,"error":"` + Canary + `","description":"` + Canary + `"}`}).URL)
	failed(t, echo.Send(t.Context(), p.Event))
}

func (p Provider) endless(t *testing.T) {
	for _, status := range []string{"200 OK", "400 Bad Request", "429 Too Many Requests"} {
		took := make(chan int64, 100)
		err := p.sink(t, Hostile(t, Endless(status, took))).Send(t.Context(), p.Event)
		require.Less(t, <-took, int64(64<<20), "the connection was closed: only buffers were filled")
		if status != "200 OK" || err != nil {
			failed(t, err)
		}
	}
}

func (p Provider) redirect(t *testing.T) {
	thief := Start(t, p.OK)
	for _, target := range []string{thief.URL + "/" + Canary, "http://169.254.169.254/latest/meta-data"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			server := Start(t, Answer{Status: status, Header: map[string]string{"Location": target}})
			final, _ := failed(t, p.sink(t, server.URL).Send(t.Context(), p.Event))
			require.True(t, final, "%d to %s", status, target)
		}
	}
	require.Empty(t, thief.Requests())
}

func (p Provider) slow(t *testing.T) {
	entered, hold := make(chan struct{}, 1), make(chan struct{})
	t.Cleanup(func() { close(hold) })
	sink := p.sink(t, Hostile(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
		entered <- struct{}{}
		<-hold
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-entered
		cancel()
	}()
	err := sink.Send(ctx, p.Event)
	require.ErrorIs(t, err, context.Canceled)
	final, _ := failed(t, err)
	require.False(t, final)
}

func (p Provider) printed(t *testing.T) {
	sink := p.sink(t, "http://127.0.0.1:1")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, sink), Canary)
	}
	failed(t, sink.Send(t.Context(), p.Event)) // nobody listens there
}

// failed checks an error as each provider should return it, and returns whether it is
// final and how long to wait otherwise.
func failed(t *testing.T, err error) (final bool, wait time.Duration) {
	t.Helper()
	var fail *events.SendError
	require.ErrorAs(t, err, &fail)
	for ; err != nil; err = errors.Unwrap(err) {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), Canary)
	}
	return fail.Terminal(), fail.RetryAfter()
}
