package notify_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/stretchr/testify/require"
)

// What a platform says, in its own way, is what the recorder does: it waits, tries again,
// or gives up.
func TestRecorderUnderstandsPlatforms(t *testing.T) {
	answers := []struct {
		status int
		body   string
	}{
		{429, `{"ok":false,"error_code":429,"parameters":{"retry_after":1000}}`},
		{200, `{"ok":false,"error_code":500}`},
		{502, `<html>`},
		{200, `{"ok":true}`},
		{400, `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`},
	}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a := answers[min(int(asked.Add(1)), len(answers))-1]
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(server.Close)
	sink, err := notify.NewTelegram(notify.TelegramOptions{Address: server.URL, Token: canary, Channel: "1", HTTP: local})
	require.NoError(t, err)
	t.Cleanup(sink.CloseIdleConnections)
	var failed []events.Delivery
	rec, err := events.New(events.Options{
		Sinks:    []events.Route{{Name: "telegram", Sink: sink}},
		Retry:    events.Retry{Initial: time.Millisecond, MaxRetryAfter: 5 * time.Millisecond},
		OnFailed: func(d events.Delivery) { failed = append(failed, d) },
	})
	require.NoError(t, err)
	require.NoError(t, rec.Emit(event(nil)))
	require.NoError(t, rec.Emit(event(func(e *events.Event) { e.Message = "second" })))
	require.NoError(t, rec.Flush(t.Context()))
	require.NoError(t, rec.Close())
	stats := rec.Stats().Sinks["telegram"]
	require.EqualValues(t, 1, stats.Delivered)
	require.EqualValues(t, 3, stats.Retried)
	require.Len(t, failed, 1)
	require.Equal(t, 1, failed[0].Attempts)
	require.Equal(t, "second", failed[0].Event.Message)
	require.EqualValues(t, len(answers), asked.Load())
}
