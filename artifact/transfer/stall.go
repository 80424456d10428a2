package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// stallBytes have to come in each stall time, so that a server cannot hold a
// download up with a byte now and then.
const stallBytes = 128 << 10

var errStalled = errors.New("the server sends too little")

// watch ends a request whose server takes too long. Only the time that is spent
// waiting for the server counts.
type watch struct {
	ctx    context.Context //nolint:containedctx // of the one request
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
	since  time.Time
	spent  time.Duration
	bytes  int64
}

func newWatch(ctx context.Context, cancel context.CancelCauseFunc, limit time.Duration) *watch {
	w := &watch{ctx: ctx, cancel: cancel, limit: limit}
	w.timer = time.AfterFunc(limit, func() { cancel(errStalled) })
	w.timer.Stop()
	return w
}

func (w *watch) start() {
	w.since = time.Now()
	w.timer.Reset(w.limit - w.spent)
}

func (w *watch) stop() {
	w.timer.Stop()
	w.spent += time.Since(w.since)
}

// done begins a new measurement.
func (w *watch) done() { w.spent, w.bytes = 0, 0 }

// explain tells why a request was ended, if it was.
func (w *watch) explain(err error) error {
	if w.ctx.Err() == nil || err == nil {
		return err
	}
	cause := context.Cause(w.ctx)
	if errors.Is(cause, errStalled) {
		return fmt.Errorf("%w: less than %d KiB in %v", errStalled, stallBytes>>10, w.limit)
	}
	return cause
}

// body is the body of an answer, under watch.
type body struct {
	io.ReadCloser
	watch *watch
}

func (b *body) Read(p []byte) (int, error) {
	b.watch.start()
	n, err := b.ReadCloser.Read(p)
	b.watch.stop()
	if b.watch.bytes += int64(n); b.watch.bytes >= stallBytes {
		b.watch.done()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = lost(b.watch.explain(err), "")
	}
	return n, err
}

// close also ends the request, if the body is not at its end.
func (b *body) close() {
	b.watch.timer.Stop()
	b.watch.cancel(nil)
	_ = b.ReadCloser.Close()
}
