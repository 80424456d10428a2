package ssa

import (
	"fmt"

	"github.com/gitopskit/gitopskit/gc"
)

// Action is what Apply did with one object.
type Action string

// What Apply did with an object.
const (
	Created    Action = "created"    // it did not exist
	Configured Action = "configured" // it existed, and was changed; also where nobody knows, for want of a record
	Unchanged  Action = "unchanged"  // nothing was written
	Ignored    Action = "ignored"    // left alone, because an annotation says so
	Deleted    Action = "deleted"    // in a Plan alone: it left the set
	Skipped    Action = "skipped"    // not tried, because of what Err says
	Failed     Action = "failed"     // tried and refused; Err says why
)

// Change is what happened to one object.
type Change struct {
	Key    gc.Key
	Action Action
	// Recreated says that somebody had deleted the object since the last Apply:
	// it is another one of the same name.
	Recreated bool
	// Replaced says that Apply deleted the object to make it again, because a field
	// could not be changed and its policy is Recreate.
	Replaced bool
	// Drift lists what others had changed since the last Apply, and what Apply
	// corrected.
	Drift []Drift
	// Left lists the fields that others own with other values, and that were left
	// to them as the policy Leave says. An object that is not sent is not asked for them.
	Left     []Conflict
	Warnings []string // from the server's Warning headers
	Err      error    // for Failed and Skipped
}

// Drift is one field of ours that somebody else had changed.
type Drift struct {
	Path    string // as in spec.template.spec.containers[name=app].image
	Manager string // who owns the value that was found; empty for a field that was removed
	Old     any    // what was found; nil if the field was gone
	New     any    // what Apply wrote
	Masked  bool   // Old and New are withheld, because the object is a Secret
}

// String is for people, on one line. What the object holds cannot steer a terminal.
func (d Drift) String() string {
	path, who := printable(d.Path), printable(d.Manager)
	if who == "" {
		who = "somebody"
	}
	switch {
	case d.Masked:
		return fmt.Sprintf("%s changed by %s (values withheld)", path, who)
	case d.Old == nil:
		return fmt.Sprintf("%s removed by %s, restored to %s", path, who, show(d.New))
	}
	return fmt.Sprintf("%s changed by %s to %s, restored to %s", path, who, show(d.Old), show(d.New))
}

func show(v any) string {
	const longest = 120
	s := printable(fmt.Sprintf("%v", v))
	if str, ok := v.(string); ok {
		s = fmt.Sprintf("%q", str)
	}
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest]) + "…"
	}
	return s
}

// Result is everything that one Apply did.
type Result struct {
	// Changes has one element for each object, in the order they were given.
	Changes []Change
	// Entries is the inventory of the set's objects: what was applied, and what was
	// in the inventory before or may exist although its apply failed. Where that is
	// what it was before, it is ApplyOptions.Previous itself. It also knows when
	// everything is to be looked at: see Options.FullInterval.
	Entries gc.Inventory
	// Notes tell what went well, and cost more than it should for want of a right:
	// *FallbackError, one for each type and namespace.
	Notes []error
}

// Count returns how many objects had one of the actions.
func (r *Result) Count(actions ...Action) int {
	n := 0
	for _, c := range r.Changes {
		for _, a := range actions {
			if c.Action == a {
				n++
			}
		}
	}
	return n
}

func (s *set) result() (*Result, error) {
	r := &Result{Changes: s.changes, Notes: s.notes}
	if s.untouched() {
		r.Entries = s.previous
		return r, nil
	}
	entries := make([]gc.Entry, 0, len(s.items))
	var failed []Change
	for _, it := range s.items {
		switch it.change.Action {
		case Failed:
			failed = append(failed, *it.change)
			switch {
			case it.entry.Resource != "":
				entries = append(entries, it.afterFailure())
			case it.listed: // its type never came
				entries = append(entries, *it.prev)
			}
		case Ignored, Skipped:
			if it.change.Action == Skipped {
				failed = append(failed, *it.change)
			}
			if it.listed {
				entries = append(entries, *it.prev)
			}
		default:
			entries = append(entries, it.entry)
		}
	}
	r.Entries = gc.NewInventory(entries...)
	stamp(r.Entries, s.nextFull)
	if len(failed) > 0 {
		return r, &ApplyError{Failed: failed, Total: len(s.items)}
	}
	return r, nil
}

// untouched reports that the inventory is what it was.
func (s *set) untouched() bool {
	for _, it := range s.items {
		same := it.change.Action == Ignored || it.change.Action == Unchanged && it.entry == *it.prev
		if !same || !it.listed {
			return false
		}
	}
	return len(s.items) == len(s.previous) && s.nextFull.Equal(s.stamped)
}

// afterFailure keeps an object on record whose apply failed: it may have been
// carried out all the same, when only the answer was lost. Without an intent and
// a version it is not taken for unchanged the next time. Without a UID, that of
// an object which the lost apply may have made anew is not taken for a stranger's.
func (it *item) afterFailure() gc.Entry {
	e := *it.prev
	if !it.known || it.entry.UID != "" {
		e = it.entry
	}
	if it.uncertain {
		e.UID = ""
	}
	e.Intent, e.ResourceVersion = "", ""
	return e
}
