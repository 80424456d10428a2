package ssa

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const (
	// createAttempts bounds how often an object is created anew that the server says
	// is there, and is not: one that comes and goes, or a quota that is in a hurry.
	createAttempts = 3
	// worthAList is how many objects of one place that are not on record make one
	// list request worth its cost: it spares those that exist two requests each.
	worthAList = 50
)

// create applies an object of which nobody knows whether it is there. If it is
// not, that is one request, and nothing is touched that asks to be left alone.
func (a *Applier) create(ctx context.Context, it *item) error {
	for attempt := 1; ; attempt++ {
		// Where there is nothing, nobody's fields conflict.
		res, err := a.patch(ctx, it, createOnly(it.want()), a.client.Apply)
		if !apierrors.IsConflict(err) {
			return a.settle(it, res, err)
		}
		m, getErr := a.client.GetMetadata(ctx, it.target())
		switch {
		case getErr == nil:
			return a.meet(ctx, it, m)
		case !apierrors.IsNotFound(getErr):
			return getErr
		case attempt == createAttempts:
			return err
		}
	}
}

// meet applies an object that was there before it was on record.
func (a *Applier) meet(ctx context.Context, it *item, m *metav1.PartialObjectMetadata) error {
	switch {
	case handsOff(m):
		it.ignore()
		return nil
	case it.treat.policy == IfNotPresent:
		it.change.Action = Unchanged
		return a.accept(it, kube.Applied{Meta: m})
	case a.mustMigrate(it, m):
		if err := a.migrate(ctx, it, m); err != nil {
			return err
		}
	}
	return a.send(ctx, it)
}

// createOnly makes a server-side apply fail with a conflict if the object exists:
// no object has this version, and the server asks for it only where there is one.
func createOnly(u *unstructured.Unstructured) *unstructured.Unstructured {
	return withMetadata(u, "resourceVersion", "1")
}
