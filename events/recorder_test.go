package events_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEmitReachesEverySink(t *testing.T) {
	a, b := &memory{}, &memory{}
	rec := record(t, a, func(o *events.Options) {
		o.Sinks = append(o.Sinks, events.Route{Name: "other", Sink: b})
	})
	want := event("web", "applied")
	emit(t, rec, want)
	flush(t, rec)
	require.Equal(t, []events.Event{want}, a.took)
	require.Equal(t, []events.Event{want}, b.took)
	require.Equal(t, events.SinkStats{Accepted: 1, Delivered: 1}, outcomes(rec, "other"))
}

func TestEmitFillsWhatIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{}
		rec := record(t, sink, func(o *events.Options) { o.Controller, o.Instance = "ctrl", "ctrl-0" })
		e := event("web", "applied")
		e.Timestamp, e.ReportingController = metav1.Time{}, ""
		emit(t, rec, e)
		flush(t, rec)
		require.Equal(t, time.Now(), sink.took[0].Timestamp.Time)
		require.Equal(t, "ctrl", sink.took[0].ReportingController)
		require.Equal(t, "ctrl-0", sink.took[0].ReportingInstance)

		e.ReportingController, e.ReportingInstance = "mine", "mine-0"
		emit(t, rec, e)
		flush(t, rec)
		require.Equal(t, "mine", sink.took[1].ReportingController)
		require.Equal(t, "mine-0", sink.took[1].ReportingInstance)
	})
}

func TestEmitShortensALongMessage(t *testing.T) {
	sink := &memory{}
	rec := record(t, sink)
	emit(t, rec, event("web", strings.Repeat("é", events.MaxMessage)))
	flush(t, rec)
	got := sink.took[0].Message
	require.LessOrEqual(t, len(got), events.MaxMessage)
	require.True(t, strings.HasSuffix(got, "é [truncated]"))
}

func TestEmitKeepsNoReferenceToMetadata(t *testing.T) {
	first := events.SinkFunc(func(_ context.Context, e events.Event) error {
		e.Metadata["revision"] = "changed by a sink"
		return nil
	})
	second := &memory{}
	gate := newBlocked()
	rec := record(t, first, func(o *events.Options) {
		o.Sinks = append(o.Sinks, events.Route{Name: "second", Sink: events.SinkFunc(func(ctx context.Context, e events.Event) error {
			return errors.Join(gate.Send(ctx, e), second.Send(ctx, e))
		})})
	})
	e := event("web", "applied")
	e.Metadata = map[string]string{"revision": "main@sha1:1f0c"}
	emit(t, rec, e)
	e.Metadata["revision"] = "changed by the caller"
	close(gate.release)
	flush(t, rec)
	require.Equal(t, "main@sha1:1f0c", second.took[0].Metadata["revision"])
}

// What the caller pays has a bound in memory too, whatever the sink does.
func TestEmitAllocatesLittle(t *testing.T) {
	for name, change := range map[string]func(*events.Options){
		"memory": func(*events.Options) {},
		"spool":  spooled(t.TempDir()),
		"full":   func(o *events.Options) { o.QueueSize = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			stuck := newBlocked()
			rec := record(t, stuck, change)
			e := event("web", "applied")
			e.Metadata = map[string]string{"revision": "main@sha1:1f0c"}
			emit(t, rec, e)
			<-stuck.entered
			require.NoError(t, rec.Sync(t.Context()))
			require.LessOrEqual(t, testing.AllocsPerRun(500, func() { _ = rec.Emit(e) }), 10.0)
		})
	}
}

func TestEmitOfAHugeMessage(t *testing.T) {
	sink := &memory{}
	rec := record(t, sink)
	huge := strings.Repeat("é", 64<<20)
	used := allocated(func() { emit(t, rec, event("web", huge)) })
	require.Less(t, used, uint64(4<<20), "what is far beyond the bound is not copied")
	flush(t, rec)
	require.True(t, strings.HasSuffix(sink.took[0].Message, "é [truncated]"))
}

func TestZeroRecorder(t *testing.T) {
	var rec events.Recorder
	require.NoError(t, rec.Close())
	require.NoError(t, rec.Sync(t.Context()))
	require.NoError(t, rec.Flush(t.Context()))
	require.ErrorIs(t, rec.Emit(event("web", "one")), events.ErrClosed)
}

