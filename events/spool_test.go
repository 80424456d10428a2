package events_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// away is a sink that takes nothing.
var away = events.SinkFunc(func(context.Context, events.Event) error { return errAway })

// spooled makes a recorder's one route keep what is left in dir.
func spooled(dir string) func(*events.Options) {
	return func(o *events.Options) { o.Sinks[0].Spool.Dir = dir }
}

// leave makes a recorder whose sink is away accept events, and closes it.
func leave(t *testing.T, dir string, all ...events.Event) {
	t.Helper()
	rec := record(t, away, spooled(dir))
	emit(t, rec, all...)
	require.NoError(t, rec.Close(), "all that is left is on disk")
}

func TestSpoolSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	exact := event("web", "exact")
	exact.Timestamp = metav1.NewTime(time.Unix(1_787_000_000, 123_456_789))
	exact.Metadata = map[string]string{"revision": "main@sha1:1f0c"}
	var want []events.Event
	want = append(append(append(want, numbered("web", 20)...), exact), numbered("db", 20)...)
	leave(t, dir, want[:30]...)
	leave(t, dir, want[30:]...)

	sink := &memory{}
	rec := record(t, sink, spooled(dir))
	emit(t, rec, event("web", "new"))
	flush(t, rec)
	require.Equal(t, append(append(messagesOf(numbered("web", 20)), "exact"), "new"), sink.messages("web"), "the order of one object")
	require.Equal(t, messagesOf(numbered("db", 20)), sink.messages("db"))
	for _, e := range sink.took {
		if e.Message == "exact" {
			require.True(t, e.Timestamp.Equal(&exact.Timestamp), "to the nanosecond")
			e.Timestamp = exact.Timestamp
			require.Equal(t, exact, e)
		}
	}
	require.Equal(t, events.SinkStats{Accepted: 42, Restored: 41, Delivered: 42}, outcomes(rec, "sink"))
	require.NoError(t, rec.Close())

	rec = record(t, sink, spooled(dir))
	flush(t, rec)
	require.Zero(t, rec.Stats().Sinks["sink"].Restored, "what was delivered is done")
}

func TestSpoolSaysWhatIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	rec := record(t, away, spooled(dir))
	emit(t, rec, numbered("web", 5)...)
	require.NoError(t, rec.Sync(t.Context()))
	stats := rec.Stats().Sinks["sink"]
	require.EqualValues(t, 5, stats.Pending)
	require.EqualValues(t, 5, stats.Spooled)
	require.NoError(t, stats.SpoolErr)

	require.NoError(t, rec.Close())
	require.EqualValues(t, 5, rec.Stats().Sinks["sink"].Pending, "left for the next")
	require.Zero(t, rec.Stats().Sinks["sink"].Failed)
	require.ErrorIs(t, rec.Sync(t.Context()), events.ErrClosed)
	var undelivered *events.UndeliveredError
	require.ErrorAs(t, rec.Flush(t.Context()), &undelivered)
	require.Equal(t, map[string]int{"sink": 5}, undelivered.Events)
}

func TestSyncWithoutASpool(t *testing.T) {
	rec := record(t, newBlocked())
	emit(t, rec, event("web", "one"))
	require.NoError(t, rec.Sync(t.Context()))
	require.NoError(t, (*events.Recorder)(nil).Sync(t.Context()))
}

func TestSpoolBelongsToOneRoute(t *testing.T) {
	dir := t.TempDir()
	rec := record(t, &memory{}, spooled(dir))
	_, err := events.New(events.Options{Sinks: []events.Route{
		{Name: "first", Sink: &memory{}, Spool: events.Spool{Dir: t.TempDir()}},
		{Name: "second", Sink: &memory{}, Spool: events.Spool{Dir: dir}},
	}})
	require.ErrorIs(t, err, events.ErrSpoolInUse)
	require.ErrorContains(t, err, `route "second"`)
	require.NoError(t, rec.Close())
	record(t, &memory{}, spooled(dir))
}

func TestSpoolThatCannotBeOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := events.New(events.Options{Sinks: []events.Route{{Name: "a", Sink: away, Spool: events.Spool{Dir: file}}}})
	require.ErrorContains(t, err, "not a directory")

	dir := t.TempDir()
	leave(t, dir, numbered("web", 20)...)
	_, err = events.New(events.Options{Sinks: []events.Route{{Name: "a", Sink: away, Spool: events.Spool{Dir: dir, MaxBytes: 1000}}}})
	require.ErrorContains(t, err, "raise MaxBytes")
	require.Len(t, restoredFrom(t, dir), 20, "nothing was thrown away")
}

// restoredFrom returns what a recorder finds in a spool, and delivers it.
func restoredFrom(t *testing.T, dir string) []string {
	t.Helper()
	sink := &memory{}
	rec := record(t, sink, spooled(dir))
	flush(t, rec)
	require.NoError(t, rec.Close())
	return sink.messages("")
}

