package release

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/releaseutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// applying is how a set of objects is made what it should be.
type applying struct {
	takeOwnership bool
	recreate      bool
	step          *Step
	mu            sync.Mutex
	live          []LiveObject
	awaitTypes    bool // the set brings types of its own
}

// change notes what became of an object.
func (a *applying) change(c Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.step.Objects = append(a.step.Objects, c)
}

// typesPatience is how long a type that the set itself brings is waited for.
const typesPatience = 20 * time.Second

// apply makes objects what they should be, those of one kind at a time, and then
// deletes the previous ones that are not among them.
func (j *job) apply(ctx context.Context, a *applying, objects, previous []*unstructured.Unstructured) error {
	a.awaitTypes = slices.ContainsFunc(objects, isDefinition)
	for _, group := range inOrder(objects, releaseutil.InstallOrder) {
		err := j.each(ctx, group, func(ctx context.Context, obj *unstructured.Unstructured) error {
			return j.applyOne(ctx, a, obj)
		})
		if err != nil {
			return err
		}
	}
	return j.deleteSurplus(ctx, a.step, objects, previous)
}

// each calls f for objects, some at a time, and returns all errors.
func (j *job) each(ctx context.Context, objects []*unstructured.Unstructured, f func(context.Context, *unstructured.Unstructured) error) error {
	var g errgroup.Group // without a context: one failure does not keep the others
	g.SetLimit(j.opts.Concurrency)
	errs := make([]error, len(objects))
	for i, obj := range objects {
		g.Go(func() error {
			errs[i] = f(ctx, obj)
			return nil
		})
	}
	_ = g.Wait() // errs has them all
	return errors.Join(errs...)
}

func isDefinition(u *unstructured.Unstructured) bool {
	return u.GetKind() == "CustomResourceDefinition"
}

// names are the objects of a set, with the namespaces that they get.
func (j *job) names(ctx context.Context, objects []*unstructured.Unstructured) (map[Object]bool, error) {
	out := map[Object]bool{}
	for _, obj := range objects {
		if _, err := j.target(ctx, obj); err != nil && !errors.Is(err, errNoType) {
			return nil, err
		}
		out[objectOf(obj).same()] = true
	}
	return out, nil
}

// checkOwners refuses to take objects that are new to the release and belong to
// somebody else. Nothing is written before all are known to be free.
func (j *job) checkOwners(ctx context.Context, a *applying, objects, previous []*unstructured.Unstructured) error {
	known, err := j.names(ctx, previous)
	if err != nil {
		return err
	}
	if _, err := j.names(ctx, objects); err != nil {
		return err
	}
	return j.each(ctx, objects, func(ctx context.Context, obj *unstructured.Unstructured) error {
		if a.takeOwnership || known[objectOf(obj).same()] {
			return nil
		}
		t, err := j.target(ctx, obj)
		if errors.Is(err, errNoType) && a.awaitTypes {
			return nil // nobody has such an object yet
		}
		if err != nil {
			return err
		}
		m, err := j.client.GetMetadata(ctx, t)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return j.fault(obj, "read", err)
		}
		if why := j.foreign(m.Labels, m.Annotations); why != "" {
			return &OwnedError{Release: j.spec.Name, Object: objectOf(obj), Reason: why}
		}
		return nil
	})
}

