package ssa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
)

// DependsAnnotation names objects of the same set that must be applied before:
// <group>/namespaces/<namespace>/<kind>/<name> or <group>/<kind>/<name>, with
// commas between; the core group is empty, as in /namespaces/default/Secret/db.
const DependsAnnotation = "config.kubernetes.io/depends-on"

// maxDependencies bounds what one object depends on.
const maxDependencies = 100

// DependencyError says what is wrong with an object's DependsAnnotation. Nothing
// was applied.
type DependencyError struct {
	Key    gc.Key
	Reason string
}

func (e *DependencyError) Error() string {
	return fmt.Sprintf("apply %s: annotation %s: %s", e.Key, DependsAnnotation, e.Reason)
}

// Terminal says that the annotation or the set must be changed.
func (e *DependencyError) Terminal() bool { return true }

// CycleError says that objects wait for each other. Nothing was applied.
type CycleError struct {
	Cycle []gc.Key // each depends on the next, and the last on the first
}

func (e *CycleError) Error() string {
	const most = 20
	var b strings.Builder
	for i, k := range e.Cycle {
		if i == most {
			fmt.Fprintf(&b, "%d more -> ", len(e.Cycle)-most)
			break
		}
		b.WriteString(k.String() + " -> ")
	}
	return "apply: objects wait for each other: " + b.String() + e.Cycle[0].String() + "; remove one of these dependencies (annotation " + DependsAnnotation + ")"
}

// Terminal says that the set must be changed.
func (e *CycleError) Terminal() bool { return true }

// dependencies reads the annotation.
func dependencies(text string) ([]gc.Key, error) {
	parts := strings.SplitN(text, ",", maxDependencies+1)
	if len(parts) > maxDependencies {
		return nil, fmt.Errorf("it names more than %d objects", maxDependencies)
	}
	keys := make([]gc.Key, 0, len(parts))
	for _, part := range parts {
		part = strings.TrimSpace(part)
		f := strings.Split(part, "/")
		var k gc.Key
		switch {
		case len(f) == 3:
			k = gc.Key{Group: f[0], Kind: f[1], Name: f[2]}
		case len(f) == 5 && f[1] == "namespaces" && f[2] != "":
			k = gc.Key{Group: f[0], Namespace: f[2], Kind: f[3], Name: f[4]}
		}
		if k.Kind == "" || k.Name == "" {
			return nil, fmt.Errorf("%q is neither <group>/namespaces/<namespace>/<kind>/<name> nor <group>/<kind>/<name>", clip.Quote(part, maxQuoted))
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// depend adds the edges that the objects ask for.
func (s *set) depend() (faults []error) {
	var byKey map[gc.Key]*item // made when it is needed: most sets do without
	for _, it := range s.items {
		if !has(it.object, "annotations", DependsAnnotation) {
			continue
		}
		text, ok := it.want().GetAnnotations()[DependsAnnotation]
		if !ok {
			continue
		}
		if byKey == nil {
			byKey = s.byKey()
		}
		keys, err := dependencies(text)
		if err != nil {
			faults = append(faults, &DependencyError{Key: it.entry.Key, Reason: err.Error()})
		}
		for _, k := range keys {
			on := byKey[k]
			switch on {
			case nil:
				faults = append(faults, &DependencyError{Key: it.entry.Key, Reason: fmt.Sprintf("%s is not in the set; add it, or remove the dependency", clip.Quote(k.String(), maxQuoted))})
			case it:
				faults = append(faults, &DependencyError{Key: it.entry.Key, Reason: "it depends on itself"})
			default:
				it.need(on)
				on.wanted = append(on.wanted, it)
			}
		}
	}
	return faults
}

func (s *set) byKey() map[gc.Key]*item {
	out := make(map[gc.Key]*item, len(s.items))
	for _, it := range s.items {
		out[it.entry.Key] = it
	}
	return out
}

// followers are the objects that wait for one of these, directly or not.
func followers(items []*item) map[*item]bool {
	out := map[*item]bool{}
	todo := slices.Clone(items)
	for len(todo) > 0 {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, next := range last.feeds {
			if !out[next] {
				out[next] = true
				todo = append(todo, next)
			}
		}
	}
	return out
}

// cycle finds objects that wait for each other.
func (s *set) cycle() error {
	left := map[*item]int{}
	var free []*item
	for _, it := range s.items {
		if it.waiting == 0 && len(it.feeds) == 0 {
			continue
		}
		left[it] = it.waiting
		if it.waiting == 0 {
			free = append(free, it)
		}
	}
	for len(free) > 0 {
		it := free[len(free)-1]
		free = free[:len(free)-1]
		delete(left, it)
		for _, next := range it.feeds {
			if left[next]--; left[next] == 0 {
				free = append(free, next)
			}
		}
	}
	for _, it := range s.items {
		if _, ok := left[it]; ok {
			return &CycleError{Cycle: walk(it, left)}
		}
	}
	return nil
}

// walk follows what is left over until it meets an object again.
func walk(it *item, left map[*item]int) []gc.Key {
	seen := map[*item]int{}
	var path []gc.Key
	for {
		if start, ok := seen[it]; ok {
			return path[start:]
		}
		seen[it] = len(path)
		path = append(path, it.entry.Key)
		for _, need := range it.needs {
			if _, ok := left[need]; ok {
				it = need
				break
			}
		}
	}
}

// mustBeReady reports that somebody who is still to be applied depends on the object.
func (it *item) mustBeReady() bool {
	if it.change.Action == Failed || it.change.Action == Skipped || it.change.Action == Ignored {
		return false
	}
	for _, next := range it.wanted {
		if !next.done {
			return true
		}
	}
	return false
}

// becomeReady waits until an object is healthy, for those that depend on it.
func (a *Applier) becomeReady(ctx context.Context, it *item, opts ApplyOptions) {
	_, it.unready = a.Wait(ctx, gc.Inventory{it.entry}, WaitOptions{Owner: opts.Owner, Timeout: opts.DependencyTimeout})
}

// mayArrive tells the objects whose type may be defined by a controller that the
// set brings: they say on what they depend.
func mayArrive(annotations map[string]string) bool { return annotations[DependsAnnotation] != "" }

// resolve asks what an object is called whose type was not served at first.
func (a *Applier) resolve(ctx context.Context, it *item) error {
	start := time.Now()
	for delay := definitionDelay; ; delay = min(2*delay, definitionMaxDelay) {
		fresh, err := it.resolve(ctx)
		var unknown *UnknownKindError
		if !errors.As(err, &unknown) || time.Since(start) > definitionTimeout {
			if err == nil {
				it.entry, it.intent, it.treat, it.adopt = fresh.entry, nil, fresh.treat, fresh.adopt
				it.prev, it.listed, it.known = fresh.prev, fresh.listed, fresh.known
				it.change.Key = fresh.entry.Key
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}
