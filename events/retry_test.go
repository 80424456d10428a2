package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
)

// pauses returns the time between attempts.
func pauses(attempts []time.Time) []time.Duration {
	var all []time.Duration
	for i := 1; i < len(attempts); i++ {
		all = append(all, attempts[i].Sub(attempts[i-1]))
	}
	return all
}

func TestBackOffGrowsWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{fail: failing(8, errAway)}
		rec := record(t, sink, func(o *events.Options) {
			o.Retry = events.Retry{Initial: time.Second, Max: 10 * time.Second}
		})
		emit(t, rec, event("web", "one"))
		pass(2 * time.Minute)
		require.Equal(t, []string{"one"}, sink.messages(""))
		got := pauses(sink.attempts())
		require.Len(t, got, 8)
		whole := 0
		for i, most := range []time.Duration{1, 2, 4, 8, 10, 10, 10, 10} {
			most *= time.Second
			require.GreaterOrEqual(t, got[i], most/2)
			require.LessOrEqual(t, got[i], most)
			if got[i] == most {
				whole++
			}
		}
		require.Less(t, whole, 8, "jitter")
	})
}

func TestDefaultRetryOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(30 * time.Minute)
		sink := &memory{fail: func(events.Event) error {
			if time.Now().Before(back) {
				return errAway
			}
			return nil
		}}
		rec := record(t, sink)
		var want []events.Event
		for i := range 200 {
			e := event(fmt.Sprint("object-", i%7), fmt.Sprint("message ", i))
			want = append(want, e)
			emit(t, rec, e)
		}
		pass(31 * time.Minute)
		require.ElementsMatch(t, messagesOf(want), sink.messages(""))
		require.Less(t, len(sink.attempts()), 200+30*60/15+10, "probes, not a storm")
		stats := rec.Stats().Sinks["sink"]
		require.Zero(t, stats.Failed+stats.Dropped)
	})
}

// Eight workers and a hundred objects do not knock at a dead sink eight at a time, also
// where each attempt hangs until its time is up, and nobody else pays for it.
func TestDeadSinkIsProbedByOneEventAtATime(t *testing.T) {
	for name, hang := range map[string]bool{"refuses": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var now, most, attempts atomic.Int64
				var dead atomic.Bool
				dead.Store(true)
				alive := &memory{}
				rec := record(t, events.SinkFunc(func(ctx context.Context, _ events.Event) error {
					attempts.Add(1)
					for n := now.Add(1); n > most.Load(); {
						most.Store(n)
					}
					defer now.Add(-1)
					switch {
					case !dead.Load():
						return nil
					case hang:
						<-ctx.Done()
						return ctx.Err()
					}
					return errAway
				}), func(o *events.Options) {
					o.Sinks[0].Workers = 8
					o.Sinks = append(o.Sinks, events.Route{Name: "alive", Sink: alive})
				})
				for i := range 100 {
					emit(t, rec, event(fmt.Sprint("object-", i), "one"))
				}
				synctest.Wait()
				require.Len(t, alive.took, 100, "in no time")
				pass(20 * time.Second) // what was under way when the first failed
				most.Store(0)
				attempts.Store(0)
				pass(10 * time.Minute)
				require.EqualValues(t, 1, most.Load())
				require.LessOrEqual(t, attempts.Load(), int64(10*60/15+1), "a pause of 15 s to 30 s")
				require.Positive(t, rec.Stats().Sinks["sink"].Failing)
				require.Zero(t, rec.Stats().Sinks["alive"].Failing)

				dead.Store(false)
				pass(time.Minute)
				stats := rec.Stats().Sinks["sink"]
				require.EqualValues(t, 100, stats.Delivered, "one good answer, and all workers are at it again")
				require.Zero(t, stats.Failing)
				require.Zero(t, stats.PendingBytes)
			})
		})
	}
}

// Many workers that fail at once have seen one failure: they do not make each other's
// pause longer.
func TestFailuresAtTheSameTimeAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{fail: failing(8, errAway)}
		rec := record(t, events.SinkFunc(func(ctx context.Context, e events.Event) error {
			<-time.After(time.Millisecond)
			return sink.Send(ctx, e)
		}), func(o *events.Options) { o.Sinks[0].Workers = 8 })
		for i := range 8 {
			emit(t, rec, event(fmt.Sprint("object-", i), "one"))
		}
		pass(500 * time.Millisecond / 4)
		require.Len(t, sink.attempts(), 8)
		require.Equal(t, 1, rec.Stats().Sinks["sink"].Failing)
		pass(time.Second)
		require.Len(t, sink.took, 8)
	})
}

func TestStatsForMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := failing(1, errAway)
		rec := record(t, events.SinkFunc(func(_ context.Context, e events.Event) error {
			<-time.After(time.Second)
			return fail(e)
		}), func(o *events.Options) { o.Retry = events.Retry{Initial: time.Second, Max: time.Second} })
		emit(t, rec, event("web", "one"), event("web", "two"))
		synctest.Wait()
		stats := rec.Stats().Sinks["sink"]
		require.EqualValues(t, 2, stats.Pending)
		require.Greater(t, stats.PendingBytes, int64(100))
		pass(time.Minute)
		stats = rec.Stats().Sinks["sink"]
		require.EqualValues(t, 3, stats.Attempts)
		require.EqualValues(t, 1, stats.Retried)
		require.Equal(t, 3*time.Second, stats.SendTime)
		require.GreaterOrEqual(t, stats.Latency, 2500*time.Millisecond+3500*time.Millisecond)
		require.LessOrEqual(t, stats.Latency, 3*time.Second+4*time.Second)
	})
}

func TestEventThatTheSinkCannotTakeHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{fail: func(e events.Event) error {
			if e.Message == "bad" {
				return errAway
			}
			return nil
		}}
		rec := record(t, sink, func(o *events.Options) { o.Retry.GiveUpAfter = 10 * time.Minute })
		emit(t, rec, event("web", "bad"), event("web", "behind it"))
		emit(t, rec, numbered("db", 20)...)
		pass(2 * time.Second)
		require.Len(t, sink.messages("db"), 20)
		require.Empty(t, sink.messages("web"), "the order of one object")

		pass(11 * time.Minute)
		require.Equal(t, []string{"behind it"}, sink.messages("web"))
		require.Equal(t, uint64(1), rec.Stats().Sinks["sink"].Failed)
	})
}

func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed []events.Delivery
		sink := &memory{fail: failing(1000, errAway)}
		rec := record(t, sink, func(o *events.Options) {
			o.Retry = events.Retry{Initial: time.Second, Max: time.Second, GiveUpAfter: time.Minute}
			o.OnFailed = func(d events.Delivery) { failed = append(failed, d) }
		})
		emit(t, rec, event("web", "one"))
		pass(2 * time.Minute)
		require.Len(t, failed, 1)
		require.ErrorIs(t, failed[0].Err, errAway)
		require.GreaterOrEqual(t, failed[0].Latency, time.Minute)
		require.LessOrEqual(t, failed[0].Latency, time.Minute+time.Second)
		require.Equal(t, len(sink.attempts()), failed[0].Attempts)
	})
}

func TestPermanentErrorIsNotRetried(t *testing.T) {
	require.NoError(t, events.Permanent(nil))
	for name, err := range map[string]error{
		"marked":             events.Permanent(errAway),
		"marked and wrapped": fmt.Errorf("sink: %w", events.Permanent(errAway)),
		"typed":              &events.SendError{Reason: "no", Final: true},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &memory{fail: failing(1, err)}
			rec := record(t, sink)
			emit(t, rec, event("web", "one"), event("web", "two"))
			flush(t, rec)
			require.Equal(t, []string{"two"}, sink.messages(""))
			require.Equal(t, events.SinkStats{Accepted: 2, Delivered: 1, Failed: 1}, outcomes(rec, "sink"))
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, test := range map[string]struct {
		asked, least, most time.Duration
	}{
		"as long as asked": {2 * time.Minute, 2 * time.Minute, 2*time.Minute + 12*time.Second},
		"up to the bound":  {time.Hour, 10 * time.Minute, 11 * time.Minute},
		"no busy loop":     {time.Nanosecond, 500 * time.Millisecond, 550 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &memory{fail: failing(1, fmt.Errorf("wrapped: %w", &events.SendError{After: test.asked}))}
				rec := record(t, sink, func(o *events.Options) { o.Sinks[0].Workers = 3 })
				emit(t, rec, event("web", "one"))
				synctest.Wait()
				emit(t, rec, event("db", "two"))

				done := make(chan error, 1)
				go func() { done <- rec.Flush(t.Context()) }() // must not hurry a sink that asked
				require.NoError(t, <-done)
				attempts := sink.attempts()
				require.Len(t, attempts, 3)
				require.GreaterOrEqual(t, attempts[1].Sub(attempts[0]), test.least, "whatever the object")
				require.LessOrEqual(t, attempts[2].Sub(attempts[0]), test.most)
			})
		})
	}
}

func TestFlushEndsAPauseEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{fail: failing(6, errAway)}
		rec := record(t, sink)
		emit(t, rec, event("web", "one"), event("db", "two"))
		pass(20 * time.Second)
		for len(sink.attempts()) < 6 {
			pass(time.Second)
		}
		started := time.Now()
		require.NoError(t, rec.Flush(t.Context()))
		require.Zero(t, time.Since(started))
	})
}

func TestSendIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := 1
		var ended []time.Duration
		rec := record(t, events.SinkFunc(func(ctx context.Context, _ events.Event) error {
			if hang--; hang < 0 {
				return nil
			}
			started := time.Now()
			<-ctx.Done()
			ended = append(ended, time.Since(started))
			return ctx.Err()
		}), func(o *events.Options) { o.SendTimeout = 3 * time.Second })
		emit(t, rec, event("web", "one"))
		pass(time.Minute)
		require.Equal(t, []time.Duration{3 * time.Second}, ended)
		require.Equal(t, events.SinkStats{Accepted: 1, Delivered: 1, Retried: 1}, outcomes(rec, "sink"))
	})
}

func TestDuplicatesWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{}
		rec := record(t, sink)
		e := event("web", "one")
		emit(t, rec, e, e)
		pass(events.DefaultDedupWindow - time.Second)
		later := e
		later.Timestamp.Time = later.Timestamp.Add(time.Minute)
		later.InvolvedObject.ResourceVersion = "another"
		emit(t, rec, later)
		synctest.Wait()
		require.Equal(t, []string{"one"}, sink.messages(""))
		require.Equal(t, events.SinkStats{Accepted: 3, Delivered: 1, Deduplicated: 2}, outcomes(rec, "sink"))

		pass(time.Second)
		emit(t, rec, e)
		synctest.Wait()
		require.Equal(t, []string{"one", "one"}, sink.messages(""), "the window has passed")
	})
}

func TestWhatIsNoDuplicate(t *testing.T) {
	base := event("web", "one")
	base.Metadata = map[string]string{"revision": "a", "token": "b"}
	for name, change := range map[string]func(*events.Event){
		"kind":            func(e *events.Event) { e.InvolvedObject.Kind = "Other" },
		"namespace":       func(e *events.Event) { e.InvolvedObject.Namespace = "other" },
		"name":            func(e *events.Event) { e.InvolvedObject.Name = "other" },
		"uid":             func(e *events.Event) { e.InvolvedObject.UID = "other" },
		"severity":        func(e *events.Event) { e.Severity = events.SeverityError },
		"reason":          func(e *events.Event) { e.Reason = "Other" },
		"message":         func(e *events.Event) { e.Message = "other" },
		"controller":      func(e *events.Event) { e.ReportingController = "other" },
		"metadata":        func(e *events.Event) { e.Metadata = map[string]string{"revision": "c", "token": "b"} },
		"less metadata":   func(e *events.Event) { e.Metadata = map[string]string{"revision": "a"} },
		"metadata moved":  func(e *events.Event) { e.Metadata = map[string]string{"revision": "ab", "token": ""} },
		"text that moved": func(e *events.Event) { e.Reason, e.Message = e.Reason+"o", "ne" },
	} {
		t.Run(name, func(t *testing.T) {
			sink := &memory{}
			rec := record(t, sink)
			other := base
			change(&other)
			emit(t, rec, base, other)
			flush(t, rec)
			require.Len(t, sink.took, 2)
		})
	}
}

// What was not delivered is no duplicate: otherwise a failure would silence its own
// repetition.
func TestDuplicatesAreKnownByDeliveryAlone(t *testing.T) {
	good, bad := &memory{}, &memory{fail: failing(1, events.Permanent(errors.New("no")))}
	rec := record(t, good, func(o *events.Options) {
		o.Sinks = append(o.Sinks, events.Route{Name: "bad", Sink: bad})
	})
	e := event("web", "one")
	emit(t, rec, e, e, e)
	flush(t, rec)
	require.Equal(t, events.SinkStats{Accepted: 3, Delivered: 1, Deduplicated: 2}, outcomes(rec, "sink"))
	require.Equal(t, events.SinkStats{Accepted: 3, Delivered: 1, Deduplicated: 1, Failed: 1}, outcomes(rec, "bad"))
}

// counter is a sink that counts repeats itself.
type counter struct{ memory }

func (*counter) CountsRepeats() bool { return true }

func TestDedupWindowPerRoute(t *testing.T) {
	for name, test := range map[string]struct {
		route events.Route
		want  int
	}{
		"default":                     {events.Route{Sink: &memory{}}, 1},
		"off":                         {events.Route{Sink: &memory{}, DedupWindow: -1}, 3},
		"off for a counter":           {events.Route{Sink: &counter{}}, 3},
		"on for a counter when asked": {events.Route{Sink: &counter{}, DedupWindow: time.Minute}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			delivered := 0
			rec := record(t, nil, func(o *events.Options) {
				test.route.Name = "sink"
				o.Sinks = []events.Route{test.route}
				o.OnDelivered = func(events.Delivery) { delivered++ }
			})
			e := event("web", "one")
			emit(t, rec, e, e, e)
			flush(t, rec)
			require.Equal(t, test.want, delivered)
		})
	}
}