func TestEmitRejectsAnInvalidEvent(t *testing.T) {
	sink := &memory{}
	rec := record(t, sink)
	e := event("", "applied")
	err := rec.Emit(e)
	require.ErrorIs(t, err, events.ErrInvalid)
	var invalid *events.InvalidEventError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "involvedObject.name", invalid.Field)
	require.True(t, invalid.Terminal())
	require.EqualValues(t, 1, rec.Stats().Rejected)
	require.Zero(t, rec.Stats().Sinks["sink"])
}

func TestEmitOnNil(t *testing.T) {
	var rec *events.Recorder
	require.ErrorIs(t, rec.Emit(event("web", "applied")), events.ErrClosed)
	require.NoError(t, rec.Flush(t.Context()))
	require.NoError(t, rec.Close())
	require.Zero(t, rec.Stats())
}

func TestMinSeverity(t *testing.T) {
	sinks := map[events.Severity]*memory{"": {}, "trace": {}, "info": {}, "error": {}}
	rec := record(t, &memory{}, func(o *events.Options) {
		for least, sink := range sinks {
			o.Sinks = append(o.Sinks, events.Route{Name: "from " + string(least), Sink: sink, MinSeverity: least})
		}
	})
	for _, severity := range []events.Severity{"trace", "info", "error"} {
		e := event("web", string(severity))
		e.Severity = severity
		emit(t, rec, e)
	}
	flush(t, rec)
	require.Equal(t, []string{"trace", "info", "error"}, sinks[""].messages(""))
	require.Equal(t, []string{"trace", "info", "error"}, sinks["trace"].messages(""))
	require.Equal(t, []string{"info", "error"}, sinks["info"].messages(""))
	require.Equal(t, []string{"error"}, sinks["error"].messages(""))
}

// The sink does not return before the test lets it: if Emit waited for it, or for
// room in the queue, this test would not end.
func TestEmitDoesNotWaitForABlockedSink(t *testing.T) {
	const room = 3
	stuck, free := newBlocked(), &memory{}
	rec := record(t, stuck, func(o *events.Options) {
		o.QueueSize = room
		o.Sinks = append(o.Sinks, events.Route{Name: "free", Sink: free})
	})
	all := numbered("web", 10)
	emit(t, rec, all[0])
	<-stuck.entered
	emit(t, rec, all[1:room]...)

	for i, e := range all[room:] {
		require.Eventually(t, func() bool { return rec.Stats().Sinks["free"].Pending == 0 }, 10*time.Second, time.Millisecond)
		err := rec.Emit(e)
		require.ErrorIs(t, err, events.ErrQueueFull)
		var dropped *events.DroppedError
		require.ErrorAs(t, err, &dropped)
		require.Equal(t, []string{"sink"}, dropped.Sinks, "the other sink has room")
		require.Contains(t, err.Error(), "App shop/web")
		require.EqualValues(t, i+1, rec.Stats().Sinks["sink"].Dropped)
	}
	require.EqualValues(t, room, rec.Stats().Sinks["sink"].Pending)

	close(stuck.release)
	flush(t, rec)
	require.Equal(t, events.SinkStats{Accepted: room, Dropped: 7, Delivered: room}, outcomes(rec, "sink"))
	require.Equal(t, messagesOf(all), free.messages(""))
}

func TestQueueIsBoundedInBytesToo(t *testing.T) {
	stuck := newBlocked()
	rec := record(t, stuck, func(o *events.Options) { o.QueueBytes = 100_000 })
	big := strings.Repeat("a", 30_000)
	for range 3 {
		require.NoError(t, rec.Emit(event("web", big)))
	}
	require.ErrorIs(t, rec.Emit(event("web", big)), events.ErrQueueFull)
	require.NoError(t, rec.Emit(event("web", "a small one fits")))
	close(stuck.release)
	flush(t, rec)
	require.NoError(t, rec.Emit(event("web", big+"b")), "room again")
}

