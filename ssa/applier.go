package ssa

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// Defaults of Options.
const (
	DefaultManager     = "gitopskit"
	DefaultConcurrency = 8
)

// Options of an Applier. The zero value is usable.
type Options struct {
	// Manager is the field manager that the server records for what is applied;
	// default "gitopskit". Use one of your own per controller: two appliers under
	// one name cannot see each other's changes.
	Manager string
	// Concurrency is the number of objects in flight; default 8, which keeps a
	// small control plane busy. 32 suits a large one.
	Concurrency int
	// FullInterval is how often Apply looks at everything of a set by itself, as with
	// ApplyOptions.Full; default 1 hour, give or take a tenth. Negative: never. When
	// is kept in the inventory that Apply returns, so it matters neither which
	// process applies the set nor how long that lives. See the package
	// documentation on what metadata cannot show.
	FullInterval time.Duration
	// Conflicts is the policy for objects and Applies that name none; default TakeOver.
	Conflicts ConflictPolicy
	// Migrate names field managers that applied the sets before this Applier did,
	// such as the controller that it replaces. What they own becomes ours, and goes
	// when the set does not name it. kubectl apply, client side and server side, is
	// one of them in any case. Fields that they wrote by a subresource stay theirs.
	Migrate []string
}

// Applier makes one cluster match sets of objects, as one identity. It keeps
// connections and what it learned of the cluster's types: make it once. It is
// safe for concurrent use.
type Applier struct {
	client      *kube.Client
	mapper      *mapper
	manager     string
	concurrency int
	checks      fullChecks
	watching    atomic.Pointer[watches]
	conflicts   ConflictPolicy
	migrates    []string
}

// New returns an Applier for the cluster and the identity of cfg. It sends no
// request. Unless cfg sets a rate limit there is none on the client's side.
func New(cfg *rest.Config, opts Options) (*Applier, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	c, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	return newApplier(c, newMapper(c), opts), nil
}

