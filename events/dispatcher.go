package events

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// FlushInterval is how often a recorder flushes a sink that holds something back.
const FlushInterval = 10 * time.Second

// dispatcher takes events from a queue to a sink.
type dispatcher struct {
	name    string
	sink    Sink
	least   int // rank of the least severity that the sink wants
	workers int
	queue   *queue
	journal *journal // nil where nothing is kept on disk
	maxAge  time.Duration
	recent  *recent
	opts    Options

	sent atomic.Bool // since the sink was flushed last
}

// newDispatcher takes up what the route's spool holds. It is closed by abandon.
func newDispatcher(r Route, opts Options) (*dispatcher, error) {
	window := r.DedupWindow
	if counter, ok := r.Sink.(RepeatCounter); window == 0 && !(ok && counter.CountsRepeats()) {
		window = DefaultDedupWindow
	}
	d := &dispatcher{
		name:    r.Name,
		sink:    r.Sink,
		least:   r.MinSeverity.rank(),
		workers: orDefault(r.Workers, DefaultWorkers),
		recent:  newRecent(window),
		opts:    opts,
	}
	var old []*item
	if r.Spool.Dir != "" {
		var err error
		if d.journal, old, err = openJournal(r.Spool); err != nil {
			return nil, fmt.Errorf("events: route %q: %w", r.Name, err)
		}
		d.maxAge = orDefault(r.Spool.MaxAge, DefaultSpoolAge)
	}
	d.queue = newQueue(opts.QueueSize, opts.QueueBytes, d.journal)
	d.queue.restore(old)
	return d, nil
}

// run takes events to the sink until ctx ends, and returns when nobody is at it
// any more.
func (d *dispatcher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	for range d.workers {
		running.Go(func() { d.work(ctx) })
	}
	if flusher, ok := d.sink.(Flusher); ok {
		running.Go(func() { d.flushNowAndThen(ctx, flusher) })
	}
	if d.journal != nil {
		running.Go(func() { d.journal.run(ctx) })
	}
	running.Wait()
}

func (d *dispatcher) work(ctx context.Context) {
	for ctx.Err() == nil {
		if t, wait := d.queue.take(time.Now()); t.lane != nil {
			d.deliver(ctx, t)
		} else {
			d.idle(ctx, wait)
		}
	}
}

func (d *dispatcher) idle(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-d.queue.wake:
	case <-timer.C:
	}
}

// deliver sends an event and ends the turn.
func (d *dispatcher) deliver(ctx context.Context, t turn) {
	mark, started := t.item.event.fingerprint(), time.Now()
	switch {
	case d.maxAge > 0 && started.Sub(t.item.accepted) > d.maxAge:
		d.report(d.opts.OnFailed, t.item, t.attempt-1, ErrExpired)
		d.queue.settle(t, outcomeExpired)
		return
	case d.recent.has(mark, started):
		d.queue.settle(t, outcomeRepeated)
		return
	}
	err := d.send(ctx, t.item.event)
	now := time.Now()
	t.took = now.Sub(started)
	switch {
	case err == nil:
		d.recent.add(mark, now)
		d.sent.Store(true)
		d.report(d.opts.OnDelivered, t.item, t.attempt, nil)
		d.queue.settle(t, outcomeDelivered)
	case ctx.Err() != nil:
		d.queue.release(t) // the recorder closes, and tells how much is left
	case terminal(err), now.Sub(t.since) >= d.opts.Retry.GiveUpAfter:
		d.report(d.opts.OnFailed, t.item, t.attempt, err)
		d.queue.settle(t, outcomeFailed)
	default:
		d.queue.postpone(t, now, d.opts.Retry.grant(retryAfter(err)), d.opts.Retry.pause)
	}
}

// send calls the sink. A panic in it is a failure of this event, and no more.
func (d *dispatcher) send(ctx context.Context, e Event) (err error) {
	defer recovered("send", &err)
	ctx, cancel := context.WithTimeout(ctx, d.opts.SendTimeout)
	defer cancel()
	return d.sink.Send(ctx, e.clone())
}

func (d *dispatcher) flushNowAndThen(ctx context.Context, flusher Flusher) {
	ticker := time.NewTicker(FlushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if d.sent.Swap(false) && d.flush(ctx, flusher) != nil {
				d.sent.Store(true) // try again the next time
			}
		}
	}
}

func (d *dispatcher) flush(ctx context.Context, flusher Flusher) (err error) {
	defer recovered("flush", &err)
	ctx, cancel := context.WithTimeout(ctx, d.opts.SendTimeout)
	defer cancel()
	return flusher.Flush(ctx)
}

// settled waits until all that was accepted by now is settled, and flushes the
// sink. What is on disk by then is safe, however that ends.
func (d *dispatcher) settled(ctx context.Context) error {
	_ = d.journal.sync(ctx) // what is delivered needs no disk, for the rest there is Sync
	for _, done := range d.queue.flush() {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if flusher, ok := d.sink.(Flusher); ok {
		if err := d.flush(ctx, flusher); err != nil {
			return fmt.Errorf("flush %s: %w", d.name, err)
		}
	}
	return nil
}

// abandon counts what is left, and not kept on disk, as failed.
func (d *dispatcher) abandon() int {
	d.journal.close()
	left := d.queue.abandon()
	for _, it := range left {
		d.report(d.opts.OnFailed, it, 0, ErrClosed)
	}
	return len(left)
}

// report calls a user's function, of which a panic must not end the delivery.
func (d *dispatcher) report(f func(Delivery), it *item, attempts int, err error) {
	if f == nil {
		return
	}
	var ignored error
	defer recovered("report", &ignored)
	f(Delivery{
		Sink: d.name, Event: it.event.clone(), Attempts: attempts,
		Latency: max(time.Since(it.accepted), 0), Err: err,
	})
}

// recovered turns a panic into a permanent error. It repeats what the runtime
// says; the value of any other panic may hold anything, a secret too.
func recovered(doing string, err *error) {
	switch v := recover().(type) {
	case nil:
	case runtime.Error:
		*err = Permanent(fmt.Errorf("%s: panic in the sink: %w", doing, v))
	default:
		*err = Permanent(errors.New(doing + ": panic in the sink"))
	}
}
