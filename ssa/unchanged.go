package ssa

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"

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

// finding is what was found of an object in the cluster. The metadata are in full,
// or what a watch keeps of them: see sight.outline.
type finding struct {
	meta  *metav1.PartialObjectMetadata
	sight *sight // from a watch
}

func (f *finding) unchanged(it *item, manager string) bool {
	if f.sight != nil {
		return f.sight.unchanged(it)
	}
	return unchanged(it, f.meta, manager)
}

// look begins to find the objects of a set in the cluster, from metadata alone:
// one list request for each type and namespace, whatever the number of objects, or
// none where there is a watch. The function that it returns waits for the end.
// Until then, nothing but found and asLeft of the items may be written that look
// reads.
func (a *Applier) look(ctx context.Context, s *set, owner string, wanted func(*item) bool) (wait func() error) {
	places := map[place][]*item{}
	for _, it := range s.items {
		if wanted(it) {
			p := place{it.entry.GVR(), it.entry.Namespace}
			places[p] = append(places[p], it)
		}
	}
	done := make(chan error, 1)
	go func() {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(a.concurrency)
		for p, items := range places {
			g.Go(func() error {
				if s.watched(ctx, items) {
					return nil
				}
				return a.lookAt(ctx, s, p, items, owner)
			})
		}
		done <- g.Wait()
	}()
	return func() error { return <-done }
}

// decide judges an object by what was found of it: left alone because of an
// annotation there, there already, or unchanged. In a full check nothing is taken
// for unchanged.
func (a *Applier) decide(it *item, full bool) {
	once := it.treat.policy == IfNotPresent
	it.seen = it.asLeft || it.found != nil
	switch f := it.found; {
	case it.done:
	case it.asLeft:
		if once || !full && it.same() && !it.redefinedOutside() {
			it.leave()
		}
	case f == nil:
	case handsOff(f.meta):
		it.ignore()
	case !it.known:
	case once && f.meta.DeletionTimestamp == nil,
		!full && it.same() && !it.redefinedOutside() && !a.mustMigrate(it, f.meta) && f.unchanged(it, a.manager):
		it.leave()
	}
	it.found = nil // it is large
}

// leave takes an object for unchanged.
func (it *item) leave() {
	it.done, it.intent = true, nil
	it.entry = *it.prev
	it.change.Action = Unchanged
}

// same reports that the object was applied before as it is intended now.
func (it *item) same() bool { return it.known && it.prev.Intent == it.entry.Intent }

// lookAt finds the objects of one place, in the cheapest way that the identity is
// allowed.
func (a *Applier) lookAt(ctx context.Context, s *set, p place, items []*item, owner string) error {
	known, others := apart(items)
	if len(known) < 2 && len(others) < worthAList {
		return a.lookOneByOne(ctx, p, known)
	}
	selector := labels.Set{gc.OwnerLabel: owner}.String()
	key, at := gc.Key{Group: p.gvr.Group, Kind: items[0].entry.Kind, Namespace: p.namespace}, -1
	_, err := a.client.Scan(ctx, p.gvr, p.namespace, selector, func(l *kube.Listed) error {
		key.Name = "" // it is there already, as a rule: lists are in the order of the inventory
		if at+1 < len(s.previous) && s.previous[at+1].Name == string(l.Name) {
			key.Name = s.previous[at+1].Name
		} else {
			key.Name = string(l.Name)
		}
		if at = find(s.previous, key, at+1); at >= 0 && s.byEntry[at] != nil {
			return a.glance(s.byEntry[at], l)
		}
		if it := others[string(l.Name)]; it != nil {
			return a.glance(it, l)
		}
		return nil
	})
	if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) {
		if len(known) > 0 {
			s.note(&FallbackError{Resource: p.gvr, Namespace: p.namespace, Verb: "list", Err: err})
		}
		return a.lookOneByOne(ctx, p, known)
	}
	return a.lookFailed(err)
}

// apart tells the items that were applied before from the others, by name.
func apart(items []*item) (known []*item, others map[string]*item) {
	for _, it := range items {
		switch {
		case it.known:
			known = append(known, it)
		case others == nil:
			others = map[string]*item{it.entry.Name: it}
		default:
			others[it.entry.Name] = it
		}
	}
	return known, others
}

// glance keeps of an object in a list what is not as it was left.
func (a *Applier) glance(it *item, l *kube.Listed) error {
	prev := it.prev
	if string(l.UID) == string(prev.UID) && string(l.ResourceVersion) == prev.ResourceVersion && prev.ResourceVersion != "" &&
		!l.Deleting && !a.remarkable(l) {
		it.asLeft = true
		return nil
	}
	m, err := l.Metadata()
	if err == nil {
		it.found = &finding{meta: m}
	}
	return err
}

// remarkable tells objects that may be treated differently although nobody changed
// them: by an annotation in the cluster, or because of who has written.
func (a *Applier) remarkable(l *kube.Listed) bool {
	if asks(l.Annotations, policyKeys[:]) || asks(l.Labels, policyKeys[1:]) { // ours is no label
		return true
	}
	for _, w := range l.Writers {
		if string(w.Manager) != a.manager && a.predecessor(metav1.ManagedFieldsEntry{Manager: string(w.Manager),
			Operation: metav1.ManagedFieldsOperationType(w.Operation), Subresource: string(w.Subresource)}) {
			return true
		}
	}
	return false
}

func asks(of []kube.Pair, keys []string) bool {
	for _, p := range of {
		for _, key := range keys {
			if string(p.Key) == key {
				return true
			}
		}
	}
	return false
}

func (a *Applier) lookOneByOne(ctx context.Context, p place, items []*item) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(a.concurrency)
	for _, it := range items {
		g.Go(func() error {
			m, err := a.client.GetMetadata(ctx, kube.Target{GroupVersionResource: p.gvr, Namespace: p.namespace, Name: it.entry.Name})
			if err != nil {
				return a.lookFailed(err)
			}
			it.found = &finding{meta: m}
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
	if before, _ := ownedOf(it.prev.Owned); before == "" || ownedDigest(m, manager) != before {
		return false
	}
	u := it.want()
	return holds(m.Labels, u.GetLabels()) && holds(m.Annotations, u.GetAnnotations()) &&
		inOrder(m.Finalizers, u.GetFinalizers()) && inOrder(names(m.OwnerReferences), names(u.GetOwnerReferences()))
}

// atFirstSight is the part of the decision that needs four values alone. Where it
// is not sure, our entry and our metadata decide.
func (it *item) atFirstSight(uid types.UID, version string, generation int64, deleting bool) (same, sure bool) {
	switch {
	case uid != it.prev.UID || deleting:
		return false, true
	case version == it.prev.ResourceVersion && version != "":
		return true, true
	case !movingGeneration(it.entry.Key, *it.prev) || generation != it.prev.Generation:
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