// applyOne applies an object, with patience for types that are not served yet.
func (j *job) applyOne(ctx context.Context, a *applying, obj *unstructured.Unstructured) error {
	deadline := time.Now().Add(typesPatience)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := j.applyNow(ctx, a, obj)
		unknown := errors.Is(err, errNoType) || kube.TypeNotServed(err)
		if err == nil || !a.awaitTypes || !unknown || time.Now().After(deadline) {
			if err != nil {
				a.change(Change{Object: objectOf(obj), Op: Refused, Message: err.Error(), Err: err})
			}
			return err
		}
		j.types.forget()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func (j *job) applyNow(ctx context.Context, a *applying, obj *unstructured.Unstructured) error {
	t, err := j.target(ctx, obj)
	if err != nil {
		return err
	}
	j.own(obj)
	body, err := intentOf(obj)
	if err != nil {
		return j.fault(obj, "write", err)
	}
	applied, err := j.applyBody(ctx, t, body)
	op := Configured
	if a.recreate && isImmutable(err) {
		op = Recreated
		applied, err = j.recreate(ctx, t, obj, body)
	}
	if err != nil {
		return j.fault(obj, "apply", err)
	}
	live := LiveObject{Object: objectOf(obj), Resource: t.Resource, UID: string(applied.Meta.UID), ResourceVersion: applied.Meta.ResourceVersion}
	switch {
	case applied.Created && op != Recreated:
		op = Created
	case slices.Contains(j.state.Live, live):
		op = Unchanged
	}
	a.change(Change{Object: live.Object, Op: op, Message: strings.Join(applied.Warnings, "; ")})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live = append(a.live, live)
	return nil
}

// applyBody applies, and takes over what Helm or kubectl wrote before.
func (j *job) applyBody(ctx context.Context, t kube.Target, body []byte) (kube.Applied, error) {
	o := kube.ApplyOptions{Manager: j.opts.Manager, Force: true}
	applied, err := j.client.Apply(ctx, t, body, o)
	if err != nil || !slices.ContainsFunc(applied.Meta.ManagedFields, isPredecessor) {
		return applied, err
	}
	before := applied.Meta.DeepCopy()
	for i, e := range before.ManagedFields {
		if isPredecessor(e) { // what was applied is taken over like what was written
			before.ManagedFields[i].Operation = metav1.ManagedFieldsOperationUpdate
		}
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(before, predecessors(), j.opts.Manager)
	if err != nil || patch == nil {
		return applied, err
	}
	_, err = j.client.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace).
		Patch(ctx, t.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: j.opts.Manager})
	if err != nil && !apierrors.IsConflict(err) {
		return applied, err
	}
	// Conflict: somebody wrote meanwhile, and the next upgrade takes over.
	created := applied.Created
	applied, err = j.client.Apply(ctx, t, body, o)
	applied.Created = created
	return applied, err
}

// predecessors wrote what is the release's before us.
func predecessors() sets.Set[string] {
	return sets.New("helm", "helm-controller", "kubectl-client-side-apply")
}

func isPredecessor(e metav1.ManagedFieldsEntry) bool {
	return e.Subresource == "" && predecessors().Has(e.Manager)
}

// isImmutable tells the refusal of a change that only a new object can have.
func isImmutable(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	for _, c := range status.Status().Details.Causes {
		if strings.HasPrefix(c.Field, "metadata.") {
			continue
		}
		if strings.Contains(c.Message, "immutable") || strings.Contains(c.Message, "may not be changed in an update") ||
			strings.Contains(c.Message, "updates to statefulset spec for fields other than") {
			return true
		}
	}
	return false
}

// recreate deletes an object, waits until it is gone, and makes it anew.
func (j *job) recreate(ctx context.Context, t kube.Target, obj *unstructured.Unstructured, body []byte) (kube.Applied, error) {
	m, err := j.client.GetMetadata(ctx, t)
	if err != nil {
		return kube.Applied{}, err
	}
	policy := metav1.DeletePropagationBackground
	done, err := j.client.Delete(ctx, t, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &m.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return kube.Applied{}, err
	}
	if !done && err == nil {
		if err := j.awaitGone(ctx, []*unstructured.Unstructured{obj}); err != nil {
			return kube.Applied{}, err
		}
	}
	return j.client.Apply(ctx, t, body, kube.ApplyOptions{Manager: j.opts.Manager, Force: true})
}

// intentOf is an object as it is applied: without what only the server sets, and
// in the form in which a second apply changes nothing.
func intentOf(obj *unstructured.Unstructured) ([]byte, error) {
	u := obj.DeepCopy()
	delete(u.Object, "status")
	if md, ok := u.Object["metadata"].(map[string]any); ok {
		for _, field := range []string{"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
			"generation", "managedFields", "resourceVersion", "selfLink", "uid"} {
			delete(md, field)
		}
	}
	withoutNulls(u.Object)
	if objectOf(u).secret() {
		encodeStringData(u.Object)
	}
	return json.Marshal(u.Object)
}

// withoutNulls drops what YAML leaves empty: an apply would own it.
func withoutNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if value == nil {
				delete(v, key)
				continue
			}
			withoutNulls(value)
		}
	case []any:
		for _, item := range v {
			withoutNulls(item)
		}
	}
}

