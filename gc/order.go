package gc

import (
	"context"
	"fmt"
	"strings"
)

// Objects are deleted in phases, one after the other: a webhook whose backend is
// deleted first would refuse every later delete; a custom resource whose controller
// is deleted first keeps its finalizers for ever; and an object whose definition or
// namespace is deleted first goes without its own look.
const (
	phaseWebhooks = iota
	phaseInstances
	phaseRest
	phaseParents
	phaseCount
)

func phaseOf(e Entry, gone Inventory) int {
	switch {
	case e.Group == "admissionregistration.k8s.io":
		return phaseWebhooks
	case gone.Has(e.parents()[0]):
		return phaseInstances
	case e.Group == "" && e.Kind == "Namespace", e.Group == definitions, e.Group == "apiregistration.k8s.io":
		return phaseParents
	}
	return phaseRest
}

// DependsOnAnnotation names the objects that an object needs, as cli-utils has it:
// a comma-separated list of group/namespaces/namespace/Kind/name, and of
// group/Kind/name for cluster-scoped kinds. It is deleted before they are.
const DependsOnAnnotation = "config.kubernetes.io/depends-on"

// maxDependencies bounds how many objects one annotation can name.
const maxDependencies = 1000

// dependencies reads a DependsOnAnnotation. What is not well-formed cannot be
// ordered by, and is left out: it must not keep an object from being deleted.
func dependencies(text string) []Key {
	var ks []Key
	for ref := range strings.SplitSeq(text, ",") {
		if len(ks) == maxDependencies {
			break
		}
		f := strings.Split(strings.TrimSpace(ref), "/")
		switch {
		case len(f) == 3:
			ks = append(ks, Key{Group: f[0], Kind: f[1], Name: f[2]})
		case len(f) == 5 && f[1] == "namespaces":
			ks = append(ks, Key{Group: f[0], Namespace: f[2], Kind: f[3], Name: f[4]})
		}
	}
	return ks
}

// link connects the objects that are to be deleted by their annotations, and
// brings what is depended on into the phase of what depends on it, or a later one.
// Only namespaces and their like are deleted among the last, where their contents
// would go unasked.
func link(cs []*candidate) {
	byKey := make(map[Key]*candidate, len(cs))
	for _, c := range cs {
		if !c.settled {
			byKey[c.entry.Key] = c
		}
	}
	for _, c := range byKey {
		if c.meta == nil {
			continue
		}
		for _, k := range dependencies(c.meta.Annotations[DependsOnAnnotation]) {
			if other := byKey[k]; other != nil && other != c {
				c.feeds = append(c.feeds, other)
				other.needs = append(other.needs, c)
			}
		}
	}
	for moved := true; moved; { // ends: phases only grow
		moved = false
		for _, c := range byKey {
			for _, other := range c.feeds {
				if phase := min(c.phase, phaseRest); other.phase < phase {
					other.phase, moved = phase, true
				}
			}
		}
	}
	for _, c := range byKey {
		for _, need := range c.needs {
			if need.phase == c.phase {
				c.waiting++
			}
		}
	}
}

// event is news from the goroutine of a candidate.
type event struct {
	c    *candidate
	done bool // else it only waits from now on, and its place is free
}

// delete deletes the candidates phase by phase.
func (r *pruning) delete(ctx context.Context, cs []*candidate) {
	link(cs)
	for phase := range phaseCount {
		if phase == phaseParents {
			settleParents(cs)
		}
		var due []*candidate
		for _, c := range cs {
			if c.phase != phase {
				continue
			}
			if c.settled {
				r.report(c)
			} else {
				due = append(due, c)
			}
		}
		r.deletePhase(ctx, due)
	}
}

// deletePhase deletes candidates, each as soon as what needs it is gone. Those
// that need each other in a circle are deleted in any order.
func (r *pruning) deletePhase(ctx context.Context, due []*candidate) {
	var ready []*candidate
	started := map[*candidate]bool{}
	push := func(c *candidate) {
		if !started[c] {
			started[c] = true
			ready = append(ready, c)
		}
	}
	for _, c := range due {
		if c.waiting <= 0 {
			push(c)
		}
	}
	events := make(chan event)
	busy := 0 // requests in flight
	next := 0 // where to look for one of a circle
	for left, running := len(due), 0; left > 0; {
		for len(ready) > 0 && busy < r.opts.Concurrency {
			c := ready[0]
			ready = ready[1:]
			c.hold()
			busy++
			running++
			go r.deleteOne(ctx, c, events)
		}
		if running == 0 { // a circle
			for started[due[next]] {
				next++
			}
			push(due[next])
			continue
		}
		e := <-events
		if !e.done {
			busy--
			continue
		}
		if !e.c.freed {
			busy--
		}
		running--
		left--
		r.report(e.c)
		for _, other := range e.c.feeds {
			if other.phase != e.c.phase {
				continue
			}
			if other.waiting--; other.waiting <= 0 {
				push(other)
			}
		}
	}
}

func (r *pruning) deleteOne(ctx context.Context, c *candidate, events chan<- event) {
	defer func() { events <- event{c, true} }()
	switch {
	case c.heldBy != nil:
		c.fail(fmt.Errorf("not tried: %s depends on it, and failed", c.heldBy.entry.Key))
		return
	case c.moves != "":
		r.handOver(ctx, c)
		return
	}
	r.remove(ctx, c, func() {
		c.freed = true
		events <- event{c, false}
	})
}

// hold finds one that needs the candidate and failed. In a circle some may not be
// done yet.
func (c *candidate) hold() {
	for _, need := range c.needs {
		if need.reported && need.done.Outcome == Failed {
			c.heldBy = need
		}
	}
}

func (r *pruning) report(c *candidate) {
	c.reported = true
	if r.opts.Progress != nil {
		r.opts.Progress(c.done)
	}
}
