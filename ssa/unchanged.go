package ssa

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// place is what one metadata list covers.
type place struct {
	gvr       schema.GroupVersionResource
	namespace string
}

// markUnchanged finds, from metadata alone, the objects that need nothing: one
// list request for each type and namespace, whatever the number of objects. In a
// full check it finds only those that are to be left alone whatever they are.
// Objects that are not on record are looked for where that costs nothing more.
func (a *Applier) markUnchanged(ctx context.Context, s *set, owner string, full bool) error {
	places := map[place]map[string]*item{}
	for _, it := range s.items {
		if it.entry.Resource == "" || it.done || it.same() && full && it.treat.policy != IfNotPresent {
			continue // not served yet, ignored, or looked at in any case
		}
		p := place{it.entry.GVR(), it.entry.Namespace}
		if places[p] == nil {
			places[p] = map[string]*item{}
		}
		places[p][it.entry.Name] = it
	}
	decide := a.decide(full)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(a.concurrency)
	for p, items := range places {
		g.Go(func() error {
			if s.watched(ctx, items, decide) {
				return nil
			}
			return a.look(ctx, s, p, items, owner, func(m *metav1.PartialObjectMetadata) {
				if it := items[m.Name]; it != nil {
					decide(it, m, func() bool { return unchanged(it, m, a.manager) })
				}
			})
		})
	}
	return g.Wait()
}

// decide judges an object by its metadata in the cluster: left alone because of
// an annotation there, there already, or unchanged.
func (a *Applier) decide(full bool) decision {
	return func(it *item, m *metav1.PartialObjectMetadata, unchanged func() bool) {
		it.seen = true
		switch {
		case handsOff(m):
			it.ignore()
		case !it.known:
		case it.treat.policy == IfNotPresent && m.DeletionTimestamp == nil,
			!full && it.same() && !a.mustMigrate(it, m) && unchanged():
			it.leave()
		}
	}
}

// leave takes an object for unchanged.
func (it *item) leave() {
	it.done = true
	it.entry = it.prev
	it.change.Action = Unchanged
}

// same reports that the object was applied before as it is intended now.
func (it *item) same() bool { return it.known && it.prev.Intent == it.entry.Intent }

// look calls each for the metadata of the objects of one place, in the cheapest
// way that the identity is allowed.
func (a *Applier) look(ctx context.Context, s *set, p place, items map[string]*item, owner string, each func(*metav1.PartialObjectMetadata)) error {
	known := onRecord(items)
	if unknown := len(items) - len(known); len(known) < 2 && unknown < worthAList {
		return a.lookOneByOne(ctx, known, each)
	}
	selector := labels.Set{gc.OwnerLabel: owner}.String()
	err := a.client.ListMetadata(ctx, p.gvr, p.namespace, selector, each)
	if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) {
		if len(known) > 0 {
			s.note(&FallbackError{Resource: p.gvr, Namespace: p.namespace, Verb: "list", Err: err})
		}
		return a.lookOneByOne(ctx, known, each)
	}
	return a.lookFailed(err)
}

// onRecord are the items that were applied before.
func onRecord(items map[string]*item) []*item {
	var out []*item
	for _, it := range items {
		if it.known {
			out = append(out, it)
		}
	}
	return out
}

func (a *Applier) lookOneByOne(ctx context.Context, items []*item, each func(*metav1.PartialObjectMetadata)) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(a.concurrency)
	for _, it := range items {
		g.Go(func() error {
			m, err := a.client.GetMetadata(ctx, it.target())
			if err != nil {
				return a.lookFailed(err)
			}
			mu.Lock()
			defer mu.Unlock()
			each(m)
			return nil
		})
	}
	return g.Wait()
}

// lookFailed keeps the errors that stop the whole apply. For any other, the
// objects are sent to the server, whose answer then says what is wrong with each.
func (a *Applier) lookFailed(err error) error {
	switch {
	case err == nil:
		return nil
	case kube.Unreachable(err):
		return &UnreachableError{Server: a.client.Host(), Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return nil
}

// unchanged decides from an object's metadata that nobody changed what we
// applied. An equal resourceVersion proves it. Otherwise something was written,
// and for kinds whose generation counts every change of their content it was not
// ours if the generation, our entry in managedFields and the metadata that we own
// are all as they were: that is what a status update looks like.
func unchanged(it *item, m *metav1.PartialObjectMetadata, manager string) bool {
	if same, sure := it.atFirstSight(m.UID, m.ResourceVersion, m.Generation, m.DeletionTimestamp != nil); sure {
		return same
	}
	return ownedDigest(m, manager) == it.prev.Owned && it.prev.Owned != "" &&
		holds(m.Labels, it.intent.GetLabels()) && holds(m.Annotations, it.intent.GetAnnotations()) &&
		inOrder(m.Finalizers, it.intent.GetFinalizers()) && inOrder(names(m.OwnerReferences), names(it.intent.GetOwnerReferences()))
}

// atFirstSight is the part of the decision that needs four values alone. Where it
// is not sure, our entry and our metadata decide.
func (it *item) atFirstSight(uid types.UID, version string, generation int64, deleting bool) (same, sure bool) {
	switch {
	case uid != it.prev.UID || deleting:
		return false, true
	case version == it.prev.ResourceVersion && version != "":
		return true, true
	case !movingGeneration(it.entry.Key, it.prev) || generation != it.prev.Generation:
		return false, true
	}
	return false, false
}

// movingGeneration tells the kinds whose generation follows their content from
// those that have none, and from PriorityClass, where it always is 1.
func movingGeneration(k gc.Key, prev gc.Entry) bool {
	return prev.Generation > 0 && (k.Group != "scheduling.k8s.io" || k.Kind != "PriorityClass")
}

func holds(live, want map[string]string) bool {
	for k, v := range want {
		if got, ok := live[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// inOrder reports whether live holds all of want, in that order: neither the
// generation nor managedFields follows the order of finalizers and owners.
func inOrder[T comparable](live, want []T) bool {
	for _, l := range live {
		if len(want) > 0 && l == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

// names makes owner references comparable by what they refer to.
func names(refs []metav1.OwnerReference) []metav1.OwnerReference {
	out := make([]metav1.OwnerReference, 0, len(refs))
	for _, r := range refs {
		out = append(out, metav1.OwnerReference{APIVersion: r.APIVersion, Kind: r.Kind, Name: r.Name, UID: r.UID})
	}
	return out
}

// ownedDigest identifies our entry in managedFields: the version it was written
// in, when, and which fields it lists. Empty if there is none.
func ownedDigest(m *metav1.PartialObjectMetadata, manager string) string {
	i := slices.IndexFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return isOurs(e, manager) })
	if i < 0 {
		return ""
	}
	e := m.ManagedFields[i]
	h := sha256.New()
	h.Write([]byte(e.APIVersion))
	h.Write([]byte{0})
	if e.Time != nil {
		h.Write([]byte(e.Time.UTC().Format("20060102150405")))
	}
	h.Write([]byte{0})
	if e.FieldsV1 != nil {
		h.Write(e.FieldsV1.GetRawBytes())
	}
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil)[:12])
}

func isOurs(e metav1.ManagedFieldsEntry, manager string) bool {
	return e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}
