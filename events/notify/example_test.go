package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
)

// failure is what happened in the examples.
var failure = events.Event{
	InvolvedObject: events.ObjectReference{
		APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "shop", Name: "web",
	},
	Severity: events.SeverityError,
	Reason:   "HealthCheckFailed",
	Message:  "Deployment shop/web is not ready",
	Metadata: map[string]string{"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1f0c"},
}

// One provider and a recorder, which tries again until Matrix is back.
func Example() {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Println(string(body))
	}))
	defer server.Close()

	matrix, err := notify.NewMatrix(notify.MatrixOptions{
		Address: server.URL, Token: "syt_secret", Channel: "!ops:example.org",
		HTTP: notify.HTTPOptions{AllowPlainHTTP: true}, // the example's server has no TLS
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer matrix.CloseIdleConnections()
	rec, err := events.New(events.Options{
		Controller: "kustomize-controller",
		Sinks:      []events.Route{{Name: "matrix", Sink: matrix, MinSeverity: events.SeverityInfo}},
		Retry:      events.Retry{Initial: time.Millisecond},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := rec.Emit(failure); err != nil {
		fmt.Println(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(rec.Flush(ctx), rec.Close()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("retried:", rec.Stats().Sinks["matrix"].Retried)
	// Output:
	// {"msgtype":"m.text","body":"[error] Kustomization shop/web: HealthCheckFailed\nDeployment shop/web is not ready\nrevision: main@sha1:1f0c","m.mentions":{}}
	// retried: 2
}

// printer stands for a recorder.
type printer string

func (p printer) Emit(e events.Event) error {
	fmt.Println(p, "hears:", e.InvolvedObject, e.Message, notify.Clean(e).Metadata)
	return nil
}

// What a notification controller does with its rules. One of them has a typing error, and
// still works without that expression.
func ExampleRouter() {
	failures, err := notify.NewSelector(notify.Rule{
		Name: "failures", Namespace: "shop",
		Sources:  []notify.Source{{Kind: "Kustomization", Name: notify.Any}},
		Severity: events.SeverityError,
		Metadata: map[string]string{"cluster": "eu-1"},
	}, notify.SelectorOptions{NoCrossNamespace: true})
	if err != nil {
		fmt.Println(err)
	}
	charts, err := notify.NewSelector(notify.Rule{
		Name: "charts", Namespace: "ops",
		Sources: []notify.Source{{Kind: "HelmRelease", Namespace: notify.Any, Name: notify.Any}},
		Exclude: []string{"(dependency", "^no change"},
	}, notify.SelectorOptions{})
	if err != nil {
		fmt.Println(err)
	}
	router, err := notify.NewRouter([]notify.Target{
		{Name: "shop/failures", Selector: failures, To: printer("shop")},
		{Name: "ops/charts", Selector: charts, To: printer("ops")},
	}, notify.RouterOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	upgraded, unchanged := failure, failure
	upgraded.InvolvedObject.Kind, upgraded.Severity, upgraded.Message = "HelmRelease", events.SeverityInfo, "upgraded"
	unchanged.InvolvedObject.Kind, unchanged.Message = "HelmRelease", "no change"
	for _, e := range []events.Event{failure, upgraded, unchanged} {
		if err := router.Send(ctx, e); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// rule ops/charts: exclusion 0 is not a regular expression: error parsing regexp: missing closing ): `(dependency`
	// shop hears: Kustomization shop/web Deployment shop/web is not ready map[cluster:eu-1 revision:main@sha1:1f0c]
	// ops hears: HelmRelease shop/web upgraded map[revision:main@sha1:1f0c]
}

// An error says what to do about it, and no secret.
func ExampleSink_Send() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"ok":false,"error":"not_in_channel"}`)
	}))
	defer server.Close()
	slack, err := notify.NewSlack(notify.SlackOptions{
		Address: server.URL, Token: "xoxb-secret", Channel: "#ops",
		HTTP: notify.HTTPOptions{AllowPlainHTTP: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer slack.CloseIdleConnections()

	var failed *events.SendError
	if err := slack.Send(context.Background(), failure); errors.As(err, &failed) {
		fmt.Println(failed.Reason)
		fmt.Println("give up:", failed.Terminal())
	}
	// Output:
	// refused: not_in_channel
	// give up: true
}
