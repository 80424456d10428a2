package gc

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Steps are the parts of one reconcile that Reconcile puts in order.
type Steps struct {
	// Targets names the objects that Apply is about to touch, in any order. Key,
	// Version and Resource suffice.
	Targets Inventory
	// Apply brings the targets about. It is given what the inventory knows of
	// them, and returns the entries of all targets that exist afterwards, also
	// when it fails.
	Apply func(ctx context.Context, previous Inventory) (Inventory, error)
	// Pruner deletes what left the set, as PruneOptions say. Reconcile tells it the
	// size of the set, which its guard compares with. Without it, and without Prune,
	// everything is kept, in the cluster and in the inventory.
	Pruner       *Pruner
	PruneOptions PruneOptions
	// Prune is called in place of Pruner by those who delete in a way of their own.
	// It has to guard against deletions that nobody meant itself.
	Prune func(ctx context.Context, gone Inventory) (PruneResult, error)
}

// Report is what one Reconcile did.
type Report struct {
	Inventory Inventory   // as it is stored now
	Pruned    PruneResult // empty if nothing left the set or Apply failed
	// Held lists namespaces and resource definitions that left the set and are not
	// deleted yet, because targets live in them and would be deleted with them.
	Held   Inventory
	Writes int // how often the inventory was saved
}

// Reconcile carries out the steps in the order that loses nothing whenever it is
// interrupted:
//
//  1. the union of the old inventory and the targets is saved;
//  2. the targets are applied;
//  3. only if all of them were, what left the set is pruned;
//  4. the inventory shrinks to what is there.
//
// Killed at any point, the next run knows every object that was ever applied.
// Where nothing changes, nothing is saved. Errors of Apply and Prune are returned
// as they are; a failure to save what they did is joined to them.
//
// Prune is not given what deleting would take a target along: an object that is a
// target under another API group, or a namespace or definition of a target.
func Reconcile(ctx context.Context, store Store, s Steps) (Report, error) {
	if s.Apply == nil {
		return Report{}, errors.New("reconcile: Steps.Apply is nil; give the function that applies the targets")
	}
	s.Targets = NewInventory(s.Targets...) // an unordered one would hide what is wanted
	stored, err := store.Load(ctx)
	if err != nil {
		return Report{}, err
	}
	r := reconcile{store: store, report: Report{Inventory: stored}}
	union := s.Targets.Union(stored)
	if len(union) != len(stored) {
		markLeft(union, s.Targets, stored)
		if err := r.save(ctx, union); err != nil {
			return r.report, err
		}
	}
	applied, err := s.Apply(ctx, wantedAgain(union.Intersect(s.Targets)))
	union = union.Union(wantedAgain(applied))
	if err != nil {
		return r.report, r.saveAfter(ctx, union, err)
	}
	wanted := union.Intersect(s.Targets.Union(applied))
	gone := withoutTwins(union.Minus(wanted), wanted)
	gone, r.report.Held = holdParents(gone, wanted)
	keep := gone
	if prune := s.pruneFunc(SetSize{Before: len(stored), After: len(wanted)}); len(gone) > 0 && prune != nil {
		r.report.Pruned, err = prune(ctx, gone)
		keep = r.report.Pruned.left(gone, err)
	}
	return r.report, r.saveAfter(ctx, wanted.Union(keep).Union(r.report.Held), err)
}

// markLeft notes in all, before others join the set, the size of the set that is
// left by what is not wanted any more. Else the next run, after one that was killed,
// failed or was refused by the guard, would take it for a part of a larger set.
func markLeft(all, wanted, stored Inventory) {
	size := len(stored)
	for _, e := range stored {
		if e.LeftOf > 0 {
			size--
		}
	}
	for i, e := range all {
		if e.LeftOf == 0 && !wanted.Has(e.Key) {
			all[i].LeftOf = int64(size)
		}
	}
}

// wantedAgain returns the entries as those of objects that did not leave the set.
func wantedAgain(inv Inventory) Inventory {
	if !inv.anyLeft() {
		return inv
	}
	inv = slices.Clone(inv)
	for i := range inv {
		inv[i].LeftOf = 0
	}
	return inv
}

func (s Steps) pruneFunc(size SetSize) func(context.Context, Inventory) (PruneResult, error) {
	if s.Prune != nil || s.Pruner == nil {
		return s.Prune
	}
	opts := s.PruneOptions
	opts.Set = size
	return func(ctx context.Context, gone Inventory) (PruneResult, error) { return s.Pruner.Prune(ctx, gone, opts) }
}

// withoutTwins leaves out the entries of objects that are wanted under another
// key: some types are served in two groups, and one object is then in both.
func withoutTwins(gone, wanted Inventory) Inventory {
	byUID := make(map[types.UID]Key, len(wanted))
	for _, e := range wanted {
		byUID[e.UID] = e.Key
	}
	var out Inventory
	for _, e := range gone {
		twin, ok := byUID[e.UID]
		if ok && e.UID != "" && twin.Namespace == e.Namespace && twin.Name == e.Name {
			continue
		}
		out = append(out, e)
	}
	return out
}

// holdParents tells the entries that may be deleted from those whose deletion
// would delete what is wanted.
func holdParents(gone, wanted Inventory) (free, held Inventory) {
	parents := map[Key]bool{}
	for _, e := range wanted {
		for _, k := range e.parents() {
			parents[k] = true
		}
	}
	for _, e := range gone {
		if parents[e.Key] {
			held = append(held, e)
		} else {
			free = append(free, e)
		}
	}
	return free, held
}

// left is what stays on record of gone after a Prune. One that fails may not have
// got as far as a complete result: then only what it names as settled leaves.
func (p PruneResult) left(gone Inventory, err error) Inventory {
	kept := NewInventory(p.Kept...)
	if err == nil {
		return kept
	}
	var settled Inventory
	for _, o := range p.Objects {
		switch o.Outcome {
		case Deleted, Absent, Orphaned, Foreign, HandedOver:
			settled = append(settled, Entry{Key: o.Key})
		case Failed:
		}
	}
	return gone.Minus(NewInventory(settled...)).Union(kept)
}

type reconcile struct {
	store  Store
	report Report
}

func (r *reconcile) save(ctx context.Context, inv Inventory) error {
	if inv.Equal(r.report.Inventory) {
		return nil
	}
	if err := r.store.Save(ctx, inv); err != nil {
		return err
	}
	r.report.Inventory = inv
	r.report.Writes++
	return nil
}

// saveAfter saves what a step did that ended with err.
func (r *reconcile) saveAfter(ctx context.Context, inv Inventory, err error) error {
	saveErr := r.save(ctx, inv)
	if err == nil || saveErr == nil {
		return cmp.Or(err, saveErr)
	}
	return errors.Join(err, saveErr)
}
