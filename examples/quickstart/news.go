package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gitopskit/gitopskit/events"
)

// news is where the events of the walks go: a recorder, and a webhook on
// loopback that stands for the chat room of a team.
type news struct {
	recorder *events.Recorder
	sink     *events.HTTPSink
	server   *http.Server
	done     chan error

	mu  sync.Mutex
	got []events.Event
}

func newNews() (*news, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the webhook for events: %w", err)
	}
	n := &news{done: make(chan error, 1)}
	n.server = &http.Server{Handler: n, ReadHeaderTimeout: 5 * time.Second}
	go func() { n.done <- n.server.Serve(listener) }()

	if n.sink, err = events.NewHTTPSink("http://"+listener.Addr().String(), events.HTTPOptions{}); err != nil {
		return nil, err
	}
	n.recorder, err = events.New(events.Options{
		Controller: "quickstart",
		// Every walk is told here; a controller would leave the window at its default.
		Sinks: []events.Route{{Name: "webhook", Sink: n.sink, DedupWindow: -1}},
	})
	return n, err
}

// ServeHTTP is the webhook.
func (n *news) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, err := events.Decode(r.Body, events.DecodeOptions{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, e)
	w.WriteHeader(http.StatusAccepted)
}

// received waits until everything that was emitted has arrived.
func (n *news) received(ctx context.Context) ([]events.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := n.recorder.Flush(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got, nil
}

// Close delivers what is left, also after the context ended, and ends the webhook.
func (n *news) Close() error {
	_, err := n.received(context.Background())
	err = errors.Join(err, n.recorder.Close())
	n.sink.CloseIdleConnections()
	err = errors.Join(err, n.server.Close())
	if served := <-n.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
