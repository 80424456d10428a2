package ssa

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// ValidationError lists the objects that the server would refuse, of a set of
// which nothing was applied.
type ValidationError struct {
	Faults []error // *ObjectError, never empty
	Total  int
}

func (e *ValidationError) Error() string {
	return "nothing was applied, because the server would refuse some of it: " + list(e.Faults)
}

// Unwrap returns the faults.
func (e *ValidationError) Unwrap() []error { return e.Faults }

// Terminal says that no other try can succeed before an object is changed.
func (e *ValidationError) Terminal() bool {
	for _, f := range e.Faults {
		if t, ok := f.(interface{ Terminal() bool }); !ok || !t.Terminal() {
			return false
		}
	}
	return true
}

// validate asks the server by dry run about each object that is to be sent. What
// cannot be known before the set's own namespaces, definitions and controllers
// are there is passed over. What would be recreated is tried as far as its deletion.
func (a *Applier) validate(ctx context.Context, s *set) error {
	faults := make([]error, len(s.items))
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(a.concurrency)
	for i, it := range s.items {
		if it.done || it.entry.Resource == "" {
			continue
		}
		g.Go(func() error {
			faults[i] = a.tryOut(groupCtx, it)
			if kube.Unreachable(faults[i]) {
				return faults[i]
			}
			return groupCtx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return a.stopped(err)
	}
	e := &ValidationError{Total: len(s.items)}
	for i, err := range faults {
		if err != nil {
			e.Faults = append(e.Faults, a.explain(ctx, s.items[i], err))
		}
	}
	if len(e.Faults) > 0 {
		return e
	}
	return nil
}

// stopped is an error of the network or of the context, for people.
func (a *Applier) stopped(err error) error {
	if kube.Unreachable(err) {
		return &UnreachableError{Server: a.client.Host(), Err: err}
	}
	return err
}

func (a *Applier) tryOut(ctx context.Context, it *item) error {
	trial := *it
	trial.dryRun = true
	intent := it.want()
	once := it.treat.policy == IfNotPresent || len(it.adopt) > 0
	if once {
		intent = createOnly(intent)
	}
	_, err := a.patch(ctx, &trial, intent, a.client.Apply)
	switch {
	case err == nil, once && apierrors.IsConflict(err):
		return nil // if it exists, it is not sent like this
	case it.comesWithTheSet(err), isSchemaError(err) && it.definer() != nil:
		return nil
	}
	if again := it.treat.recreate && immutable(err); again || !it.seen {
		m, getErr := a.client.GetMetadata(ctx, it.target())
		switch {
		case again && apierrors.IsNotFound(getErr), getErr == nil && handsOff(m):
			return nil
		case getErr == nil && again:
			_, err := a.remove(ctx, &trial, m, err)
			return err
		}
	}
	if found := conflictsOf(err); len(found) > 0 {
		if it.treat.conflicts != Report || slices.ContainsFunc(found, a.withPredecessor) {
			return nil
		}
		return &ConflictError{Fields: found}
	}
	return err
}
