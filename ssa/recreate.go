package ssa

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// DefaultRecreateTimeout is how long Apply waits for an object to be gone that it
// deleted to make it again.
const DefaultRecreateTimeout = 2 * time.Minute

const (
	goneDelay    = 20 * time.Millisecond
	goneMaxDelay = time.Second
)

// The ends of the texts by which the server says that a field cannot be changed.
// Those about an invalid value quote it before, so that only the end is the
// server's own; those that forbid a change quote nothing in their first line.
var (
	immutableValue = regexp.MustCompile(`^Invalid value: (?s:.*): (?:field is immutable|[\w.\x60' ]*\bis immutable\.?|cannot change roleRef|may not change once set|may not be changed in an update)$`)
	immutableField = regexp.MustCompile(`^Forbidden: (?:.*\bimmutable\b|updates to .* are forbidden|.*\bmay not (?:change|be changed|update)\b)`)
)

// immutable recognises an answer that says of nothing but fields that they cannot
// be changed. With a plain validation error among them, a new object would be
// refused as well.
func immutable(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	causes := status.Status().Details.Causes
	for _, c := range causes {
		if strings.HasPrefix(c.Field, "metadata") || !saysImmutable(c) {
			return false
		}
	}
	return len(causes) > 0
}

func saysImmutable(c metav1.StatusCause) bool {
	if c.Type == metav1.CauseTypeFieldValueInvalid {
		return immutableValue.MatchString(c.Message)
	}
	first, _, _ := strings.Cut(c.Message, "\n")
	return c.Type == metav1.CauseTypeForbidden && immutableField.MatchString(first)
}

// mayRecreate says why an object must not be deleted to be made again, whatever
// the policy: too much would go with it, or it is somebody else's.
func (it *item) mayRecreate(live metav1.Object) error {
	k := it.entry.Key
	owner, ours := live.GetLabels()[gc.OwnerLabel], it.want().GetLabels()[gc.OwnerLabel]
	switch {
	case k.Group == "" && k.Kind == "Namespace", it.entry.GVK().GroupKind() == crdKind:
		return errors.New("it is not recreated, because all that it holds would be deleted with it")
	case k.Group == "" && (k.Kind == "PersistentVolumeClaim" || k.Kind == "PersistentVolume") && !it.treat.asked:
		return errors.New("it is not recreated, because its data would be lost: ask for it by annotation on the object itself")
	case owner != "" && owner != ours:
		return fmt.Errorf("it is not recreated, because it belongs to the set %q", clip.Quote(owner, maxQuoted))
	}
	return nil
}

// recreate deletes the object that cannot be changed, waits until it is gone, and
// makes it again. Only the very object that refused the change is deleted.
func (a *Applier) recreate(ctx context.Context, it *item, cause error) error {
	m, err := a.client.GetMetadata(ctx, it.target())
	switch {
	case apierrors.IsNotFound(err):
		return a.send(ctx, it)
	case err != nil:
		return err
	case handsOff(m):
		it.ignore()
		return nil
	}
	done, err := a.remove(ctx, it, m, cause)
	if err != nil {
		return err
	}
	it.change.Replaced = true
	if !done {
		if err := a.awaitGone(ctx, it, m); err != nil {
			return err
		}
	}
	res, err := a.patch(ctx, it, createOnly(it.want()), a.client.Apply)
	if err != nil {
		return fmt.Errorf("it was deleted to be made again, and that failed: %w", err)
	}
	return a.settle(it, res, nil)
}

// remove deletes what was looked at, or, in a dry run, asks whether it could.
func (a *Applier) remove(ctx context.Context, it *item, live metav1.Object, cause error) (done bool, err error) {
	if err := it.mayRecreate(live); err != nil {
		return false, fmt.Errorf("%w (%w)", cause, err)
	}
	uid := live.GetUID()
	opts := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: propagation(it.entry.Group)}
	if it.dryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	done, err = a.client.Delete(ctx, it.target(), opts)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("it must be deleted to be made again: %w", err)
	}
	return done, nil
}

// propagation waits for the pods of workloads, whose names and volumes the new
// ones may need, and for nothing else: that takes a working garbage collector.
func propagation(group string) *metav1.DeletionPropagation {
	p := metav1.DeletePropagationBackground
	if group == "apps" || group == "batch" {
		p = metav1.DeletePropagationForeground
	}
	return &p
}

func (a *Applier) awaitGone(ctx context.Context, it *item, m *metav1.PartialObjectMetadata) error {
	deadline := time.Now().Add(it.treat.timeout)
	for delay := goneDelay; ; delay = min(2*delay, goneMaxDelay) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
		now, err := a.client.GetMetadata(ctx, it.target())
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err == nil && now.UID != m.UID:
			return nil // somebody made it already: creating it says so
		case err == nil:
			m = now
		case !kube.Transient(err):
			return err
		}
		if time.Now().After(deadline) {
			return &deletingError{meta: m}
		}
	}
}