func TestSpooledEventExpires(t *testing.T) {
	dir := t.TempDir()
	// The clock in the bubble is years behind the one outside.
	synctest.Test(t, func(t *testing.T) { leave(t, dir, event("web", "old")) })
	leave(t, dir, event("web", "new"))
	var failed []events.Delivery
	sink := &memory{}
	rec := record(t, sink, spooled(dir), func(o *events.Options) {
		o.OnFailed = func(d events.Delivery) { failed = append(failed, d) }
	})
	flush(t, rec)
	require.Equal(t, []string{"new"}, sink.messages(""))
	require.Len(t, failed, 1)
	require.ErrorIs(t, failed[0].Err, events.ErrExpired)
	require.Zero(t, failed[0].Attempts)
	require.Equal(t, events.SinkStats{Accepted: 2, Restored: 2, Delivered: 1, Failed: 1, Expired: 1}, outcomes(rec, "sink"))
	require.NoError(t, rec.Close())
	require.Empty(t, restoredFrom(t, dir))
}

func TestSpoolWithoutRoomHoldsUpNothing(t *testing.T) {
	dir := t.TempDir()
	gate := newBlocked()
	sink := &memory{}
	rec := record(t, nil, func(o *events.Options) {
		o.Sinks[0].Sink = events.SinkFunc(func(ctx context.Context, e events.Event) error {
			if err := gate.Send(ctx, e); err != nil {
				return err
			}
			return sink.Send(ctx, e)
		})
		o.Sinks[0].Spool = events.Spool{Dir: dir, MaxBytes: 10_000}
	})
	var all []events.Event
	for i := range 20 {
		all = append(all, event("web", fmt.Sprint(i, strings.Repeat("a", 1000))))
	}
	emit(t, rec, all...)
	require.ErrorContains(t, rec.Sync(t.Context()), "the spool is full")
	stats := rec.Stats().Sinks["sink"]
	require.ErrorContains(t, stats.SpoolErr, "the spool is full")
	require.Less(t, stats.Spooled, stats.Pending)
	require.NotZero(t, stats.Spooled)
	close(gate.release)
	flush(t, rec)
	require.Equal(t, messagesOf(all), sink.messages(""))
	require.NoError(t, rec.Sync(t.Context()), "room again")
	require.NoError(t, rec.Stats().Sinks["sink"].SpoolErr)
}

func TestCloseTellsWhatTheSpoolCouldNotKeep(t *testing.T) {
	rec := record(t, away, func(o *events.Options) {
		o.Sinks[0].Spool = events.Spool{Dir: t.TempDir(), MaxBytes: 10_000}
	})
	for i := range 10 {
		emit(t, rec, event("web", fmt.Sprint(i, strings.Repeat("a", 1000))))
	}
	err := rec.Close()
	var undelivered *events.UndeliveredError
	require.ErrorAs(t, err, &undelivered)
	stats := rec.Stats().Sinks["sink"]
	require.EqualValues(t, undelivered.Events["sink"], stats.Failed)
	require.Equal(t, stats.Pending, stats.Spooled)
	balance(t, stats)
}

// A smaller queue than before takes what was accepted once, and nothing new.
func TestSpoolThatHoldsMoreThanTheQueue(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, numbered("web", 10)...)
	rec := record(t, away, spooled(dir), func(o *events.Options) { o.QueueSize = 3 })
	require.ErrorIs(t, rec.Emit(event("web", "new")), events.ErrQueueFull)
	require.NoError(t, rec.Close())
	require.Len(t, restoredFrom(t, dir), 10)
}

func TestDamagedSpoolIsTold(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, numbered("web", 3)...)
	all, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	require.NoError(t, err)
	data, err := os.ReadFile(all[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(all[0], data[:len(data)-5], 0o600))
	sink := &memory{}
	rec := record(t, sink, spooled(dir))
	flush(t, rec)
	require.Equal(t, []string{"web 0", "web 1"}, sink.messages(""))
	require.NotZero(t, rec.Stats().Sinks["sink"].SpoolDamaged)
}

// Emit, delivery, Sync and the end at once: each event is delivered or left, and none
// is lost.
func TestSpoolInConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	var got [8]atomic.Int64
	take := events.SinkFunc(func(_ context.Context, e events.Event) error {
		var object, n int64
		_, err := fmt.Sscanf(e.Message, "object-%d %d", &object, &n)
		if last := got[object].Swap(n + 1); err != nil || last > n+1 {
			t.Errorf("%q after %d: %v", e.Message, last, err)
		}
		return nil
	})
	for round := range 5 {
		rec := record(t, take, spooled(dir), func(o *events.Options) { o.Sinks[0].Workers, o.QueueSize = 4, 10_000 })
		emitted := make(chan struct{})
		for g := range 8 {
			go func() {
				for _, e := range numbered(fmt.Sprint("object-", g), 200*(round+1))[200*round:] {
					_ = rec.Emit(e)
				}
				if err := rec.Sync(t.Context()); err != nil {
					t.Error(err)
				}
				emitted <- struct{}{}
			}()
		}
		for range 8 {
			<-emitted
		}
		require.NoError(t, rec.Close())
		balance(t, rec.Stats().Sinks["sink"])
	}
	rec := record(t, take, spooled(dir))
	flush(t, rec)
	for g := range got {
		require.EqualValues(t, 1000, got[g].Load())
	}
}
