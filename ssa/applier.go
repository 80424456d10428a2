package ssa

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	full, next := a.checks.due(set.stamped, opts.Full)
	if r.gone, err = a.intend(ctx, set, opts.Owner, full); err != nil {
		return &Result{Entries: opts.Previous}, err
	}
	if r.gone == nil {
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
	s, err := a.address(ctx, objs, opts)
	if err != nil {
		return nil, err
	}
	known := make([]gc.Entry, 0, len(s.items))
	for _, it := range s.items {
		if it.entry.Resource != "" {
			known = append(known, it.entry)
		}
	}
	return gc.NewInventory(known...), nil
}
