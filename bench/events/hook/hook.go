// Package hook is the webhook that both sides of the benchmarks of events post to: a
// server on loopback in the process of each, which costs both the same.
package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Hook answers 202, or 503 while it is down, and knows which events it took.
type Hook struct {
	URL string

	down    atomic.Bool
	refused atomic.Int64
	server  *http.Server

	mu   sync.Mutex
	took map[string]int
}

// Start starts a hook, which ends with the process.
func Start() (*Hook, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &Hook{URL: "http://" + listener.Addr().String(), took: map[string]int{}}
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go h.server.Serve(listener) //nolint:errcheck // it ends with the process
	return h, nil
}

// Down makes the hook refuse events, or take them again.
func (h *Hook) Down(down bool) { h.down.Store(down) }

// Outage waits until the hook, which is down, has refused that many requests since it
// was called last.
func (h *Hook) Outage(ctx context.Context, requests int64) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for h.refused.Load() < requests {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	h.refused.Store(0)
	return nil
}

// ServeHTTP takes an event.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Message string `json:"message"`
	}
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if h.down.Load() {
		h.refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.mu.Lock()
	h.took[event.Message]++
	h.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

// Expect holds that a number of different events arrived since it was called last,
// each once.
func (h *Hook) Expect(want int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	took := h.took
	h.took = map[string]int{}
	for message, n := range took {
		if n > 1 {
			return fmt.Errorf("event %q arrived %d times", message, n)
		}
	}
	if len(took) != want {
		return fmt.Errorf("%d events arrived, not %d", len(took), want)
	}
	return nil
}

// Object names the object of an event: there are a hundred.
func Object(event int) string { return fmt.Sprint("app-", event%100) }

// Messages are what a controller says, different for each event from a number on. They
// are made beforehand, since making them is not what is measured.
func Messages(from, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("applied revision main@sha1:%040x: Deployment/shop/web configured, Service/shop/web unchanged", from+i)
	}
	return all
}

// Callers is how many reconciles report at once.
const Callers = 8

// Slowest has each of the callers report one event, and returns how long the slowest of
// them waited.
func Slowest(emit func(event int)) time.Duration {
	waits := make([]time.Duration, Callers)
	var callers sync.WaitGroup
	for i := range Callers {
		callers.Go(func() {
			started := time.Now()
			emit(i)
			waits[i] = time.Since(started)
		})
	}
	callers.Wait()
	var slowest time.Duration
	for _, w := range waits {
		slowest = max(slowest, w)
	}
	return slowest
}

// Shared has the callers report a number of events between them.
func Shared(events int, emit func(event int)) {
	var callers sync.WaitGroup
	for i := range Callers {
		callers.Go(func() {
			for event := i; event < events; event += Callers {
				emit(event)
			}
		})
	}
	callers.Wait()
}
