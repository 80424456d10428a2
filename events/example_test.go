package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/events"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// end is what a program does with its recorder when it shuts down.
func end(rec *events.Recorder) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := rec.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	if err := rec.Close(); err != nil {
		fmt.Println(err)
	}
}

// A recorder with a sink of one's own.
func Example() {
	show := events.SinkFunc(func(_ context.Context, e events.Event) error {
		fmt.Printf("%s: %s: %s\n", e.InvolvedObject, e.Reason, e.Message)
		return nil
	})
	rec, err := events.New(events.Options{
		Controller: "app-controller",
		Sinks:      []events.Route{{Name: "print", Sink: show, MinSeverity: events.SeverityInfo}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	e := events.Event{
		InvolvedObject: events.ObjectReference{APIVersion: "example.com/v1", Kind: "App", Namespace: "shop", Name: "web"},
		Severity:       events.SeverityInfo,
		Reason:         "Succeeded",
		Message:        "applied main@sha1:1f0c",
	}
	for range 3 { // said three times, heard once
		if err := rec.Emit(e); err != nil {
			fmt.Println(err)
		}
	}
	end(rec)
	stats := rec.Stats().Sinks["print"]
	fmt.Println("delivered:", stats.Delivered, "duplicates:", stats.Deduplicated)
	// Output:
	// App shop/web: Succeeded: applied main@sha1:1f0c
	// delivered: 1 duplicates: 2
}

// A webhook that is away for a moment.
func ExampleHTTPSink() {
	answers := []int{http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusAccepted}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := events.Decode(r.Body, events.DecodeOptions{})
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Println("got:", e.Message, "- answer:", answers[0])
		w.WriteHeader(answers[0])
		answers = answers[1:]
	}))
	defer server.Close()

	hook, err := events.NewHTTPSink(server.URL, events.HTTPOptions{HMACKey: []byte("shared with the server")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hook.CloseIdleConnections()
	rec, err := events.New(events.Options{
		Sinks: []events.Route{{Name: "hook", Sink: hook}},
		Retry: events.Retry{Initial: time.Millisecond},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := rec.Emit(event("web", "applied")); err != nil {
		fmt.Println(err)
	}
	end(rec)
	// Output:
	// got: applied - answer: 503
	// got: applied - answer: 502
	// got: applied - answer: 202
}

// What one process could not deliver, the next one does.
func ExampleSpool() {
	dir, err := os.MkdirTemp("", "spool-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	start := func(sink events.SinkFunc) *events.Recorder {
		rec, err := events.New(events.Options{
			Sinks: []events.Route{{Name: "hook", Sink: sink, Spool: events.Spool{Dir: dir}}},
		})
		if err != nil {
			fmt.Println(err)
		}
		return rec
	}

	rec := start(func(context.Context, events.Event) error { return errors.New("away") })
	if err := rec.Emit(event("web", "applied")); err != nil {
		fmt.Println(err)
	}
	fmt.Println("close:", rec.Close(), "left on disk:", rec.Stats().Sinks["hook"].Spooled)

	rec = start(func(_ context.Context, e events.Event) error {
		fmt.Println("delivered:", e.Message)
		return nil
	})
	end(rec)
	// Output:
	// close: <nil> left on disk: 1
	// delivered: applied
}

// What is dropped is known.
func ExampleDroppedError() {
	release := make(chan struct{})
	slow := events.SinkFunc(func(context.Context, events.Event) error {
		<-release
		return nil
	})
	rec, err := events.New(events.Options{
		Sinks:     []events.Route{{Name: "slow", Sink: slow}},
		QueueSize: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		close(release)
		end(rec)
	}()

	fmt.Println(rec.Emit(event("web", "first")))
	err = rec.Emit(event("web", "second"))
	var dropped *events.DroppedError
	if errors.As(err, &dropped) {
		fmt.Println(dropped.Sinks, dropped.Err)
	}
	// Output:
	// <nil>
	// [slow] the queue is full
}

func ExampleEvent() {
	wire, err := json.Marshal(events.Event{
		InvolvedObject:      events.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: "shop"},
		Severity:            events.SeverityError,
		Timestamp:           metav1.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC),
		Message:             "quota exceeded",
		Reason:              "ApplyFailed",
		Metadata:            map[string]string{"revision": "main@sha1:1f0c"},
		ReportingController: "app-controller",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.ReplaceAll(string(wire), `,"`, ",\n \""))
	// Output:
	// {"involvedObject":{"kind":"Namespace",
	//  "name":"shop",
	//  "apiVersion":"v1"},
	//  "severity":"error",
	//  "timestamp":"2026-08-21T12:00:00Z",
	//  "message":"quota exceeded",
	//  "reason":"ApplyFailed",
	//  "metadata":{"revision":"main@sha1:1f0c"},
	//  "reportingController":"app-controller"}
}

func ExampleDecode() {
	_, err := events.Decode(strings.NewReader(`{"severity":"info"}`), events.DecodeOptions{})
	fmt.Println(errors.Is(err, events.ErrInvalid))
	fmt.Println(err)
	// Output:
	// true
	// invalid event about an unnamed object: involvedObject.kind is required
}
