package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = metav1.NewTime(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC))

// event returns a valid event about an object of the given name.
func event(name, message string) events.Event {
	return events.Event{
		InvolvedObject: events.ObjectReference{
			APIVersion: "example.test/v1", Kind: "App", Namespace: "shop", Name: name, UID: "uid-" + name,
		},
		Severity: events.SeverityInfo, Timestamp: noon, Message: message, Reason: "Succeeded",
		ReportingController: "app-controller",
	}
}

// memory is a sink that keeps what it takes, and first asks fail about it.
type memory struct {
	fail func(e events.Event) error

	mu    sync.Mutex
	took  []events.Event
	tried []time.Time
}

func (m *memory) Send(_ context.Context, e events.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried = append(m.tried, time.Now())
	if m.fail != nil {
		if err := m.fail(e); err != nil {
			return err
		}
	}
	m.took = append(m.took, e)
	return nil
}

// messages lists what was taken about one object, or about all.
func (m *memory) messages(name string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, e := range m.took {
		if name == "" || e.InvolvedObject.Name == name {
			all = append(all, e.Message)
		}
	}
	return all
}

func (m *memory) attempts() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]time.Time(nil), m.tried...)
}

var errAway = errors.New("the sink is away")

// failing returns a fail function for the first n attempts.
func failing(n int, err error) func(events.Event) error {
	return func(events.Event) error {
		if n > 0 {
			n--
			return err
		}
		return nil
	}
}

// blocked is a sink that takes nothing before it is released, or its context ends.
type blocked struct {
	entered chan events.Event
	release chan struct{}
}

func newBlocked() *blocked {
	return &blocked{entered: make(chan events.Event, 100), release: make(chan struct{})}
}

func (b *blocked) Send(ctx context.Context, e events.Event) error {
	b.entered <- e
	select {
	case <-b.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// record makes a recorder with one sink, called "sink", that closes with the test.
func record(t *testing.T, sink events.Sink, change ...func(*events.Options)) *events.Recorder {
	t.Helper()
	opts := events.Options{Sinks: []events.Route{{Name: "sink", Sink: sink}}}
	for _, f := range change {
		f(&opts)
	}
	rec, err := events.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rec.Close() })
	return rec
}

func emit(t *testing.T, rec *events.Recorder, all ...events.Event) {
	t.Helper()
	for _, e := range all {
		require.NoError(t, rec.Emit(e))
	}
}

func flush(t *testing.T, rec *events.Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, rec.Flush(ctx))
}

// balance checks what holds for the counters of a sink at any time.
func balance(t *testing.T, s events.SinkStats) {
	t.Helper()
	require.Equal(t, s.Accepted, s.Delivered+s.Deduplicated+s.Failed+s.Pending, "%+v", s)
}

// outcomes are the counters of a sink without those of time.
func outcomes(rec *events.Recorder, sink string) events.SinkStats {
	s := rec.Stats().Sinks[sink]
	s.Attempts, s.SendTime, s.Latency, s.PendingBytes, s.Failing = 0, 0, 0, 0, 0
	return s
}

func numbered(name string, n int) []events.Event {
	var all []events.Event
	for i := range n {
		all = append(all, event(name, fmt.Sprintf("%s %d", name, i)))
	}
	return all
}

func messagesOf(all []events.Event) []string {
	var m []string
	for _, e := range all {
		m = append(m, e.Message)
	}
	return m
}

// pass lets time go by in a synctest bubble, and whatever was to happen in it.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
