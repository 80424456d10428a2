package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gitopskit/gitopskit/events"
)

// Emitter takes events without waiting for anybody. An [events.Recorder] is one.
type Emitter interface {
	Emit(e events.Event) error
}

// Target is where the events of one rule go.
type Target struct {
	// Name tells the target from others in errors. Required, unique.
	Name string
	// Selector is the rule. Required.
	Selector *Selector
	// To takes the events. Required. Give each target a recorder of its own: its queue,
	// its pauses and its failures are then nobody else's.
	To Emitter
	// Takes tells which events the platform has a use for, see [Sink.Takes]. Others do
	// not even get into the queue. Nil means all.
	Takes func(events.Event) bool
}

// RouterOptions configures a [Router]. The zero value is ready to use.
type RouterOptions struct {
	// Labels returns the labels of objects, for rules with MatchLabels.
	Labels LabelsFunc
	// OnConflict is called for an event that goes out although its metadata and the
	// rule's say different things. Send waits for it.
	OnConflict func(*ConflictError)
}

// Router hands each event to the targets whose rules select it. It holds nothing of its
// own: where the rules change, make a new one with the recorders of the old. It is safe
// for concurrent use.
type Router struct {
	targets []Target
	opts    RouterOptions
}

var _ events.Sink = (*Router)(nil)

// NewRouter makes a router. The targets' recorders are their owner's to flush and close.
func NewRouter(targets []Target, opts RouterOptions) (*Router, error) {
	names := map[string]bool{}
	for i, t := range targets {
		switch {
		case t.Name == "":
			return nil, fmt.Errorf("notify: target %d has no name: give each target a name of its own", i)
		case names[t.Name]:
			return nil, fmt.Errorf("notify: two targets are named %q: give each target a name of its own", t.Name)
		case t.Selector == nil || t.To == nil:
			return nil, fmt.Errorf("notify: target %q needs a selector and somebody who takes the events", t.Name)
		}
		names[t.Name] = true
	}
	return &Router{targets: slices.Clone(targets), opts: opts}, nil
}

// Send hands the event to each target that selects and takes it. It waits for none of
// them. What goes wrong with one target keeps the event from no other: the error joins a
// [*TargetError] for each.
//
// An event that is sent again after an error gets to each target again; a recorder knows
// what it has delivered lately.
func (r *Router) Send(ctx context.Context, e events.Event) error {
	labels := r.once()
	var errs []error
	for _, t := range r.targets {
		if err := r.offer(ctx, t, e, labels); err != nil {
			errs = append(errs, &TargetError{Target: t.Name, Err: err})
		}
	}
	return errors.Join(errs...)
}

func (r *Router) offer(ctx context.Context, t Target, e events.Event, labels LabelsFunc) error {
	selected, ok, err := t.Selector.Select(ctx, e, labels)
	if err != nil || !ok || t.Takes != nil && !t.Takes(selected.Event) {
		return err
	}
	if len(selected.Conflicts) > 0 && r.opts.OnConflict != nil {
		r.opts.OnConflict(&ConflictError{Rule: t.Selector.rule.id(), Object: e.InvolvedObject, Keys: selected.Conflicts})
	}
	return t.To.Emit(selected.Event)
}

// once asks for the labels of one event's object at most once.
func (r *Router) once() LabelsFunc {
	if r.opts.Labels == nil {
		return nil
	}
	var (
		asked  sync.Once
		labels map[string]string
		err    error
	)
	return func(ctx context.Context, o events.ObjectReference) (map[string]string, error) {
		asked.Do(func() { labels, err = r.opts.Labels(ctx, o) })
		return labels, err
	}
}
