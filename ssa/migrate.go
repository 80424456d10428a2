package ssa

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The field managers of kubectl apply, client side and server side, and the
// annotation that the former leaves, which quotes the whole object.
const (
	kubectlClientSide = "kubectl-client-side-apply"
	kubectlServerSide = "kubectl"
	lastApplied       = "kubectl.kubernetes.io/last-applied-configuration"
)

// migrateAttempts bounds how often a migration is tried anew because the object
// changed meanwhile.
const migrateAttempts = 5

// predecessor tells the entries of those who applied the object before us, and
// whose fields are to become ours.
func (a *Applier) predecessor(e metav1.ManagedFieldsEntry) bool {
	switch {
	case e.Subresource != "" || isOurs(e, a.manager):
		return false
	case e.Manager == kubectlClientSide && e.Operation == metav1.ManagedFieldsOperationUpdate,
		e.Manager == kubectlServerSide && e.Operation == metav1.ManagedFieldsOperationApply:
		return true
	}
	return slices.Contains(a.migrates, e.Manager)
}

func (a *Applier) withPredecessor(c Conflict) bool {
	return c.Manager == kubectlClientSide || c.Manager == kubectlServerSide || slices.Contains(a.migrates, c.Manager)
}

var errBusy = errors.New("others change it all the time; try again later")

// mustMigrate reports that a predecessor still owns fields: what the set no longer
// names would stay.
func (a *Applier) mustMigrate(it *item, m metav1.Object) bool {
	return it.treat.migrates() && slices.ContainsFunc(m.GetManagedFields(), a.predecessor)
}

// migrates says whether what predecessors own becomes ours.
func (t treatment) migrates() bool { return t.policy != Merge && t.policy != IfNotPresent }

// migrate makes the fields of predecessors ours, in one patch of exactly the
// version that was looked at. The next apply removes those that the set does not
// name.
func (a *Applier) migrate(ctx context.Context, it *item, m metav1.Object) error {
	t := it.target()
	for range migrateAttempts {
		body, err := a.migration(m)
		if err != nil {
			return err
		}
		_, err = a.client.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace).
			Patch(ctx, t.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: a.manager})
		if !apierrors.IsConflict(err) {
			return err
		}
		if m, err = a.client.GetMetadata(ctx, t); err != nil {
			return err
		}
		if !a.mustMigrate(it, m) {
			return nil
		}
	}
	return apierrors.NewConflict(t.GroupResource(), t.Name, errBusy)
}

// migration is the patch: one entry for us in place of ours and the predecessors'.
func (a *Applier) migration(m metav1.Object) ([]byte, error) {
	var ours metav1.ManagedFieldsEntry
	var entries []metav1.ManagedFieldsEntry
	fields := fieldTree{}
	for _, e := range m.GetManagedFields() {
		if !isOurs(e, a.manager) && !a.predecessor(e) {
			entries = append(entries, e)
			continue
		}
		if ours.Manager == "" || isOurs(e, a.manager) {
			ours = e
		}
		fields = union(fields, parseFields(e))
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	ours.Manager, ours.Operation, ours.FieldsV1 = a.manager, metav1.ManagedFieldsOperationApply, metav1.NewFieldsV1(string(raw))
	patch := map[string]any{"managedFields": append(entries, ours), "resourceVersion": m.GetResourceVersion()}
	if _, ok := m.GetAnnotations()[lastApplied]; ok {
		patch["annotations"] = map[string]any{lastApplied: nil}
	}
	return json.Marshal(map[string]any{"metadata": patch})
}

// union merges two sets of fields. One that is owned itself and has fields below
// that are owned is written with a dot.
func union(a, b fieldTree) fieldTree {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := maps.Clone(a)
	for key, sub := range b {
		old, both := out[key]
		if !both {
			out[key] = sub
			continue
		}
		x, _ := old.(map[string]any)
		y, _ := sub.(map[string]any)
		merged := union(x, y)
		if (len(x) == 0) != (len(y) == 0) {
			merged = maps.Clone(merged)
			merged["."] = map[string]any{}
		}
		out[key] = map[string]any(merged)
	}
	return out
}
