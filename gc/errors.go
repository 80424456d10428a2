package gc

import (
	"fmt"
	"strings"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// StoreError says that an inventory could not be read or written.
type StoreError struct {
	Op    string // "load" or "save"
	Where string // the object that holds it
	Err   error
}

func (e *StoreError) Error() string {
	return fmt.Sprintf("%s the inventory in %s: %s", e.Op, e.Where, kube.Explain(e.Err))
}

// Unwrap returns the API server's error.
func (e *StoreError) Unwrap() error { return e.Err }

// DamagedError says that what a store holds cannot be read. Nothing is deleted
// in its place: restore the object from a backup, or delete it to begin with an
// empty inventory, which orphans what the old one listed.
type DamagedError struct {
	Where string
	Err   error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the inventory in %s is damaged: %v; restore it, or delete it to start anew (what it listed is then no longer pruned)", e.Where, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *DamagedError) Unwrap() error { return e.Err }

// Terminal says that trying again cannot help.
func (e *DamagedError) Terminal() bool { return true }

// PruneError says which objects could not be deleted. They are kept in the
// inventory and tried again.
type PruneError struct {
	Failed []Pruned // those with an Err, never empty; causes before what they held up
}

func (e *PruneError) Error() string {
	first := e.Failed[0]
	msg := fmt.Sprintf("prune %s: %s", first.Key, kube.Explain(first.Err))
	if n := len(e.Failed) - 1; n > 0 {
		others := make([]string, 0, 3)
		for _, p := range e.Failed[1:min(4, len(e.Failed))] {
			others = append(others, p.Key.String())
		}
		msg += fmt.Sprintf(" (and %d more: %s)", n, strings.Join(others, ", "))
	}
	return msg
}

// Unwrap returns the errors of all objects.
func (e *PruneError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, p := range e.Failed {
		errs = append(errs, p.Err)
	}
	return errs
}