func TestOnDroppedCountsEveryDrop(t *testing.T) {
	stuck := newBlocked()
	hold, entered := make(chan struct{}), make(chan struct{}, 1)
	var mu sync.Mutex
	var drops []events.Drop
	rec := record(t, stuck, func(o *events.Options) {
		o.QueueSize = 1
		o.OnDropped = func(d events.Drop) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-hold // nobody who emits may wait for this
			mu.Lock()
			defer mu.Unlock()
			drops = append(drops, d)
		}
	})
	emit(t, rec, event("web", "fits"))
	require.Error(t, rec.Emit(event("web", "dropped first")))
	<-entered
	for i := range 50 {
		require.Error(t, rec.Emit(event("web", fmt.Sprint("dropped ", i))))
	}
	close(hold)
	close(stuck.release)
	flush(t, rec)
	require.NoError(t, rec.Close())

	require.Len(t, drops, 2, "one call for each time that it was free")
	require.EqualValues(t, 51, drops[0].Count+drops[1].Count)
	require.Equal(t, "dropped 49", drops[1].Event.Message)
	for _, d := range drops {
		require.Equal(t, "sink", d.Sink)
		require.ErrorIs(t, d.Err, events.ErrQueueFull)
	}
}

func TestOrderPerObjectIsKept(t *testing.T) {
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, 2))
				var busy sync.Map
				sink := &memory{fail: func(events.Event) error {
					if random.IntN(3) == 0 {
						return errAway
					}
					return nil
				}}
				rec := record(t, sink, func(o *events.Options) {
					o.Sinks[0].Workers = workers
					o.Sinks[0].Sink = events.SinkFunc(func(ctx context.Context, e events.Event) error {
						if _, twice := busy.LoadOrStore(e.InvolvedObject.Name, true); twice {
							t.Errorf("two events about %s at once", e.InvolvedObject.Name)
						}
						defer busy.Delete(e.InvolvedObject.Name)
						timer := time.NewTimer(time.Millisecond)
						defer timer.Stop()
						<-timer.C
						return sink.Send(ctx, e)
					})
				})
				objects := []string{"a", "b", "c", "d", "e"}
				want := map[string][]events.Event{}
				for _, name := range objects {
					want[name] = numbered(name, 40)
				}
				for i := range 40 {
					for _, name := range objects {
						emit(t, rec, want[name][i])
					}
				}
				for rec.Stats().Sinks["sink"].Pending > 0 {
					pass(time.Second)
				}
				for _, name := range objects {
					require.Equal(t, messagesOf(want[name]), sink.messages(name))
				}
				stats := rec.Stats().Sinks["sink"]
				require.EqualValues(t, 200, stats.Delivered)
				require.NotZero(t, stats.Retried)
				balance(t, stats)
			})
		})
	}
}

func TestWorkersSendAtOnce(t *testing.T) {
	stuck := newBlocked()
	rec := record(t, stuck, func(o *events.Options) { o.Sinks[0].Workers = 3 })
	emit(t, rec, event("a", "1"), event("a", "2"), event("b", "1"), event("c", "1"), event("d", "1"))
	got := map[string]bool{}
	for range 3 {
		got[(<-stuck.entered).InvolvedObject.Name] = true
	}
	require.Equal(t, map[string]bool{"a": true, "b": true, "c": true}, got)
	close(stuck.release)
	flush(t, rec)
}

func TestCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := events.Permanent(errors.New("no"))
		sink := &memory{}
		n := 0
		sink.fail = func(e events.Event) error {
			if n++; e.Message == "bad" {
				return final
			}
			if n == 1 {
				return errAway
			}
			return nil
		}
		var delivered, failed []events.Delivery
		rec := record(t, sink, func(o *events.Options) {
			o.Retry.Initial = time.Second
			o.OnDelivered = func(d events.Delivery) { delivered = append(delivered, d) }
			o.OnFailed = func(d events.Delivery) { failed = append(failed, d) }
		})
		emit(t, rec, event("web", "good"), event("web", "bad"))
		pass(time.Minute)

		require.Len(t, delivered, 1)
		require.Equal(t, "good", delivered[0].Event.Message)
		require.Equal(t, "sink", delivered[0].Sink)
		require.Equal(t, 2, delivered[0].Attempts)
		require.NoError(t, delivered[0].Err)
		require.GreaterOrEqual(t, delivered[0].Latency, time.Second/2)
		require.LessOrEqual(t, delivered[0].Latency, time.Second)

		require.Len(t, failed, 1)
		require.Equal(t, "bad", failed[0].Event.Message)
		require.Equal(t, 1, failed[0].Attempts)
		require.ErrorIs(t, failed[0].Err, final)
		require.Equal(t, events.SinkStats{Accepted: 2, Delivered: 1, Failed: 1, Retried: 1}, outcomes(rec, "sink"))
	})
}

