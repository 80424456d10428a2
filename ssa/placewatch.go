package ssa

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitopskit/gitopskit/gc"
)

const (
	watchTimeout  = 5 * time.Minute // and up to twice that; then the server ends the watch
	watchDelay    = 100 * time.Millisecond
	watchMaxDelay = 5 * time.Second
	refusedDelay  = 5 * time.Minute // rights may be granted later
)

// sight is what is kept of an object: enough to tell whether somebody changed it.
type sight struct {
	uid        types.UID
	version    string
	generation int64
	deleting   bool
	owned      string   // our entry in managedFields; empty for kinds without generation
	meta       [16]byte // the metadata that we own; likewise
	policy     [len(policyKeys)]string
	managers   string // of managedFields, as writers has them
	remarkable bool   // as Applier.remarkable has it
}

// policyKeys are the annotations with which an object in the cluster says how it is to
// be treated.
var policyKeys = [...]string{PolicyAnnotation, FluxPolicyAnnotation, FluxReconcileAnnotation}

// maxPolicy is longer than any value that means something.
const maxPolicy = 32

// outline gives back as metadata what is kept: identity, version, the annotations
// of policyKeys, and who has written, without the fields.
func (s sight) outline(name string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.Name, m.UID, m.ResourceVersion, m.Generation = name, s.uid, s.version, s.generation
	if s.deleting {
		m.DeletionTimestamp = &metav1.Time{}
	}
	for i, v := range s.policy {
		if v != "" {
			if m.Annotations == nil {
				m.Annotations = map[string]string{}
			}
			m.Annotations[policyKeys[i]] = v
		}
	}
	_ = json.Unmarshal([]byte(s.managers), &m.ManagedFields) // it was written by writers
	return m
}

// writers keeps who is named in managedFields. Sights of one watch share the text.
func (w *placeWatch) writers(m *metav1.PartialObjectMetadata) string {
	short := make([]metav1.ManagedFieldsEntry, 0, len(m.ManagedFields))
	for _, e := range m.ManagedFields {
		short = append(short, metav1.ManagedFieldsEntry{Manager: e.Manager, Operation: e.Operation, Subresource: e.Subresource})
	}
	text, err := json.Marshal(short)
	if err != nil {
		return ""
	}
	if known, ok := w.texts[string(text)]; ok {
		return known
	}
	const most = 1000 // others may make up any number of names
	if len(w.texts) >= most {
		clear(w.texts)
	}
	w.texts[string(text)] = string(text)
	return w.texts[string(text)]
}

func (w *placeWatch) sightOf(m *metav1.PartialObjectMetadata) sight {
	s := sightOf(m, w.set.manager)
	s.managers = w.writers(m)
	s.remarkable = s.policy != [len(policyKeys)]string{} || slices.ContainsFunc(m.ManagedFields, w.set.predecessor)
	return s
}

// placeWatch follows the metadata of the objects of one type, namespace and owner.
type placeWatch struct {
	set  *watches
	key  watchKey
	kind string
	used time.Time // when an Apply last asked for it; guarded by set.mu

	tried chan struct{} // closed when it stands, or did not come to stand

	mu       sync.Mutex
	once     bool // tried is closed
	standing bool
	heard    time.Time // when objects was last known to be the truth
	refused  *FallbackError
	objects  map[string]sight
	pending  map[string]string // versions that we wrote, and that were not reported yet
	caught   chan struct{}     // closed when pending is empty; nil unless somebody waits
	applying int               // Applies on their way
	dirty    map[string]sight  // reported meanwhile: perhaps by our own writes
	outbox   []string          // names to call OnChange for, once the lock is free

	texts map[string]string // what writers shares; of run alone
}

func newPlaceWatch(ws *watches, key watchKey, kind string) *placeWatch {
	return &placeWatch{set: ws, key: key, kind: kind, used: time.Now(), tried: make(chan struct{}),
		objects: map[string]sight{}, pending: map[string]string{}, dirty: map[string]sight{}, texts: map[string]string{}}
}

