package ssa

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// link finds what each object of the set must wait for. The order is partial:
// an object starts when its own needs are there, not when a whole level is.
//
//   - a namespaced object needs its namespace;
//   - a custom resource needs its definition;
//   - a role binding needs its role, because the server compares the role's rights
//     with the caller's;
//   - a webhook configuration needs everything else: its backend is often in the
//     same set, and until that runs the webhook would refuse the rest;
//   - and each object needs what it says itself, in DependsAnnotation.
//
// It returns what is wrong with these, and a *CycleError, as an *InvalidSetError.
func (s *set) link() error {
	namespaces := map[string]*item{}
	definitions := map[schema.GroupKind]*item{}
	roles := map[[3]string]*item{}
	for _, it := range s.items {
		k := it.entry.Key
		switch {
		case k.Group == "" && k.Kind == "Namespace":
			namespaces[k.Name] = it
		case k.Group == rbacGroup && (k.Kind == "Role" || k.Kind == "ClusterRole"):
			roles[[3]string{k.Kind, k.Namespace, k.Name}] = it
		}
		if it.entry.GVK().GroupKind() == crdKind {
			for gvk := range definedBy(it.want()) {
				definitions[gvk.GroupKind()] = it
			}
		}
	}
	for _, it := range s.items {
		it.need(namespaces[it.entry.Namespace])
		it.need(definitions[it.entry.GVK().GroupKind()])
		if kind, name, ok := roleOf(it); ok {
			ns := it.entry.Namespace
			if kind == "ClusterRole" {
				ns = ""
			}
			it.need(roles[[3]string{kind, ns, name}])
		}
	}
	faults := s.depend()
	if err := s.cycle(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return &InvalidSetError{Faults: faults}
	}
	s.holdWebhooks()
	return nil
}

// holdWebhooks lets the webhook configurations wait for all that does not ask for
// one of them to be there before. The number of edges would be that of the one times
// that of the other: it is counted instead.
func (s *set) holdWebhooks() {
	for _, it := range s.items {
		if isWebhook(it) {
			s.webhooks = append(s.webhooks, it)
		}
	}
	if len(s.webhooks) == 0 {
		return
	}
	after := followers(s.webhooks)
	for _, it := range s.items {
		if it.before = !isWebhook(it) && !after[it]; it.before {
			s.before++
		}
	}
	if s.before == 0 {
		s.webhooks = nil
	}
	for _, it := range s.webhooks {
		it.waiting++
	}
}

// doneBefore takes note of one that webhook configurations wait for. It returns
// those, if it is the last. One that failed is what they then need.
func (s *set) doneBefore(it *item) []*item {
	if !it.before {
		return nil
	}
	if a := it.change.Action; s.missing == nil && (a == Failed || a == Skipped) {
		s.missing = it
	}
	if s.before--; s.before > 0 {
		return nil
	}
	if s.missing != nil {
		for _, w := range s.webhooks {
			w.needs = append(w.needs, s.missing)
		}
	}
	return s.webhooks
}

const rbacGroup = "rbac.authorization.k8s.io"

func roleOf(it *item) (kind, name string, ok bool) {
	if it.entry.Group != rbacGroup || !strings.HasSuffix(it.entry.Kind, "Binding") {
		return "", "", false
	}
	ref, _ := it.want().Object["roleRef"].(map[string]any)
	kind, _ = ref["kind"].(string)
	name, _ = ref["name"].(string)
	return kind, name, true
}

func isWebhook(it *item) bool {
	return it.entry.Group == "admissionregistration.k8s.io" && strings.HasSuffix(it.entry.Kind, "WebhookConfiguration")
}

func (it *item) need(other *item) {
	if other == nil || other == it {
		return
	}
	it.needs = append(it.needs, other)
	other.feeds = append(other.feeds, it)
	it.waiting++
}

