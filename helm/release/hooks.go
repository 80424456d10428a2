package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The events of hooks.
const (
	preInstall   = "pre-install"
	postInstall  = "post-install"
	preUpgrade   = "pre-upgrade"
	postUpgrade  = "post-upgrade"
	preRollback  = "pre-rollback"
	postRollback = "post-rollback"
	preDelete    = "pre-delete"
	postDelete   = "post-delete"
	testEvent    = "test"
)

// The policies of when a hook is deleted.
const (
	beforeCreation = "before-hook-creation"
	onSuccess      = "hook-succeeded"
	onFailure      = "hook-failed"
)

// hooks runs those of a version that an event asks for, one after the other, each
// to its end. It stores when they ran.
func (j *job) hooks(ctx context.Context, step *Step, k *kept, event string, wanted func(*hook) bool) error {
	var list []*hook
	for _, h := range k.Hooks {
		if h.on(event) && (wanted == nil || wanted(h)) {
			list = append(list, h)
		}
	}
	slices.SortStableFunc(list, func(a, b *hook) int {
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Name, b.Name))
	})
	var done []*hook
	for _, h := range list {
		err := j.hook(ctx, step, k, h, event)
		if err == nil {
			done = append(done, h)
			continue
		}
		return errors.Join(err, j.deleteHooks(ctx, done, onSuccess))
	}
	return j.deleteHooks(ctx, done, onSuccess)
}

// hook runs one.
func (j *job) hook(ctx context.Context, step *Step, k *kept, h *hook, event string) error {
	if len(h.DeletePolicies) == 0 {
		h.DeletePolicies = []string{beforeCreation}
	}
	objects, err := parse(h.Manifest)
	if err != nil || len(objects) == 0 {
		return &HookError{Event: event, Object: Object{Kind: h.Kind, Name: h.Name}, Err: errors.Join(err, errors.New("its manifest holds no object"))}
	}
	obj := objects[0]
	h.LastRun = hookRun{StartedAt: now(), Phase: hookRunning}
	if err := j.store.update(ctx, k); err != nil {
		return err
	}
	step.logf("running the %s hook %s", event, objectOf(obj))
	message, err := j.runHook(ctx, h, obj)
	h.LastRun.CompletedAt, h.LastRun.Phase = now(), hookSucceeded
	if err != nil {
		h.LastRun.Phase, message = hookFailed, err.Error()
		err = &HookError{Event: event, Object: objectOf(obj), Err: err}
		step.logf("%s", err.Error())
	}
	step.Hooks = append(step.Hooks, HookResult{Event: event, Object: objectOf(obj), Phase: h.LastRun.Phase, Message: message,
		Started: h.LastRun.StartedAt.Time, Completed: h.LastRun.CompletedAt.Time})
	if err != nil {
		return errors.Join(err, j.deleteHooks(ctx, []*hook{h}, onFailure))
	}
	return nil
}

// runHook creates the object of a hook and waits for its end.
func (j *job) runHook(ctx context.Context, h *hook, obj *unstructured.Unstructured) (string, error) {
	if err := j.deleteHooks(ctx, []*hook{h}, beforeCreation); err != nil {
		return "", err
	}
	t, err := j.target(ctx, obj)
	if err != nil {
		return "", err
	}
	_, err = j.client.Dynamic.Resource(t.GroupVersionResource).Namespace(t.Namespace).Create(ctx, obj, metav1.CreateOptions{
		FieldManager: j.opts.Manager, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return "", j.fault(obj, "create", err)
	}
	return j.awaitHook(ctx, obj)
}

// deleteHooks deletes the objects of hooks that have a policy. Definitions are
// never deleted: all objects of their type would go with them.
func (j *job) deleteHooks(ctx context.Context, list []*hook, policy string) error {
	var gone []*unstructured.Unstructured
	for _, h := range slices.Backward(list) {
		if !slices.Contains(h.DeletePolicies, policy) || h.Kind == "CustomResourceDefinition" {
			continue
		}
		objects, err := parse(h.Manifest)
		if err != nil {
			return err
		}
		for _, obj := range objects {
			was, err := j.deleteHook(ctx, obj)
			if err != nil {
				return err
			}
			if was {
				gone = append(gone, obj)
			}
		}
	}
	if err := j.awaitGone(ctx, gone); err != nil {
		return fmt.Errorf("delete hooks: %w", err)
	}
	return nil
}

// deleteHook deletes the object of a hook, if it is one: an object of the same name
// that is none belongs to somebody else.
func (j *job) deleteHook(ctx context.Context, obj *unstructured.Unstructured) (bool, error) {
	t, err := j.target(ctx, obj)
	if errors.Is(err, errNoType) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m, err := j.client.GetMetadata(ctx, t)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, j.fault(obj, "read", err)
	}
	if m.Annotations[hookAnnotation] == "" {
		return false, &OwnedError{Release: j.spec.Name, Object: objectOf(obj), Reason: "it is no hook"}
	}
	policy := metav1.DeletePropagationBackground
	_, err = j.client.Delete(ctx, t, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &m.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, j.fault(obj, "delete", err)
	}
	return true, nil
}
