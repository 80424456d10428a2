package gc

import (
	"context"
	"errors"
)

// Steps are the parts of one reconcile that Reconcile puts in order.
type Steps struct {
	// Targets names the objects that Apply is about to touch. Key, Version and
	// Resource suffice.
	Targets Inventory
	// Apply brings the targets about. It is given what the inventory knows of
	// them, and returns the entries of all targets that exist afterwards, also
	// when it fails.
	Apply func(ctx context.Context, previous Inventory) (Inventory, error)
	// Prune deletes what left the set; see Pruner.Prune. Nil keeps everything, in
	// the cluster and in the inventory.
	Prune func(ctx context.Context, gone Inventory) (PruneResult, error)
}

// Report is what one Reconcile did.
type Report struct {
	Inventory Inventory   // as it is stored now
	Pruned    PruneResult // empty if nothing left the set or Apply failed
	Writes    int         // how often the inventory was saved
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
// as they are; a failure to save what Apply did is joined to them.
func Reconcile(ctx context.Context, store Store, s Steps) (Report, error) {
	stored, err := store.Load(ctx)
	if err != nil {
		return Report{}, err
	}
	r := reconcile{store: store, report: Report{Inventory: stored}}
	union := s.Targets.Union(stored)
	if len(union) != len(stored) {
		if err := r.save(ctx, union); err != nil {
			return r.report, err
		}
	}
	applied, err := s.Apply(ctx, union.Intersect(s.Targets))
	union = union.Union(applied)
	if err != nil {
		return r.report, errors.Join(err, r.save(ctx, union))
	}
	gone := stored.Minus(s.Targets)
	keep := gone
	if len(gone) > 0 && s.Prune != nil {
		r.report.Pruned, err = s.Prune(ctx, gone)
		keep = r.report.Pruned.Kept
	}
	return r.report, errors.Join(err, r.save(ctx, union.Intersect(s.Targets).Union(keep)))
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