// encodeStringData does what the server does on a write, so that a change of the
// data by others is seen.
func encodeStringData(obj map[string]any) {
	texts, ok := obj["stringData"].(map[string]any)
	if !ok {
		return
	}
	data, ok := obj["data"].(map[string]any)
	if !ok {
		data = map[string]any{}
	}
	for key, value := range texts {
		text, ok := value.(string)
		if !ok {
			return // and let the server refuse it
		}
		data[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	delete(obj, "stringData")
	obj["data"] = data
}

// fault is an error about an object. What the server says of a Secret is withheld.
func (j *job) fault(obj *unstructured.Unstructured, op string, err error) error {
	o := objectOf(obj)
	if o.secret() {
		err = kube.Redact(err)
	}
	return &ObjectError{Object: o, Op: op, Reason: kube.Explain(err), Err: err}
}

// deleteSurplus deletes the objects of the previous version that the new one does
// not have.
func (j *job) deleteSurplus(ctx context.Context, step *Step, objects, previous []*unstructured.Unstructured) error {
	wanted, err := j.names(ctx, objects)
	if err != nil {
		return err
	}
	if _, err := j.names(ctx, previous); err != nil {
		return err
	}
	var surplus []*unstructured.Unstructured
	for _, obj := range previous {
		if !wanted[objectOf(obj).same()] {
			surplus = append(surplus, obj)
		}
	}
	_, err = j.delete(ctx, step, surplus, metav1.DeletePropagationBackground)
	return err
}

// delete deletes objects, those of one kind at a time, and returns those that were
// there.
func (j *job) delete(ctx context.Context, step *Step, objects []*unstructured.Unstructured, policy metav1.DeletionPropagation) ([]*unstructured.Unstructured, error) {
	var mu sync.Mutex
	var gone []*unstructured.Unstructured
	var errs []error
	for _, group := range inOrder(objects, releaseutil.UninstallOrder) {
		errs = append(errs, j.each(ctx, group, func(ctx context.Context, obj *unstructured.Unstructured) error {
			change := j.deleteOne(ctx, obj, policy)
			mu.Lock()
			defer mu.Unlock()
			if change.Op != "" {
				step.Objects = append(step.Objects, change)
			}
			if change.Op == Deleted {
				j.own(obj) // as it was when it went
				gone = append(gone, obj)
			}
			return change.Err
		}))
	}
	return gone, errors.Join(errs...)
}

// deleteOne deletes an object that is the release's and is not to be kept.
func (j *job) deleteOne(ctx context.Context, obj *unstructured.Unstructured, policy metav1.DeletionPropagation) Change {
	t, err := j.target(ctx, obj)
	change := Change{Object: objectOf(obj)}
	if errors.Is(err, errNoType) {
		return change // with its type all objects went
	}
	if err != nil {
		change.Op, change.Err = Refused, err
		return change
	}
	m, err := j.client.GetMetadata(ctx, t)
	if apierrors.IsNotFound(err) {
		return change
	}
	if err == nil {
		if keeps(obj.GetAnnotations()) || keeps(m.Annotations) {
			change.Op, change.Message = Kept, "its annotation "+policyAnnotation+" says so"
			return change
		}
		if why := j.foreign(m.Labels, m.Annotations); why != "" {
			change.Op, change.Message = Kept, why
			return change
		}
		_, err = j.client.Delete(ctx, t, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &m.UID}})
	}
	change.Op = Deleted
	if err != nil && !apierrors.IsNotFound(err) {
		change.Op, change.Err = Refused, j.fault(obj, "delete", err)
		change.Message = change.Err.Error()
	}
	return change
}

func keeps(annotations map[string]string) bool {
	return strings.EqualFold(strings.TrimSpace(annotations[policyAnnotation]), "keep")
}

// deleteCreated deletes what a failed action created.
func (j *job) deleteCreated(ctx context.Context, step *Step, objects []*unstructured.Unstructured) error {
	created := map[Object]bool{}
	for _, c := range step.Objects {
		if c.Op == Created {
			created[c.Object.same()] = true
		}
	}
	var remove []*unstructured.Unstructured
	for _, obj := range objects {
		if created[objectOf(obj).same()] {
			remove = append(remove, obj)
		}
	}
	step.logf("deleting %d objects that were created", len(remove))
	_, err := j.delete(ctx, step, remove, metav1.DeletePropagationBackground)
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}
