package ssa

import (
	"context"
	"fmt"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
)

// DefinitionError says that the server accepted the definition of an object's type
// and does not serve the type, because another definition has taken its names. It
// is not terminal: the other one may go.
type DefinitionError struct {
	Definition gc.Key
	Reason     string // the server's own, shortened
	Err        error  // the answer to the object
}

func (e *DefinitionError) Error() string {
	return fmt.Sprintf("its type is not served, because %s is not accepted: %s; give it other names, or remove what has them", e.Definition, e.Reason)
}

// Unwrap returns the answer to the object.
func (e *DefinitionError) Unwrap() error { return e.Err }

// definer is the object of the set that defines the item's type, or nil.
func (it *item) definer() *item {
	for _, need := range it.needs {
		if need.entry.GVK().GroupKind() == crdKind {
			return need
		}
	}
	return nil
}

// notAccepted finds out whether there is any use in waiting for a type whose
// definition came with the set. Who may not read it waits.
func (a *Applier) notAccepted(ctx context.Context, it *item, cause error) error {
	d := it.definer()
	if d == nil {
		return nil
	}
	live, err := a.client.Get(ctx, d.target())
	if err != nil {
		return nil //nolint:nilerr // then nobody knows
	}
	for _, c := range conditionsOf(live) {
		if c["type"] != "NamesAccepted" || c["status"] != "False" {
			continue
		}
		if message, _ := c["message"].(string); message != "" {
			return &DefinitionError{Definition: d.entry.Key, Reason: clip.Quote(message, maxQuoted), Err: cause}
		}
	}
	return nil
}