func TestPanicsEndNothing(t *testing.T) {
	var failures []error
	var broken map[string]int
	sink := events.SinkFunc(func(_ context.Context, e events.Event) error {
		switch e.Message {
		case "value":
			panic("token=canary-5c1d")
		case "runtime":
			broken["a"]++
		}
		return nil
	})
	rec := record(t, sink, func(o *events.Options) {
		o.OnDelivered = func(events.Delivery) { panic("in OnDelivered") }
		o.OnFailed = func(d events.Delivery) {
			failures = append(failures, d.Err)
			panic("in OnFailed")
		}
	})
	emit(t, rec, event("web", "value"), event("web", "runtime"), event("web", "fine"))
	flush(t, rec)
	require.Equal(t, events.SinkStats{Accepted: 3, Delivered: 1, Failed: 2}, outcomes(rec, "sink"))
	require.NotContains(t, failures[0].Error(), "canary-5c1d", "a panic's value may hold a secret")
	require.ErrorContains(t, failures[1], "nil map")
}

func TestFlushWaitsForWhatWasAcceptedBefore(t *testing.T) {
	stuck := newBlocked()
	rec := record(t, stuck)
	emit(t, rec, event("web", "before"))
	<-stuck.entered

	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		done <- rec.Flush(t.Context())
	}()
	<-started
	select {
	case err := <-done:
		t.Fatalf("flushed with an event under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(stuck.release)
	require.NoError(t, <-done)
	require.EqualValues(t, 1, rec.Stats().Sinks["sink"].Delivered)
}

func TestFlushDoesNotWaitForWhatCameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := newBlocked()
		rec := record(t, events.SinkFunc(func(ctx context.Context, e events.Event) error {
			if e.Message == "before" {
				timer := time.NewTimer(time.Second)
				defer timer.Stop()
				<-timer.C
				return nil
			}
			return stuck.Send(ctx, e)
		}))
		emit(t, rec, event("web", "before"))
		done := make(chan error, 1)
		go func() { done <- rec.Flush(t.Context()) }()
		synctest.Wait()
		emit(t, rec, event("web", "after"))
		require.NoError(t, <-done)
		require.EqualValues(t, 1, rec.Stats().Sinks["sink"].Pending)
		close(stuck.release)
	})
}

func TestFlushTellsWhatIsLeft(t *testing.T) {
	rec := record(t, newBlocked())
	emit(t, rec, numbered("web", 3)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := rec.Flush(ctx)
	require.ErrorIs(t, err, context.Canceled)
	var undelivered *events.UndeliveredError
	require.ErrorAs(t, err, &undelivered)
	require.Equal(t, map[string]int{"sink": 3}, undelivered.Events)
	require.EqualError(t, err, "3 events (3 for sink) not delivered: context canceled")
}

func TestFlushReturnsWhenTheRecorderCloses(t *testing.T) {
	stuck := newBlocked()
	rec := record(t, stuck)
	emit(t, rec, event("web", "one"))
	<-stuck.entered
	done := make(chan error, 1)
	go func() { done <- rec.Flush(t.Context()) }()
	require.Error(t, rec.Close())
	require.ErrorIs(t, <-done, events.ErrClosed)
}

func TestFlushNeedsNoEvents(t *testing.T) {
	rec := record(t, &memory{})
	flush(t, rec)
	flush(t, rec)
}

// holding is a sink that holds events back until it is flushed.
type holding struct {
	memory
	flushed atomic.Int64
	err     atomic.Pointer[error]
}

func (h *holding) Flush(context.Context) error {
	h.flushed.Add(1)
	if err := h.err.Load(); err != nil {
		return *err
	}
	return nil
}

func TestFlusherIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &holding{}
		rec := record(t, sink)
		pass(5 * events.FlushInterval)
		require.Zero(t, sink.flushed.Load(), "nothing was sent")

		emit(t, rec, event("web", "one"))
		pass(events.FlushInterval + time.Second)
		require.EqualValues(t, 1, sink.flushed.Load())
		pass(5 * events.FlushInterval)
		require.EqualValues(t, 1, sink.flushed.Load(), "nothing was sent since")

		require.NoError(t, rec.Flush(t.Context()))
		require.EqualValues(t, 2, sink.flushed.Load())

		sink.err.Store(&errAway)
		emit(t, rec, event("web", "two"))
		pass(2*events.FlushInterval + time.Second)
		require.EqualValues(t, 4, sink.flushed.Load(), "a flush that failed is repeated")
		require.ErrorIs(t, rec.Flush(t.Context()), errAway)
	})
}

