package ssa

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// A custom resource is refused for some tens of milliseconds after its definition
// was accepted. Within these bounds it is tried again.
const (
	definitionDelay    = 20 * time.Millisecond
	definitionMaxDelay = time.Second
	definitionTimeout  = 30 * time.Second
	// An object that does not fit its schema may be ahead of its definition, which
	// was changed with it, or wrong. Within this time the server has caught up.
	schemaTimeout = 5 * time.Second
	// A server in trouble is asked this often again, within a tenth of a second or so.
	busyRetries = 3
	// An answer that took longer has been tried again already, when the server had
	// said, or comes from one that is better left alone.
	slowAnswer = 900 * time.Millisecond
)

// applyItem brings one object about. What we applied before, and intend
// unchanged, was touched by somebody: then it is worth a look at what they did.
func (a *Applier) applyItem(ctx context.Context, it *item) {
	defer func() { it.intent = nil }()
	err := a.bring(ctx, it)
	if it.treat.recreate && immutable(err) {
		err = a.recreate(ctx, it, err)
	}
	if err != nil {
		it.change.Action = Failed
		it.change.Err = a.explain(ctx, it, err)
		it.uncertain, it.busy = !refused(err), busy(err)
		if kube.TypeNotServed(err) {
			a.mapper.forget(it.entry.GVK()) // its definition may come back in another shape
		}
	}
}

func (a *Applier) bring(ctx context.Context, it *item) error {
	if it.resolve != nil {
		if err := a.resolve(ctx, it); err != nil {
			return err
		}
	}
	switch {
	case it.treat.policy == Ignore:
		it.ignore()
		return nil
	case it.treat.policy == IfNotPresent:
		return a.create(ctx, it)
	case len(it.adopt) > 0:
		return a.applyAdopting(ctx, it)
	case it.same():
		return a.correct(ctx, it)
	case !it.seen:
		return a.create(ctx, it)
	}
	return a.send(ctx, it)
}

// refused tells an answer that says no from an answer that was lost, or that
// leaves open what happened.
func refused(err error) bool {
	var status apierrors.APIStatus
	var conflict *ConflictError
	return errors.As(err, &conflict) || errors.As(err, &status) && !kube.Transient(err)
}

// send applies an object in one request.
func (a *Applier) send(ctx context.Context, it *item) error {
	res, err := a.deliver(ctx, it, it.want(), a.client.Apply)
	if err == nil && a.mustMigrate(it, res.Meta) { // what they own beyond the set is still there
		if err := a.migrate(ctx, it, res.Meta); err != nil {
			return err
		}
		res, err = a.deliver(ctx, it, it.want(), a.client.Apply)
	}
	return a.settle(it, res, err)
}

// settle tells from the answer what an apply did.
func (a *Applier) settle(it *item, res kube.Applied, err error) error {
	if err != nil {
		return err
	}
	switch {
	case res.Created:
		it.change.Action = Created
	case it.known && it.prev.UID == res.Meta.UID && it.prev.ResourceVersion == res.Meta.ResourceVersion:
		it.change.Action = Unchanged
	default:
		it.change.Action = Configured
	}
	it.change.Recreated = it.known && it.prev.UID != res.Meta.UID
	return a.accept(it, res)
}

// correct applies an object whose intent is what it was, and reports what others
// had changed: the difference between the object before and after.
func (a *Applier) correct(ctx context.Context, it *item) error {
	before, err := a.client.Get(ctx, it.target())
	if apierrors.IsNotFound(err) {
		return a.send(ctx, it)
	}
	if err != nil {
		return err
	}
	return a.correctFrom(ctx, it, before)
}

// correctFrom applies an object that is there.
func (a *Applier) correctFrom(ctx context.Context, it *item, before *unstructured.Unstructured) error {
	if handsOff(before) {
		it.ignore()
		return nil
	}
	if a.mustMigrate(it, before) {
		if err := a.migrate(ctx, it, before); err != nil {
			return err
		}
	}
	intent := it.want()
	if len(it.adopt) > 0 {
		intent = a.adopted(it, before)
	}
	res, err := a.deliver(ctx, it, intent, a.client.ApplyFull)
	if err != nil {
		return err
	}
	it.change.Recreated = it.known && it.prev.UID != res.Meta.UID
	switch {
	case res.Created:
		it.change.Action = Created
	case before.GetResourceVersion() == res.Meta.ResourceVersion:
		it.change.Action = Unchanged
	default:
		it.change.Action = Configured
		if !it.same() {
			break // the change is the set's own
		}
		it.change.Drift = drift(before, res.Object, a.manager, isSecret(it.entry.Key))
	}
	return a.accept(it, res)
}