// unlock also makes the calls that must not be made under the lock.
func (w *placeWatch) unlock() {
	out := w.outbox
	w.outbox = nil
	w.mu.Unlock()
	for _, name := range out {
		w.set.opts.OnChange(w.key.owner, gc.Key{Group: w.key.gvr.Group, Kind: w.kind, Namespace: w.key.namespace, Name: name})
	}
}

// run lists, and watches from there. When a watch ends it goes on where that
// ended, without a list, as long as the server remembers.
func (w *placeWatch) run(ctx context.Context) {
	defer w.down(nil)
	version, delay := "", watchDelay
	for {
		start := time.Now()
		var err error
		if version == "" {
			version, err = w.list(ctx)
		}
		if err == nil {
			version, err = w.follow(ctx, version)
		}
		if ctx.Err() != nil {
			return
		}
		w.down(err)
		delay = min(2*delay, watchMaxDelay)
		switch {
		case expired(err):
			version = "" // list anew
		case isRefusal(err):
			version, delay = "", refusedDelay
		case time.Since(start) > watchMaxDelay:
			delay = watchDelay // it had stood for a while
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		if w.set.dropIfIdle(w) {
			return
		}
	}
}

func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// isRefusal tells an answer that stays as it is from one that passes.
func isRefusal(err error) bool {
	return errors.Is(err, errTooMany) || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsNotFound(err)
}

// selector is that of a set's objects. Those of nobody are all, such as definitions.
func (w *placeWatch) selector() string {
	if w.key.owner == "" {
		return ""
	}
	return labels.Set{gc.OwnerLabel: w.key.owner}.String()
}

// list replaces what is known by what the server has.
func (w *placeWatch) list(ctx context.Context) (version string, err error) {
	objects, start := map[string]sight{}, time.Now()
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	version, err = w.set.client.SnapshotMetadata(ctx, w.key.gvr, w.key.namespace, w.selector(), func(m *metav1.PartialObjectMetadata) {
		objects[m.Name] = w.sightOf(m)
		if len(objects) > maxWatched {
			cancel()
		}
	})
	if len(objects) > maxWatched {
		err = errTooMany
	}
	if err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.unlock()
	before, first := w.objects, w.heard.IsZero()
	w.objects, w.heard = objects, start
	w.reported(maps.Keys(w.pending)) // what was written before is in the list
	if !first {
		for name, s := range objects {
			w.changed(name, before[name], s)
		}
		for name, s := range before {
			if _, there := objects[name]; !there {
				w.changed(name, s, sight{})
			}
		}
	}
	return version, nil
}

// follow watches from a version on, and returns where to go on.
func (w *placeWatch) follow(ctx context.Context, version string) (string, error) {
	timeout := watchTimeout + share(watchTimeout)
	seconds := int64(timeout / time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout+timeout/10) // should the connection be dead by then
	defer cancel()
	events, err := w.set.client.Metadata.Resource(w.key.gvr).Namespace(w.key.namespace).Watch(ctx, metav1.ListOptions{
		LabelSelector: w.selector(), ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds})
	if err != nil {
		return version, err
	}
	defer events.Stop()
	w.up()
	for ev := range events.ResultChan() {
		if ev.Type == watch.Error {
			return version, apierrors.FromObject(ev.Object)
		}
		m, ok := ev.Object.(*metav1.PartialObjectMetadata)
		if !ok {
			continue
		}
		version = m.ResourceVersion
		if err := w.see(ev.Type, m); err != nil {
			return "", err
		}
	}
	return version, nil
}

// up and down say whether a watch stands.
func (w *placeWatch) up() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.standing, w.refused = true, nil
	w.triedNow()
}

func (w *placeWatch) down(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.standing = false
	if isRefusal(err) {
		w.objects, w.heard = map[string]sight{}, time.Time{}
		w.refused = &FallbackError{Resource: w.key.gvr, Namespace: w.key.namespace, Verb: "watch", Err: err}
	}
	w.triedNow()
}

