package ssa

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// item is one object on its way through Apply.
type item struct {
	object     *unstructured.Unstructured // as it was given
	intent     *unstructured.Unstructured // normalised; nil while nobody needs it: see want
	maker      *maker                     // of intent
	entry      gc.Entry                   // identity and intent digest; the rest as the server answers
	prev       *gc.Entry                  // from the previous inventory; empty if it is not there
	listed     bool                       // prev is set
	known      bool                       // prev was applied, so that it tells what the server had
	treat      treatment                  // by its annotations and the options
	adopt      [][]string                 // fields that stay as they are in the cluster
	asLeft     bool                       // it is in the cluster as prev has it, and nothing else is to be known
	found      *finding                   // in the cluster otherwise; nil if it was not found, or not looked for
	seen       bool                       // one of both was the case
	done       bool                       // nothing to do
	watch      *placeWatch                // of its type, if there is one
	definition *definition                // of a custom resource
	dryRun     bool                       // write nothing
	change     *Change

	uncertain bool // failed, and may have been carried out all the same
	busy      bool // failed, because the server had no time for it

	needs   []*item // must be applied before
	waiting int     // how many of needs are not done
	feeds   []*item // those that wait for this one

	wanted  []*item // those of feeds that ask for it by annotation
	before  bool    // webhook configurations wait for it
	awaited bool    // applied, and its health is waited for or known
	unready error   // why it is not healthy

	resolve func(context.Context) (*item, error) // for a type that was not served at first
}

func (it *item) target() kube.Target { return target(it.entry) }

func target(e gc.Entry) kube.Target {
	return kube.Target{GroupVersionResource: e.GVR(), Namespace: e.Namespace, Name: e.Name}
}

type set struct {
	items    []*item  // in the order of the objects given
	changes  []Change // of the items
	previous gc.Inventory
	byEntry  []*item // for each entry of previous the item that it is about, if any

	stamped  time.Time // when previous says that everything is to be looked at; zero if it does not
	nextFull time.Time // when it is from now on
	webhooks []*item   // those that come last
	before   int       // objects that are not done and that they wait for
	missing  *item     // one of these that failed

	mu    sync.Mutex
	notes []error
}

// note keeps what cost more than it should, for the result.
func (s *set) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, err)
}

func (o ApplyOptions) check() error {
	if o.Owner == "" {
		return &OptionError{Option: "ApplyOptions.Owner", Reason: "is empty; name the set that the objects belong to"}
	}
	if why := validation.IsValidLabelValue(o.Owner); len(why) > 0 {
		return &OptionError{Option: "ApplyOptions.Owner", Reason: fmt.Sprintf("%q is no label value: %s", clip.Quote(o.Owner, maxQuoted), why[0])}
	}
	return nil
}

// prepare checks and addresses a set, and finds out how its objects are to be
// treated. Here and in intend all faults of the set are reported at once, because
// fixing them one commit at a time is no pleasure.
func (a *Applier) prepare(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (*set, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	s, err := a.address(ctx, objs, opts)
	if err != nil {
		return nil, err
	}
	m, err := a.newMaker(opts)
	if err != nil {
		return nil, err
	}
	wrong := &faults{}
	s.each(wrong, func() func(int, *item) error {
		return func(_ int, it *item) error { return it.begin(m) }
	})
	if err := wrong.err(); err != nil {
		return nil, err
	}
	for _, it := range s.items {
		if it.entry.Resource == "" {
			it.resolve = func(ctx context.Context) (*item, error) { return a.again(ctx, it.object, m, opts) }
		}
	}
	return s, nil
}

// begin finds out how an object is to be treated.
func (it *item) begin(m *maker) (err error) {
	it.maker = m
	if it.treat, err = m.treatment(it.object); err != nil {
		return it.wrong(err.Error())
	}
	if it.treat.policy == Ignore {
		it.ignore()
	}
	return nil
}

// wrong is a fault of the object itself.
func (it *item) wrong(reason string) error {
	return &ObjectError{Key: it.entry.Key, Op: "apply", Reason: reason, terminal: true}
}

// again makes the item of an object anew, whose type was not known at first.
func (a *Applier) again(ctx context.Context, obj *unstructured.Unstructured, m *maker, opts ApplyOptions) (*item, error) {
	s, err := a.address(ctx, []*unstructured.Unstructured{obj}, opts)
	var wrong *InvalidSetError
	if errors.As(err, &wrong) {
		return nil, wrong.Faults[0]
	}
	if err != nil {
		return nil, err
	}
	it := s.items[0]
	if it.entry.Resource == "" {
		return nil, &UnknownKindError{Key: it.entry.Key, Version: it.entry.Version}
	}
	if err := it.begin(m); err != nil {
		return nil, err
	}
	return it, it.digest(&scratch{})
}

// newSet numbers the objects.
func newSet(objs []*unstructured.Unstructured, previous gc.Inventory) *set {
	s := &set{items: make([]*item, len(objs)), changes: make([]Change, len(objs)), previous: previous, byEntry: make([]*item, len(previous))}
	s.stamped = stampOf(previous)
	s.nextFull = s.stamped
	items, none := make([]item, len(objs)), &gc.Entry{}
	for i, obj := range objs {
		it := &items[i]
		it.object, it.prev, it.change = obj, none, &s.changes[i]
		s.items[i] = it
	}
	return s
}

// each calls what each makes for all items, on all processors where that is worth
// it, and adds to the faults.
func (s *set) each(faults *faults, each func() func(int, *item) error) {
	const atOnce = 64 // items that one processor takes
	workers := min(runtime.GOMAXPROCS(0), len(s.items)/atOnce+1)
	var next atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			do := each()
			for {
				from := int(next.Add(atOnce)) - atOnce
				if from >= len(s.items) {
					return
				}
				for i := from; i < min(from+atOnce, len(s.items)); i++ {
					faults.add(i, do(i, s.items[i]))
				}
			}
		})
	}
	running.Wait()
}