func (a *Applier) options(it *item) kube.ApplyOptions {
	return kube.ApplyOptions{Manager: a.manager, Force: it.treat.conflicts == TakeOver, DryRun: it.dryRun}
}

type patchFunc func(context.Context, kube.Target, []byte, kube.ApplyOptions) (kube.Applied, error)

// patch sends an object, and again as long as the server has not taken up the
// definition that came with the same set.
func (a *Applier) patch(ctx context.Context, it *item, intent *unstructured.Unstructured, send patchFunc) (kube.Applied, error) {
	body, err := json.Marshal(intent.Object)
	if err != nil {
		return kube.Applied{}, fmt.Errorf("it cannot be encoded as JSON: %w", err)
	}
	body = escaped(body)
	start, retries := time.Now(), busyRetries
	for delay := definitionDelay; ; delay = min(2*delay, definitionMaxDelay) {
		sent := time.Now()
		res, err := send(ctx, it.target(), body, a.options(it))
		retries--
		again := retries >= 0 && busy(err) && time.Since(sent) < slowAnswer
		if err == nil || !again && time.Since(start) > it.patience(err) {
			return res, err
		}
		if kube.TypeNotServed(err) && delay == definitionMaxDelay {
			if why := a.notAccepted(ctx, it, err); why != nil {
				return res, why
			}
		}
		select {
		case <-ctx.Done():
			return res, fmt.Errorf("%w, when the last answer was: %w", ctx.Err(), err)
		case <-time.After(delay):
		}
	}
}

// busy recognises the answers of a server that is overloaded or in trouble. One
// that says what is wrong with the object, or with a webhook, is neither.
func busy(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || isTerminal(err) {
		return false
	}
	switch s := status.Status(); s.Code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusInternalServerError:
		return !strings.Contains(s.Message, "webhook")
	}
	return false
}

// escaped writes the control characters of Unicode as JSON escapes. The server
// reads the body as YAML, which refuses most of them and takes one for a line break.
func escaped(body []byte) []byte {
	if !bytes.ContainsFunc(body, isControl) {
		return body
	}
	out := make([]byte, 0, len(body)+64)
	for _, r := range string(body) {
		if isControl(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func isControl(r rune) bool {
	return r >= 0x7f && r <= 0x9f || r == 0xfeff || r == 0xfffe || r == 0xffff
}

// patience is how long an object is sent again after an error. A wrong object
// must not cost time whenever its definition happens to be in the set as well:
// only one that was just written can be behind.
func (it *item) patience(err error) time.Duration {
	if it.dryRun {
		return 0 // nothing was written that the server could be behind of
	}
	for _, need := range it.needs {
		if need.entry.GVK().GroupKind() != crdKind {
			continue
		}
		written := need.change.Action == Created || need.change.Action == Configured
		switch {
		case kube.TypeNotServed(err):
			return definitionTimeout
		case isSchemaError(err) && written:
			return schemaTimeout
		}
	}
	return 0
}

// accept records what the server answered.
func (a *Applier) accept(it *item, res kube.Applied) error {
	m := res.Meta
	it.entry.UID, it.entry.ResourceVersion, it.entry.Generation = m.UID, m.ResourceVersion, m.Generation
	it.entry.Owned = owned(ownedDigest(m, a.manager), it.definition.applied())
	it.watch.wrote(it.entry.Name, m.ResourceVersion)
	it.change.Warnings = warningsOf(it, res.Warnings)
	if m.DeletionTimestamp != nil {
		return &deletingError{meta: m}
	}
	return nil
}

// warningsOf withholds what may quote a Secret.
func warningsOf(it *item, warnings []string) []string {
	if isSecret(it.entry.Key) && len(warnings) > 0 {
		return []string{fmt.Sprintf("%d from the server (%s)", len(warnings), kube.Withheld)}
	}
	return warnings
}

// deletingError says that the apply was accepted, and in vain.
type deletingError struct{ meta *metav1.PartialObjectMetadata }

func (e *deletingError) Error() string {
	return "it is being deleted; apply it again when it is gone"
}
