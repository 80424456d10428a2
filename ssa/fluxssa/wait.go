package fluxssa

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/ssa"
)

const (
	// lookConcurrency is how many objects are looked at a time after a failed wait,
	// and lookTimeout bounds that look.
	lookConcurrency = 8
	lookTimeout     = 30 * time.Second
	// maxMessage bounds what controllers say, in bytes.
	maxMessage = 1 << 10
)

// Wait returns when every object is Current, as the manager's WaitForSet does. The
// manager does not tell what the objects that it names are: after a failure they
// are looked at once more, with one request each. The error is an
// *ssa.HealthError. Progress is called once for each object, at the end.
func (a *Applier) Wait(ctx context.Context, entries gc.Inventory, opts ssa.WaitOptions) ([]ssa.Health, error) {
	if err := checkWait(opts); err != nil {
		return nil, err
	}
	wait := a.opts.Wait
	wait.Timeout, wait.FailFast = opts.Timeout, !opts.Patient
	if wait.Timeout <= 0 {
		wait.Timeout = ssa.DefaultWaitTimeout
	}
	start := time.Now()
	err := a.manager.WaitForSetWithContext(ctx, ObjMetadataSet(entries), wait)
	health := make([]ssa.Health, len(entries))
	if err == nil {
		for i, e := range entries {
			health[i] = ssa.Health{Key: e.Key, Status: ssa.Current}
		}
	} else {
		a.look(ctx, entries, health)
		err = unhealthy(ctx, health, wait.Timeout, time.Since(start), err)
	}
	if opts.Progress != nil {
		for _, h := range health {
			opts.Progress(h)
		}
	}
	return health, err
}

// look finds the health of all objects.
func (a *Applier) look(ctx context.Context, entries gc.Inventory, health []ssa.Health) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(lookConcurrency)
	for i, e := range entries {
		g.Go(func() error {
			health[i] = a.healthOf(ctx, e)
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

func (a *Applier) healthOf(ctx context.Context, e gc.Entry) ssa.Health {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(e.GVK())
	err := a.manager.Client().Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: e.Name}, live)
	if apierrors.IsNotFound(err) {
		return ssa.Health{Key: e.Key, Status: ssa.NotFound, Message: "it does not exist"}
	}
	if err != nil {
		return ssa.Health{Key: e.Key, Status: ssa.Unknown, Message: "it cannot be read"}
	}
	res, err := status.Compute(live)
	if err != nil {
		return ssa.Health{Key: e.Key, Status: ssa.Unknown, Message: "its status cannot be read"}
	}
	return ssa.Health{Key: e.Key, Status: ssa.Status(res.Status), Message: clip.Quote(res.Message, maxMessage)}
}

// unhealthy makes the error of a wait that the manager ended, unless the last look
// found everything healthy.
func unhealthy(ctx context.Context, health []ssa.Health, timeout, spent time.Duration, err error) error {
	e := &ssa.HealthError{Total: len(health), Timeout: timeout, Err: &stoppedError{err}}
	for _, h := range health {
		if h.Status != ssa.Current {
			e.Objects = append(e.Objects, h)
		}
	}
	switch {
	case ctx.Err() != nil:
		e.Err, e.Timeout = context.Cause(ctx), spent.Round(time.Millisecond)
	case len(e.Objects) == 0:
		return nil
	case spent >= timeout:
		e.Err = errors.Join(context.DeadlineExceeded, e.Err)
	}
	return e
}

// stoppedError is the manager's error without its list of objects.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string {
	reason, _, _ := strings.Cut(e.err.Error(), ": [")
	return reason
}

// Unwrap returns the manager's error.
func (e *stoppedError) Unwrap() error { return e.err }