func TestCloseInterruptsAndTellsWhatIsLeft(t *testing.T) {
	stuck := newBlocked()
	var left []string
	rec := record(t, stuck, func(o *events.Options) {
		o.OnFailed = func(d events.Delivery) {
			require.ErrorIs(t, d.Err, events.ErrClosed)
			left = append(left, d.Event.Message)
		}
	})
	all := numbered("web", 3)
	emit(t, rec, all...)
	<-stuck.entered

	err := rec.Close()
	require.ErrorIs(t, err, events.ErrClosed)
	var undelivered *events.UndeliveredError
	require.ErrorAs(t, err, &undelivered)
	require.Equal(t, map[string]int{"sink": 3}, undelivered.Events)
	require.Equal(t, messagesOf(all), left)
	require.Equal(t, err, rec.Close(), "again")

	require.ErrorIs(t, rec.Emit(event("web", "late")), events.ErrClosed)
	require.ErrorIs(t, rec.Flush(t.Context()), events.ErrClosed)
	require.Equal(t, events.SinkStats{Accepted: 3, Failed: 3, Dropped: 1}, outcomes(rec, "sink"))
}

func TestCloseAfterFlushLosesNothing(t *testing.T) {
	// The bubble fails the test if a goroutine outlives Close.
	synctest.Test(t, func(t *testing.T) {
		sink := &holding{}
		rec, err := events.New(events.Options{
			Sinks:     []events.Route{{Name: "sink", Sink: sink, Workers: 4}, {Name: "other", Sink: &memory{}}},
			OnDropped: func(events.Drop) {},
		})
		require.NoError(t, err)
		emit(t, rec, numbered("web", 10)...)
		require.NoError(t, rec.Flush(t.Context()))
		require.NoError(t, rec.Close())
		require.Len(t, sink.took, 10)
	})
}

func TestNewChecksItsOptions(t *testing.T) {
	sink := &memory{}
	for want, routes := range map[string][]events.Route{
		"sink 1 has no name":                          {{Name: "a", Sink: sink}, {Sink: sink}},
		`two sinks are named "a"`:                     {{Name: "a", Sink: sink}, {Name: "a", Sink: sink}},
		`route "a" has no sink`:                       {{Name: "a"}},
		`severity "warn" is not trace, info or error`: {{Name: "a", Sink: sink, MinSeverity: "warn"}},
	} {
		_, err := events.New(events.Options{Sinks: routes})
		require.ErrorContains(t, err, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	sink := &memory{fail: failing(20, errAway)}
	rec := record(t, sink, func(o *events.Options) {
		o.QueueSize = 50
		o.Retry.Initial, o.Retry.Max = time.Microsecond, time.Millisecond
		o.Sinks[0].Workers = 4
		o.OnDropped = func(events.Drop) {}
	})
	var emitting sync.WaitGroup
	var accepted, dropped atomic.Uint64
	for g := range 8 {
		emitting.Go(func() {
			for _, e := range numbered(fmt.Sprint("object-", g), 200) {
				if err := rec.Emit(e); err == nil {
					accepted.Add(1)
				} else {
					dropped.Add(1)
				}
				balance(t, rec.Stats().Sinks["sink"])
			}
			flush(t, rec)
		})
	}
	emitting.Wait()
	stats := rec.Stats().Sinks["sink"]
	require.Equal(t, accepted.Load(), stats.Accepted)
	require.Equal(t, dropped.Load(), stats.Dropped)
	require.Equal(t, accepted.Load(), stats.Delivered)
	require.Len(t, sink.took, int(accepted.Load()))
}
