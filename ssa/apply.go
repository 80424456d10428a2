package ssa

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// A custom resource is refused for some tens of milliseconds after its definition
// was accepted. Within these bounds it is tried again.
const (
	definitionDelay    = 20 * time.Millisecond
	definitionMaxDelay = time.Second
	definitionTimeout  = 30 * time.Second
)

func (a *Applier) options() kube.ApplyOptions {
	return kube.ApplyOptions{Manager: a.manager, Force: true}
}

// applyItem brings one object about. What we applied before, and intend
// unchanged, was touched by somebody: then it is worth a look at what they did.
func (a *Applier) applyItem(ctx context.Context, it *item) {
	var err error
	if it.known && it.prev.Intent == it.entry.Intent {
		err = a.correct(ctx, it)
	} else {
		err = a.send(ctx, it)
	}
	if err != nil {
		it.change.Action = Failed
		it.change.Err = a.explain(it, err)
	}
}

// send applies an object in one request.
func (a *Applier) send(ctx context.Context, it *item) error {
	res, err := a.patch(ctx, it, a.client.Apply)
	if err != nil {
		return err
	}
	switch {
	case res.Created:
		it.change.Action = Created
		it.change.Recreated = it.known
	case it.known && it.prev.UID == res.Meta.UID && it.prev.ResourceVersion == res.Meta.ResourceVersion:
		it.change.Action = Unchanged
	default:
		it.change.Action = Configured
	}
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
	res, err := a.patch(ctx, it, a.client.ApplyFull)
	if err != nil {
		return err
	}
	it.change.Recreated = before.GetUID() != it.prev.UID
	switch {
	case res.Created:
		it.change.Action, it.change.Recreated = Created, true
	case before.GetResourceVersion() == res.Meta.ResourceVersion:
		it.change.Action = Unchanged
	default:
		it.change.Action = Configured
		it.change.Drift = drift(before, res.Object, a.manager, isSecret(it.entry.Key))
	}
	return a.accept(it, res)
}

type patchFunc func(context.Context, kube.Target, []byte, kube.ApplyOptions) (kube.Applied, error)

// patch sends an object, again and again where its definition came with the same set.
func (a *Applier) patch(ctx context.Context, it *item, send patchFunc) (kube.Applied, error) {
	res, err := send(ctx, it.target(), it.body, a.options())
	if err == nil || !it.ownDefinition() {
		return res, err
	}
	ctx, cancel := context.WithTimeout(ctx, definitionTimeout)
	defer cancel()
	for delay := definitionDelay; err != nil && notYetDefined(err); delay = min(2*delay, definitionMaxDelay) {
		select {
		case <-ctx.Done():
			return res, err
		case <-time.After(delay):
		}
		var again error
		if res, again = send(ctx, it.target(), it.body, a.options()); !errors.Is(again, context.DeadlineExceeded) {
			err = again
		}
	}
	return res, err
}

func (it *item) ownDefinition() bool {
	for _, need := range it.needs {
		if need.entry.GVK().GroupKind() == crdKind {
			return true
		}
	}
	return false
}

// notYetDefined recognises the answers of a server that has not taken up a new or
// changed definition yet.
func notYetDefined(err error) bool {
	return kube.TypeNotServed(err) || isSchemaError(err)
}

// accept records what the server answered.
func (a *Applier) accept(it *item, res kube.Applied) error {
	m := res.Meta
	it.entry.UID, it.entry.ResourceVersion, it.entry.Generation = m.UID, m.ResourceVersion, m.Generation
	it.entry.Owned = ownedDigest(m, a.manager)
	it.change.Warnings = res.Warnings
	if m.DeletionTimestamp != nil {
		return &deletingError{meta: m}
	}
	return nil
}

// deletingError says that the apply was accepted, and in vain.
type deletingError struct{ meta *metav1.PartialObjectMetadata }

func (e *deletingError) Error() string {
	return "it is being deleted; apply it again when it is gone"
}
