package fluxssa

import (
	"context"
	"errors"
	"fmt"

	flux "github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// Engine makes a cluster match sets of objects. An *[ssa.Applier] is one, and an
// *[Applier] is another.
type Engine interface {
	// Targets names the objects that Apply would touch.
	Targets(ctx context.Context, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) (gc.Inventory, error)
	// Apply makes the cluster match objs.
	Apply(ctx context.Context, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) (*ssa.Result, error)
	// Wait returns when every object is healthy.
	Wait(ctx context.Context, entries gc.Inventory, opts ssa.WaitOptions) ([]ssa.Health, error)
}

var (
	_ Engine = (*ssa.Applier)(nil)
	_ Engine = (*Applier)(nil)
)

// Options of an Applier. The zero value is usable.
type Options struct {
	// Apply is given to the ResourceManager. Its intervals are Flux's own where they
	// are not set. Selectors that are nil are those of Flux's kustomize-controller:
	// the annotations and labels kustomize.toolkit.fluxcd.io/reconcile, ssa and force
	// mean what they mean there, but for ssa: Merge, which is about Cleanup.
	Apply flux.ApplyOptions
	// Wait is given to the ResourceManager, but for the timeout and FailFast, which
	// are those of ssa.WaitOptions. The interval is five seconds where it is not set.
	Wait flux.WaitOptions
}

// Applier is an Engine on top of a ResourceManager. It is as safe for concurrent
// use as that is.
type Applier struct {
	manager *flux.ResourceManager
	mapper  meta.RESTMapper
	opts    Options
}

// New returns an Applier that applies with manager and maps types as its client
// does. It sends no request.
func New(manager *flux.ResourceManager, opts Options) *Applier {
	defaults := flux.DefaultApplyOptions()
	if opts.Apply.WaitInterval <= 0 {
		opts.Apply.WaitInterval = defaults.WaitInterval
	}
	if opts.Apply.WaitTimeout <= 0 {
		opts.Apply.WaitTimeout = defaults.WaitTimeout
	}
	if opts.Apply.ExclusionSelector == nil {
		opts.Apply.ExclusionSelector = map[string]string{ssa.FluxReconcileAnnotation: "disabled", ssa.FluxPolicyAnnotation: "ignore"}
	}
	if opts.Apply.IfNotPresentSelector == nil {
		opts.Apply.IfNotPresentSelector = map[string]string{ssa.FluxPolicyAnnotation: "ifnotpresent"}
	}
	if opts.Apply.ForceSelector == nil {
		opts.Apply.ForceSelector = map[string]string{ssa.FluxForceAnnotation: "enabled"}
	}
	if opts.Wait.Interval <= 0 {
		opts.Wait.Interval = flux.DefaultWaitOptions().Interval
	}
	return &Applier{manager: manager, mapper: manager.Client().RESTMapper(), opts: opts}
}

// Targets names the objects that Apply would touch, in the form that
// gc.Steps.Targets wants.
func (a *Applier) Targets(_ context.Context, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) (gc.Inventory, error) {
	entries, err := a.address(objs, opts)
	return gc.NewInventory(entries...), err
}

// Apply makes the cluster match objs, as the manager's ApplyAllStaged does. Every
// object carries gc.OwnerLabel, as those that an ssa.Applier applies do. The error
// is an *ssa.ApplyError when objects failed, and an *ssa.InvalidSetError, before
// any request that writes, when the set itself is wrong.
//
// What the manager cannot do is refused: see the package documentation.
func (a *Applier) Apply(ctx context.Context, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) (*ssa.Result, error) {
	if err := checkApply(opts); err != nil {
		return &ssa.Result{Entries: opts.Previous}, err
	}
	entries, err := a.address(objs, opts)
	if err != nil {
		return &ssa.Result{Entries: opts.Previous}, err
	}
	intents := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		intents[i] = intent(obj, entries[i].Key, opts.Owner)
	}
	// The manager sorts the list that it is given.
	changes, err := a.manager.ApplyAllStaged(ctx, append([]*unstructured.Unstructured(nil), intents...), a.opts.Apply)
	res, err := report(entries, changes, err)
	if opts.Progress != nil {
		for _, change := range res.Changes {
			opts.Progress(change)
		}
	}
	return res, err
}

// intent is the object that the manager may change.
func intent(obj *unstructured.Unstructured, key gc.Key, owner string) *unstructured.Unstructured {
	out := obj.DeepCopy()
	out.SetNamespace(key.Namespace)
	labels := out.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[gc.OwnerLabel] = owner
	out.SetLabels(labels)
	return out
}

// address finds out what each object is called on the server.
func (a *Applier) address(objs []*unstructured.Unstructured, opts ssa.ApplyOptions) ([]gc.Entry, error) {
	if opts.Owner == "" {
		return nil, errors.New("apply: ApplyOptions.Owner is empty; name the set that the objects belong to")
	}
	if why := validation.IsValidLabelValue(opts.Owner); len(why) > 0 {
		return nil, fmt.Errorf("apply: ApplyOptions.Owner %q is no label value: %s", opts.Owner, why[0])
	}
	kinds := defined(objs)
	entries := make([]gc.Entry, 0, len(objs))
	seen := map[gc.Key]bool{}
	var faults []error
	for i, obj := range objs {
		e, err := a.entry(obj, kinds, opts.Namespace)
		var down *ssa.DiscoveryError
		switch {
		case errors.As(err, &down):
			return nil, err // no fault of the set
		case err != nil:
		case e.Name == "" || e.Kind == "" || e.Version == "":
			err = &ssa.ObjectError{Key: e.Key, Op: "apply", Reason: fmt.Sprintf("object %d of the set lacks an apiVersion, a kind or a name", i+1)}
		case seen[e.Key]:
			err = &ssa.ObjectError{Key: e.Key, Op: "apply", Reason: "it is in the set twice; remove one of the two"}
		default:
			err = checkObject(obj, e.Key)
		}
		if err != nil {
			faults = append(faults, err)
		}
		seen[e.Key] = true
		entries = append(entries, e)
	}
	if len(faults) > 0 {
		return nil, &ssa.InvalidSetError{Faults: faults}
	}
	return entries, nil
}

func (a *Applier) entry(obj *unstructured.Unstructured, kinds kindMap, namespace string) (gc.Entry, error) {
	if obj == nil || obj.Object == nil {
		return gc.Entry{}, nil
	}
	gvk := obj.GroupVersionKind()
	e := gc.Entry{Key: gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}, Version: gvk.Version}
	if e.Name == "" || e.Kind == "" || e.Version == "" {
		return e, nil
	}
	// The server comes first: a definition in the set cannot redefine what is there.
	var k kind
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	switch own, ok := kinds[gvk]; {
	case err == nil:
		k = kindOf(mapping)
	case !meta.IsNoMatchError(err):
		return e, &ssa.DiscoveryError{GroupVersion: gvk.GroupVersion().String(), Err: err}
	case !ok:
		return e, &ssa.UnknownKindError{Key: e.Key, Version: e.Version}
	default:
		k = own
	}
	e.Resource = k.resource
	switch {
	case !k.namespaced:
		e.Namespace = ""
	case e.Namespace == "" && namespace == "":
		return e, &ssa.ObjectError{Key: e.Key, Op: "apply", Reason: "it names no namespace; set metadata.namespace or ApplyOptions.Namespace"}
	case e.Namespace == "":
		e.Namespace = namespace
	}
	return e, nil
}