func (w *placeWatch) triedNow() {
	if !w.once {
		w.once = true
		close(w.tried)
	}
}

// see takes in what the watch reports.
func (w *placeWatch) see(event watch.EventType, m *metav1.PartialObjectMetadata) error {
	w.mu.Lock()
	defer w.unlock()
	w.heard = time.Now()
	if event == watch.Bookmark {
		return nil
	}
	before, now := w.objects[m.Name], sight{}
	if event == watch.Deleted {
		delete(w.objects, m.Name)
	} else {
		now = w.sightOf(m)
		w.objects[m.Name] = now
	}
	ours := w.pending[m.Name] == m.ResourceVersion
	if ours || event == watch.Deleted {
		w.reported(slices.Values([]string{m.Name}))
	}
	if !ours {
		w.changed(m.Name, before, now)
	}
	if len(w.objects) > maxWatched {
		return errTooMany
	}
	return nil
}

// reported strikes off what was waited for.
func (w *placeWatch) reported(names func(func(string) bool)) {
	for name := range names {
		delete(w.pending, name)
	}
	if len(w.pending) == 0 && w.caught != nil {
		close(w.caught)
		w.caught = nil
	}
}

// changed reports an outside change. While an Apply is on its way it may be the
// Apply's own, and its end tells.
func (w *placeWatch) changed(name string, before, now sight) {
	if w.set.opts.OnChange == nil || w.key.owner == "" || before.looksLike(now) {
		return
	}
	if w.applying > 0 {
		w.dirty[name] = now
		return
	}
	w.outbox = append(w.outbox, name)
}

// looksLike reports whether what differs is not of our concern, such as a status.
func (s sight) looksLike(o sight) bool {
	if s.generation > 0 && o.generation > 0 {
		s.version, o.version = "", ""
	}
	s.managers, o.managers = "", ""
	return s == o
}

// begin and end enclose an Apply.
func (w *placeWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applying++
}

// What the Apply wrote is asked for if need be.
func (w *placeWatch) end(written func() map[string]string) {
	w.mu.Lock()
	defer w.unlock()
	if w.applying--; w.applying > 0 {
		return
	}
	if len(w.dirty) == 0 {
		return
	}
	versions := written()
	for name, s := range w.dirty {
		if s.version != versions[name] || s.version == "" {
			w.outbox = append(w.outbox, name)
		}
	}
	clear(w.dirty)
}

// wrote tells of a write of ours, so that the next Apply does not take the state
// before it for somebody's change. A nil watch is told in vain.
func (w *placeWatch) wrote(name, version string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects[name].version != version {
		w.pending[name] = version
	}
}

// ready waits until the watch has come to stand, or has not, and until it has
// reported our own writes.
func (w *placeWatch) ready(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-w.tried:
	}
	w.mu.Lock()
	if !w.standing || len(w.pending) == 0 {
		w.mu.Unlock()
		return true
	}
	if w.caught == nil {
		w.caught = make(chan struct{})
	}
	caught := w.caught
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	case <-caught:
	case <-time.After(catchUp):
		// Another write may have come right after ours, before we knew our version.
		w.mu.Lock()
		w.reported(maps.Keys(w.pending))
		w.mu.Unlock()
	}
	return true
}

func (w *placeWatch) refusal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused == nil {
		return nil
	}
	return w.refused
}

// believed reports whether what is known can be the truth. The caller has the lock.
func (w *placeWatch) believed() bool {
	return w.standing && time.Since(w.heard) <= w.set.opts.MaxSilence
}

// find tells the items what is known of them, if the watch can be believed.
func (w *placeWatch) find(items []*item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.believed() {
		return false
	}
	for _, it := range items {
		s, ok := w.objects[it.entry.Name]
		switch {
		case !ok:
		case s.uid == it.prev.UID && s.version == it.prev.ResourceVersion && s.version != "" && !s.deleting && !s.remarkable:
			it.asLeft = true
		default:
			kept := s
			it.found = &finding{meta: s.outline(it.entry.Name), sight: &kept}
		}
	}
	return true
}