// faults are what is wrong with the objects of a set: of each the first.
type faults struct {
	mu sync.Mutex
	of map[int]error
}

func (f *faults) add(i int, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[int]error{}
	}
	if f.of[i] == nil {
		f.of[i] = err
	}
}

// err has them in the order of the objects.
func (f *faults) err() error {
	if len(f.of) == 0 {
		return nil
	}
	e := &InvalidSetError{}
	for _, i := range slices.Sorted(maps.Keys(f.of)) {
		e.Faults = append(e.Faults, f.of[i])
	}
	return e
}

// address finds out what each object is called on the server, and what the
// inventory has of it. Some may not be known yet, and have no resource: those of
// types that the set's own controllers may define.
func (a *Applier) address(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (*set, error) {
	s, wrong := newSet(objs, opts.Previous), &faults{}
	s.each(wrong, func() func(int, *item) error { return identify })
	if err := wrong.err(); err != nil {
		return nil, err
	}
	kinds, err := a.mapper.forSet(ctx, s.examples())
	if err != nil {
		return nil, err
	}
	places := make([]int, len(s.items))
	s.each(wrong, func() func(int, *item) error {
		last := -1 // objects are often in the order of the inventory
		return func(i int, it *item) error {
			err := it.locate(kinds, opts.Namespace)
			places[i] = find(s.previous, it.entry.Key, last+1)
			last = places[i]
			return err
		}
	})
	s.recall(places, wrong)
	return s, wrong.err()
}

// examples are objects from which the types of all can be learned.
func (s *set) examples() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	seen, last := map[schema.GroupVersionKind]bool{}, schema.GroupVersionKind{}
	for _, it := range s.items {
		gvk := it.entry.GVK()
		if gvk.GroupKind() != crdKind && (gvk == last || seen[gvk]) {
			continue
		}
		seen[gvk], last = true, gvk
		out = append(out, it.object)
	}
	return out
}

// find returns the place of a key in an inventory, or -1. It looks first where it
// is expected.
func find(inv gc.Inventory, k gc.Key, expected int) int {
	if expected < len(inv) && inv[expected].Key == k {
		return expected
	}
	i, ok := slices.BinarySearchFunc(inv, k, func(e gc.Entry, k gc.Key) int { return e.Compare(k) })
	if !ok {
		return -1
	}
	return i
}

// recall gives the items their entries in the inventory, and finds those that are
// in the set twice.
func (s *set) recall(places []int, wrong *faults) {
	others := map[gc.Key]bool{} // not in the inventory
	for i, it := range s.items {
		var twice bool
		if at := places[i]; at >= 0 {
			twice = s.byEntry[at] != nil
			s.byEntry[at] = it
			it.recall(&s.previous[at])
		} else {
			twice = others[it.entry.Key]
			others[it.entry.Key] = true
		}
		if twice {
			wrong.add(i, it.wrong("it is in the set twice; remove one of the two"))
		}
		if it.entry.Resource == "" && !it.listed { // it may have no namespace
			k := it.entry.Key
			k.Namespace = ""
			if at := find(s.previous, k, 0); at >= 0 {
				it.recall(&s.previous[at])
			}
		}
	}
}

func (it *item) recall(prev *gc.Entry) {
	it.prev, it.listed = unstamped(prev), true
	it.known = prev.UID != "" && it.entry.Resource != ""
}

// locate finds out what an object is called on the server.
func (it *item) locate(kinds kindMap, namespace string) error {
	e := &it.entry
	kind, ok := kinds[e.GVK()]
	switch {
	case !ok && mayArrive(it.object.GetAnnotations()):
		e.Namespace = cmp.Or(e.Namespace, namespace)
		return nil
	case !ok:
		return &UnknownKindError{Key: e.Key, Version: e.Version}
	case !kind.namespaced:
		e.Namespace = ""
	case e.Namespace == "" && namespace == "":
		return it.wrong("it names no namespace; set metadata.namespace or ApplyOptions.Namespace")
	case e.Namespace == "":
		e.Namespace = namespace
	}
	e.Resource, it.change.Key = kind.resource, e.Key
	if err := it.target().Check(); err != nil {
		return it.wrong(err.Error() + "; correct it")
	}
	return nil
}

// identify reads what an object says that it is, and finds objects that cannot be
// addressed at all.
func identify(i int, it *item) error {
	reason := it.identify()
	it.change.Key = it.entry.Key
	if reason == "" {
		return nil
	}
	return it.wrong(fmt.Sprintf("object %d of the set: %s", i+1, reason))
}

func (it *item) identify() (reason string) {
	obj := it.object
	if obj == nil || obj.Object == nil {
		return "it is empty"
	}
	gvk := obj.GroupVersionKind()
	it.entry.Key = gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	it.entry.Version = gvk.Version
	switch {
	case gvk.Version == "":
		return "it has no apiVersion, or a malformed one"
	case gvk.Kind == "":
		return "it has no kind"
	case it.entry.Name == "" && obj.GetGenerateName() != "":
		return "it has metadata.generateName; server-side apply needs metadata.name"
	case it.entry.Name == "" && namedOddly(obj):
		return "its metadata.name is not a string; quote it"
	case it.entry.Name == "":
		return "it has no metadata.name"
	}
	return ""
}

// namedOddly recognises what YAML makes of an unquoted name such as no or 1.
func namedOddly(obj *unstructured.Unstructured) bool {
	name, ok, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "name")
	_, isString := name.(string)
	return ok && name != nil && !isString
}