// runner carries out do for the objects of a set, each as soon as its needs are
// done. An object whose need failed is skipped, and so is everything once the
// context ended or the server went away.
type runner struct {
	ctx      context.Context //nolint:containedctx // lives as long as one call of run
	do       func(context.Context, *item)
	set      *set
	report   func(Change)
	ready    []*item
	finished chan *item
	inFlight int
	gone     error // why nothing more is tried
	busy     int   // objects since the last one that the server had time for
	// await is called for what is done, where others depend on it; nil if being
	// applied is enough.
	await    func(context.Context, *item)
	awaiting chan struct{} // has room for those that are awaited at a time
}

// run works on at most limit objects at a time.
func (r *runner) run(s *set, limit int) {
	for _, it := range s.items {
		if it.waiting == 0 {
			r.ready = append(r.ready, it)
		}
	}
	r.set, r.awaiting = s, make(chan struct{}, mostAwaited)
	for left := len(s.items); left > 0; left-- {
		it := r.next(limit)
		if r.await != nil && it.mustBeReady() && !it.awaited {
			// It waits for controllers, which may need the rest of the set: it must
			// not keep others from their turn.
			it.awaited = true
			left++
			go func() {
				r.awaitInTurn(it)
				r.finished <- it
			}()
			continue
		}
		r.finish(it)
	}
}

// mostAwaited is how many objects are waited for at a time: each takes a watch.
const mostAwaited = 100

func (r *runner) awaitInTurn(it *item) {
	select {
	case r.awaiting <- struct{}{}:
		r.await(r.ctx, it)
		<-r.awaiting
	case <-r.ctx.Done():
		it.unready = context.Cause(r.ctx)
	}
}

// next starts what can be started, until an object is done.
func (r *runner) next(limit int) *item {
	for len(r.ready) > 0 && r.inFlight < limit {
		it := r.ready[0]
		r.ready = r.ready[1:]
		if r.start(it) {
			return it
		}
	}
	it := <-r.finished
	if !it.awaited {
		r.inFlight--
	}
	return it
}

// start begins an object's work, or reports that there is none to do.
func (r *runner) start(it *item) (done bool) {
	switch {
	case it.change.Action == Ignored || it.done && !it.redefined():
		return true
	case r.ctx.Err() != nil:
		it.skip("the apply was ended before its turn", context.Cause(r.ctx))
		return true
	case r.gone != nil:
		it.skip("the API server went away, or has no time", r.gone)
		return true
	}
	for _, need := range it.needs {
		if a := need.change.Action; a == Failed || a == Skipped {
			it.skip("it needs "+need.entry.Key.String()+", which was "+string(a), nil)
			return true
		}
		if need.unready != nil && slices.Contains(need.wanted, it) {
			it.skip("it depends on "+need.entry.Key.String()+", which is not ready: "+need.unready.Error(), need.unready)
			return true
		}
	}
	r.inFlight++
	go func() {
		r.do(r.ctx, it)
		r.finished <- it
	}()
	return false
}

// redefined reports that the set just changed the object's definition: what was
// unchanged until then may have lost fields to the new one, without a write.
func (it *item) redefined() bool {
	for _, need := range it.needs {
		if need.entry.GVK().GroupKind() == crdKind && need.change.Action == Configured {
			return true
		}
	}
	return false
}

func (r *runner) finish(it *item) {
	if unreachable := asUnreachable(it.change.Err); unreachable != nil {
		r.gone = unreachable
	}
	r.watchLoad(it)
	if r.report != nil {
		r.report(*it.change)
	}
	for _, ready := range [][]*item{it.feeds, r.set.doneBefore(it)} {
		for _, next := range ready {
			if next.waiting--; next.waiting == 0 {
				r.ready = append(r.ready, next)
			}
		}
	}
}

// mostBusy is how many objects one after the other may meet a server in trouble
// before the rest is put off.
const mostBusy = 16

func (r *runner) watchLoad(it *item) {
	switch {
	case it.change.Action == Failed && it.busy:
		if r.busy++; r.busy >= mostBusy && r.gone == nil {
			r.gone = &OverloadedError{Err: errors.Unwrap(it.change.Err)}
		}
	case it.change.Action != Skipped && !it.done:
		r.busy = 0
	}
}

func (it *item) skip(reason string, err error) {
	it.change.Action = Skipped
	it.change.Err = &ObjectError{Key: it.entry.Key, Op: "skip", Reason: reason, Err: err}
}
