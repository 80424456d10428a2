package events_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gitopskit/gitopskit/events"
)

// What a reconcile pays for an event, whatever the sink does.
func BenchmarkEmit(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkEmit(b, events.Spool{}) })
	b.Run("spool", func(b *testing.B) { benchmarkEmit(b, events.Spool{Dir: b.TempDir()}) })
}

func benchmarkEmit(b *testing.B, spool events.Spool) {
	rec, err := events.New(events.Options{
		Sinks: []events.Route{{Name: "sink", DedupWindow: -1, Spool: spool, Sink: events.SinkFunc(func(context.Context, events.Event) error {
			return nil
		})}},
		QueueSize: 1 << 20,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = rec.Close() }() // interrupts what is left
	e := event("web", "applied main@sha1:1f0c")
	e.Metadata = map[string]string{"example.test/revision": "main@sha1:1f0c"}
	b.ReportAllocs()
	for b.Loop() {
		_ = rec.Emit(e) // a full queue is part of what is measured
	}
}

// From Emit to a local server and back.
func BenchmarkDeliver(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	sink, err := events.NewHTTPSink(server.URL, events.HTTPOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer sink.CloseIdleConnections()
	room := make(chan struct{}, events.DefaultQueueSize)
	rec, err := events.New(events.Options{
		Sinks:       []events.Route{{Name: "sink", DedupWindow: -1, Workers: 8, Sink: sink}},
		OnDelivered: func(events.Delivery) { <-room },
		QueueSize:   events.DefaultQueueSize + 8, // those whose delivery was told and not yet counted
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = rec.Close() }() // interrupts what is left
	objects := []events.Event{event("a", "m"), event("b", "m"), event("c", "m"), event("d", "m")}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		room <- struct{}{}
		if err := rec.Emit(objects[i%len(objects)]); err != nil {
			b.Fatal(err)
		}
	}
	if err := rec.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