// unchanged decides as for metadata that were listed.
func (s sight) unchanged(it *item) bool {
	if same, sure := it.atFirstSight(s.uid, s.version, s.generation, s.deleting); sure {
		return same
	}
	if before, _ := ownedOf(it.prev.Owned); before == "" || s.owned != before {
		return false
	}
	u := it.want()
	return s.meta == metadataDigest(u.GetLabels(), u.GetAnnotations(), u.GetFinalizers(), u.GetOwnerReferences())
}

// sightOf keeps little of an object. Kinds without a generation need no digests:
// for them nothing but an equal version counts.
func sightOf(m *metav1.PartialObjectMetadata, manager string) sight {
	s := sight{uid: m.UID, version: m.ResourceVersion, generation: m.Generation, deleting: m.DeletionTimestamp != nil}
	for i, key := range policyKeys {
		if v := said(m, key); len(v) <= maxPolicy {
			s.policy[i] = v
		}
	}
	if m.Generation == 0 {
		return s
	}
	s.owned = ownedDigest(m, manager)
	own := ownMetadata(m, manager)
	s.meta = metadataDigest(
		only(m.Labels, own.Labels), only(m.Annotations, own.Annotations),
		slices.DeleteFunc(slices.Clone(m.Finalizers), func(f string) bool { return !own.has(own.Finalizers, "v:", f) }),
		slices.DeleteFunc(slices.Clone(m.OwnerReferences), func(r metav1.OwnerReference) bool {
			return !own.has(own.OwnerReferences, "k:", map[string]string{"uid": string(r.UID)})
		}))
	return s
}

// owning is the part of our entry in managedFields that is about metadata.
type owning struct {
	Labels          map[string]json.RawMessage `json:"f:labels"`
	Annotations     map[string]json.RawMessage `json:"f:annotations"`
	Finalizers      map[string]json.RawMessage `json:"f:finalizers"`
	OwnerReferences map[string]json.RawMessage `json:"f:ownerReferences"`
}

func ownMetadata(m *metav1.PartialObjectMetadata, manager string) owning {
	var fields struct {
		Metadata owning `json:"f:metadata"`
	}
	for _, e := range m.ManagedFields {
		if isOurs(e, manager) && e.FieldsV1 != nil {
			_ = json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) // what cannot be read is not ours
		}
	}
	return fields.Metadata
}

// has looks up an element of a list by its key, as managedFields write it.
func (owning) has(in map[string]json.RawMessage, prefix string, key any) bool {
	text, err := json.Marshal(key)
	_, ok := in[prefix+string(text)]
	return ok && err == nil
}

// only keeps the values whose keys we own.
func only(values map[string]string, own map[string]json.RawMessage) map[string]string {
	out := make(map[string]string, len(own))
	for k, v := range values {
		if _, ok := own["f:"+k]; ok {
			out[k] = v
		}
	}
	return out
}

// metadataDigest identifies labels, annotations, finalizers and owners, the latter
// two in their order.
func metadataDigest(labels, annotations map[string]string, finalizers []string, owners []metav1.OwnerReference) (out [16]byte) {
	var b []byte
	for _, m := range []map[string]string{labels, annotations} {
		b = binary.AppendUvarint(b, uint64(len(m)))
		for _, k := range slices.Sorted(maps.Keys(m)) {
			b = appendText(appendText(b, 'k', k), 'v', m[k])
		}
	}
	b = binary.AppendUvarint(b, uint64(len(finalizers)))
	for _, f := range finalizers {
		b = appendText(b, 'f', f)
	}
	for _, r := range names(owners) {
		for _, part := range []string{r.APIVersion, r.Kind, r.Name, string(r.UID)} {
			b = appendText(b, 'o', part)
		}
	}
	sum := sha256.Sum256(b)
	copy(out[:], sum[:])
	return out
}