// complete sets the defaults.
func (o Options) complete() (Options, error) {
	if o.Manager == "" {
		o.Manager = DefaultManager
	}
	if len(o.Manager) > 128 {
		return o, &OptionError{Option: "Options.Manager", Reason: fmt.Sprintf("%q is longer than the 128 characters that the API server allows", clip.Quote(o.Manager, maxQuoted))}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Conflicts == "" {
		o.Conflicts = TakeOver
	}
	if !slices.Contains(conflictPolicies[:], o.Conflicts) {
		return o, &OptionError{Option: "Options.Conflicts", Reason: fmt.Sprintf("is %q; it must be one of %q", o.Conflicts, conflictPolicies)}
	}
	return o, nil
}

func newApplier(c *kube.Client, m *mapper, opts Options) *Applier {
	return &Applier{
		client: c, mapper: m, manager: opts.Manager, concurrency: opts.Concurrency, checks: newFullChecks(opts.FullInterval),
		conflicts: opts.Conflicts, migrates: slices.Clone(opts.Migrate),
	}
}

// ApplyOptions are the arguments of one Apply. Owner is required.
type ApplyOptions struct {
	// Owner names the set. Every object carries it as the label gc.OwnerLabel, so
	// that it can be found by one list request and so that gc.Prune can tell it
	// from a namesake. It must be a label value.
	Owner string
	// Previous is the inventory after the last Apply of this set. With it, what
	// nobody touched costs no request of its own. Without it, every object is
	// sent to the server, which is correct as well.
	Previous gc.Inventory
	// Namespace is given to namespaced objects that name none. Without it they
	// are errors.
	Namespace string
	// Policy is for objects that name none by annotation; default Override.
	Policy Policy
	// Conflicts is for objects that name none by annotation; default that of the Applier.
	Conflicts ConflictPolicy
	// Validate asks the server by dry run about each object that is to be sent,
	// before anything is. When it would refuse one, nothing is applied, and the
	// error is a *ValidationError. It costs one more request for each of them; see
	// the package documentation on why it is not the default.
	Validate bool
	// WaitForDependencies makes an object that depends on others by DependsAnnotation
	// wait until they are healthy, as Wait has it: 100 of them at a time. Otherwise it
	// waits until they are applied.
	WaitForDependencies bool
	// DependencyTimeout bounds the wait for one of them; default 5 minutes.
	DependencyTimeout time.Duration
	// Ignore takes fields out of the apply: at most 100 rules of 100 pointers of
	// 1 KiB. A malformed one is an *IgnoreRuleError.
	Ignore []IgnoreRule
	// RecreateTimeout bounds the wait for an object to be gone that is made again,
	// as the policy Recreate says; default 2 minutes.
	RecreateTimeout time.Duration
	// Full sends every object to the server, whatever its metadata says. Apply does
	// so by itself from time to time: see Options.FullInterval.
	Full bool
	// Progress is called as each object is done, never concurrently.
	Progress func(Change)
}

// Apply makes the cluster match objs by server-side apply, and takes over fields
// that other managers changed. Objects are not modified.
//
// The result is complete whether or not there is an error: a failure in the
// middle, a cancelled context or a server that goes away lose nothing of what
// did happen. The error is an *ApplyError when objects failed, and an
// *InvalidSetError, before any request that writes, when the set itself is wrong.
func (a *Applier) Apply(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (*Result, error) {
	set, err := a.prepare(ctx, objs, opts)
	if err != nil {
		return &Result{Entries: opts.Previous}, err
	}
	defer a.observe(set, opts.Owner)()
	r := &runner{ctx: ctx, do: a.applyItem, report: opts.Progress, finished: make(chan *item)}
	full, next := a.checks.due(opts.Previous, opts.Full)
	if r.gone = a.markUnchanged(ctx, set, opts.Owner, full); r.gone == nil {
		set.nextFull = next
	}
	if opts.Validate && r.gone == nil {
		if err := a.validate(ctx, set); err != nil {
			return &Result{Entries: opts.Previous}, err
		}
	}
	if opts.WaitForDependencies {
		r.await = func(ctx context.Context, it *item) { a.becomeReady(ctx, it, opts) }
	}
	r.run(set, a.concurrency)
	return set.result()
}

// Targets names the objects that Apply would touch, in the form that
// gc.Steps.Targets wants. It asks the server for types alone, and reports faults
// of the set as Apply does, as far as names and types go. Objects of types that
// the set's own controllers have yet to define are not among them.
func (a *Applier) Targets(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (gc.Inventory, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	entries, unknown, err := a.address(ctx, objs, opts.Namespace)
	known := make([]gc.Entry, 0, len(entries))
	for i, e := range entries {
		if !unknown[i] {
			known = append(known, e)
		}
	}
	return gc.NewInventory(known...), err
}

// item is one object on its way through Apply.
type item struct {
	intent *unstructured.Unstructured // normalised
	entry  gc.Entry                   // identity and intent digest; the rest as the server answers
	prev   gc.Entry                   // from the previous inventory
	listed bool                       // prev is set
	known  bool                       // prev was applied, so that it tells what the server had
	seen   bool                       // its metadata in the cluster was looked at
	treat  treatment                  // by its annotations and the options
	adopt  [][]string                 // fields that stay as they are in the cluster
	done   bool                       // nothing to do
	watch  *placeWatch                // of its type, if there is one
	dryRun bool                       // write nothing
	change Change

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
	items    []*item   // in the order of the objects given
	nextFull time.Time // when everything is to be looked at; zero if nobody knows
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

// prepare checks, addresses and normalises a set. It reports every fault of the
// set at once, because fixing them one commit at a time is no pleasure.
func (a *Applier) prepare(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (*set, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	entries, unknown, err := a.address(ctx, objs, opts.Namespace)
	if err != nil {
		return nil, err
	}
	byDefault, err := a.byDefault(opts)
	if err != nil {
		return nil, err
	}
	rules, err := parseIgnoreRules(opts.Ignore)
	if err != nil {
		return nil, err
	}
	s := &set{items: make([]*item, 0, len(objs)), nextFull: stampOf(opts.Previous)}
	items, errs := make([]*item, len(objs)), make([]error, len(objs))
	inParallel(len(objs), func(i int) { items[i], errs[i] = a.newItem(objs[i], entries[i], byDefault, rules, opts) })
	var faults []error
	for i, obj := range objs {
		it, err := items[i], errs[i]
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if unknown[i] {
			it.known = false
			if !it.listed { // it may have no namespace
				k := it.entry.Key
				k.Namespace = ""
				it.prev, it.listed = recorded(opts.Previous, k)
			}
			it.resolve = func(ctx context.Context) (*item, error) {
				kinds, err := a.mapper.forSet(ctx, []*unstructured.Unstructured{obj})
				if err != nil {
					return nil, err
				}
				e, err := entryOf(obj, kinds, opts.Namespace)
				if err != nil {
					return nil, err
				}
				return a.newItem(obj, e, byDefault, rules, opts)
			}
		}
		s.items = append(s.items, it)
	}
	if len(faults) > 0 {
		return nil, &InvalidSetError{Faults: faults}
	}
	if faults := s.link(); len(faults) > 0 {
		return nil, &InvalidSetError{Faults: faults}
	}
	return s, nil
}

// inParallel calls f for the numbers below n, on all processors where that is
// worth it.
func inParallel(n int, f func(i int)) {
	const atOnce = 64 // numbers that one processor takes
	workers := min(runtime.GOMAXPROCS(0), n/atOnce+1)
	var next atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				from := int(next.Add(atOnce)) - atOnce
				if from >= n {
					return
				}
				for i := from; i < min(from+atOnce, n); i++ {
					f(i)
				}
			}
		})
	}
	running.Wait()
}

// address finds out what each object is called on the server. Some may not be
// known yet: those of types that the set's own controllers may define.
func (a *Applier) address(ctx context.Context, objs []*unstructured.Unstructured, namespace string) ([]gc.Entry, map[int]bool, error) {
	if err := checkShape(objs); err != nil {
		return nil, nil, err
	}
	kinds, err := a.mapper.forSet(ctx, objs)
	if err != nil {
		return nil, nil, err
	}
	unknown := map[int]bool{}
	entries := make([]gc.Entry, 0, len(objs))
	seen := make(map[gc.Key]bool, len(objs))
	var faults []error
	for i, obj := range objs {
		e, err := entryOf(obj, kinds, namespace)
		if kind := (*UnknownKindError)(nil); errors.As(err, &kind) && mayArrive(obj.GetAnnotations()) {
			unknown[i], err = true, nil
			e.Key.Namespace = cmp.Or(e.Key.Namespace, namespace)
		}
		if err == nil && seen[e.Key] {
			err = &ObjectError{Key: e.Key, Op: "apply", Reason: "it is in the set twice; remove one of the two", terminal: true}
		}
		if err != nil {
			faults = append(faults, err)
		}
		seen[e.Key] = true
		entries = append(entries, e)
	}
	if len(faults) > 0 {
		return nil, nil, &InvalidSetError{Faults: faults}
	}
	return entries, unknown, nil
}

func entryOf(obj *unstructured.Unstructured, kinds kindMap, namespace string) (gc.Entry, error) {
	gvk := obj.GroupVersionKind()
	key := gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	kind, ok := kinds[gvk]
	if !ok {
		return gc.Entry{Key: key}, &UnknownKindError{Key: key, Version: gvk.Version}
	}
	switch {
	case !kind.namespaced:
		key.Namespace = ""
	case key.Namespace == "" && namespace == "":
		return gc.Entry{Key: key}, &ObjectError{Key: key, Op: "apply", Reason: "it names no namespace; set metadata.namespace or ApplyOptions.Namespace", terminal: true}
	case key.Namespace == "":
		key.Namespace = namespace
	}
	e := gc.Entry{Key: key, Version: gvk.Version, Resource: kind.resource}
	if err := target(e).Check(); err != nil {
		return e, &ObjectError{Key: key, Op: "apply", Reason: err.Error() + "; correct it", terminal: true}
	}
	return e, nil
}

func (a *Applier) newItem(obj *unstructured.Unstructured, entry gc.Entry, byDefault treatment, rules []ignoreRule, opts ApplyOptions) (*item, error) {
	intent, err := normalize(obj, entry.Key, opts.Owner)
	if err != nil {
		return nil, &ObjectError{Key: entry.Key, Op: "apply", Reason: err.Error(), terminal: true}
	}
	treat, err := treatmentOf(intent, byDefault)
	if err != nil {
		return nil, &ObjectError{Key: entry.Key, Op: "apply", Reason: err.Error(), terminal: true}
	}
	intent, adopt := ignoreFields(rules, entry.Key, intent)
	entry.Intent = intentDigest(intent.Object, a.manager, treat.conflicts, adopt)
	it := &item{intent: intent, entry: entry, treat: treat, adopt: adopt, change: Change{Key: entry.Key}}
	it.prev, it.listed = recorded(opts.Previous, entry.Key)
	it.known = it.listed && it.prev.UID != ""
	if treat.policy == Ignore {
		it.ignore()
	}
	return it, nil
}

// namedOddly recognises what YAML makes of an unquoted name such as no or 1.
func namedOddly(obj *unstructured.Unstructured) bool {
	name, ok, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "name")
	_, isString := name.(string)
	return ok && name != nil && !isString
}

// checkShape finds objects that cannot be addressed at all.
func checkShape(objs []*unstructured.Unstructured) error {
	var faults []error
	for i, obj := range objs {
		var reason string
		var key gc.Key
		if obj == nil || obj.Object == nil {
			reason = "it is empty"
		} else {
			gvk := obj.GroupVersionKind()
			key = gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
			switch {
			case gvk.Version == "":
				reason = "it has no apiVersion, or a malformed one"
			case gvk.Kind == "":
				reason = "it has no kind"
			case key.Name == "" && obj.GetGenerateName() != "":
				reason = "it has metadata.generateName; server-side apply needs metadata.name"
			case key.Name == "" && namedOddly(obj):
				reason = "its metadata.name is not a string; quote it"
			case key.Name == "":
				reason = "it has no metadata.name"
			}
		}
		if reason != "" {
			faults = append(faults, &ObjectError{Key: key, Op: "apply", Reason: fmt.Sprintf("object %d of the set: %s", i+1, reason), terminal: true})
		}
	}
	if len(faults) > 0 {
		return &InvalidSetError{Faults: faults}
	}
	return nil
}
