// Command ours is our side of the benchmarks of events.
package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/gitopskit/gitopskit/bench/events/hook"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/events"
)

func main() {
	runtime.GOMAXPROCS(2)
	side.Main(map[string]side.Setup{
		"events/emit":       emit(500),
		"events/emit-503":   refused,
		"events/throughput": throughput(5000),
	})
}

// recorder is a recorder that posts to a hook. Events have numbers of their own, over
// all rounds.
type recorder struct {
	*events.Recorder
	hook *hook.Hook
	next int
	said []string // of this round
	fail atomic.Pointer[error]
}

func newRecorder(size int) (*recorder, error) {
	h, err := hook.Start()
	if err != nil {
		return nil, err
	}
	sink, err := events.NewHTTPSink(h.URL, events.HTTPOptions{})
	if err != nil {
		return nil, err
	}
	rec, err := events.New(events.Options{
		Controller: "bench", Instance: "bench-0",
		Sinks:     []events.Route{{Name: "hook", Sink: sink, Workers: hook.Callers}},
		QueueSize: size,
	})
	return &recorder{Recorder: rec, hook: h}, err
}

// prepare makes the messages of a round.
func (r *recorder) prepare(count int) {
	r.said = hook.Messages(r.next, count)
	r.next += count
}

func (r *recorder) emit(event int) {
	err := r.Emit(events.Event{
		InvolvedObject: events.ObjectReference{APIVersion: "example.test/v1", Kind: "App", Namespace: "shop", Name: hook.Object(event)},
		Severity:       events.SeverityInfo,
		Reason:         "Succeeded",
		Message:        r.said[event],
		Metadata:       map[string]string{"example.test/revision": "main@sha1:1f0c"},
	})
	if err != nil {
		r.fail.Store(&err)
	}
}

// arrived waits until all of a round has arrived.
func (r *recorder) arrived(ctx context.Context) error {
	if err := r.fail.Load(); err != nil {
		return *err
	}
	return r.Flush(ctx)
}

// emit is what the caller waits for, one event after the other.
func emit(count int) side.Setup {
	return func(context.Context, side.Env) (side.Work, error) {
		r, err := newRecorder(count)
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{
			Prepare: func(context.Context) error {
				r.prepare(count)
				return nil
			},
			Do: func(context.Context) error {
				for i := range count {
					r.emit(i)
				}
				return nil
			},
			Finish: func(ctx context.Context) error {
				return errors.Join(r.arrived(ctx), r.hook.Expect(count))
			},
		}, nil
	}
}

// refused is what the slowest caller waits for while the hook answers 503. All arrives
// once it does not.
func refused(context.Context, side.Env) (side.Work, error) {
	r, err := newRecorder(100)
	if err != nil {
		return side.Work{}, err
	}
	var slowest time.Duration
	return side.Work{
		Prepare: func(context.Context) error {
			r.hook.Down(true)
			r.prepare(hook.Callers)
			return nil
		},
		// The hook is down for longer than an attempt.
		Do: func(ctx context.Context) error {
			slowest = hook.Slowest(r.emit)
			return r.hook.Outage(ctx, 3)
		},
		Took: func() time.Duration { return slowest },
		Finish: func(ctx context.Context) error {
			if err := r.hook.Expect(0); err != nil {
				return err
			}
			r.hook.Down(false)
			return errors.Join(r.arrived(ctx), r.hook.Expect(hook.Callers))
		},
	}, nil
}

// throughput is how long it takes until events of several callers have arrived.
func throughput(count int) side.Setup {
	return func(context.Context, side.Env) (side.Work, error) {
		r, err := newRecorder(count)
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{
			Prepare: func(context.Context) error {
				r.prepare(count)
				return nil
			},
			Do: func(ctx context.Context) error {
				hook.Shared(count, r.emit)
				return r.arrived(ctx)
			},
			Finish: func(context.Context) error { return r.hook.Expect(count) },
		}, nil
	}
}
