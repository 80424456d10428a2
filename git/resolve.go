package git

import (
	"context"
	"errors"
	"slices"
)

// Resolve asks the server which commit a reference means now. It lists the
// references that may be meant and moves no objects, but for a few commits where
// [Ref.SemVer] needs them; for a whole hash in [Ref.Commit] there is nothing to
// ask, and no request is made.
//
// Beside what a connection can suffer, errors are [ErrInvalidRef],
// [ErrEmptyRepository], [ErrReferenceNotFound] and [ErrNoMatch], the last two
// as a [ReferenceError].
func (r *Remote) Resolve(ctx context.Context, ref Ref) (Revision, error) {
	selector, err := ref.parse()
	if err != nil {
		return Revision{}, r.wrap(ctx, "resolve", err)
	}
	if len(ref.Commit) == len(id{})*2 {
		return Revision{Commit: ref.Commit}, nil
	}
	var found *resolved
	err = r.do(ctx, "resolve", func(ctx context.Context, e engine) error {
		picked, err := selector.resolve(ctx, e)
		if err != nil {
			return err
		}
		found = newResolved(picked)
		if ref.Name != "" && ref.Name != "HEAD" {
			found.rev.Name = ref.Name // as it was asked for
		}
		if selector.commit != "" {
			found.rev = Revision{Commit: found.rev.Commit}
		}
		return nil
	})
	if err != nil {
		return Revision{}, err
	}
	r.noteResolved(found)
	return found.rev, nil
}

// resolve lists the references that may be meant, and picks one. If that fails,
// more are listed, to say what there is.
func (s selector) resolve(ctx context.Context, e engine) (reference, error) {
	prefixes := s.prefixes()
	adv, err := e.list(ctx, prefixes)
	if err != nil {
		return reference{}, err
	}
	picked, err := s.pick(ctx, e, adv)
	var missing *ReferenceError
	if err == nil || prefixes == nil || !errors.As(err, &missing) {
		return picked, nonEmpty(adv, err)
	}
	for _, more := range [][]string{{s.family()}, nil} {
		adv, listErr := e.list(ctx, more)
		if listErr != nil {
			return reference{}, listErr
		}
		if len(adv.refs) > 0 && more != nil {
			return s.pick(ctx, e, adv)
		}
		err = nonEmpty(adv, err)
	}
	return reference{}, err
}

// nonEmpty says why nothing was found in a repository without references.
func nonEmpty(adv *advertisement, err error) error {
	if err != nil && len(adv.refs) == 0 {
		return ErrEmptyRepository
	}
	return err
}

// resolved is what a list of references says about one revision.
type resolved struct {
	rev  Revision
	ref  string // the reference's full name, empty for a bare commit
	want id     // what to ask for: the tag, or the commit
}

func newResolved(ref reference) *resolved {
	found := &resolved{
		rev:  Revision{Name: ref.short(), Commit: ref.target().String()},
		ref:  ref.name,
		want: ref.id,
	}
	if ref.id != ref.target() {
		found.rev.Tag = ref.id.String()
	}
	return found
}

// noteResolved keeps the last answers, so that a Fetch of one need not list the
// references again.
func (r *Remote) noteResolved(found *resolved) {
	const most = 32
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.resolved = slices.DeleteFunc(r.resolved, func(old *resolved) bool { return old.rev == found.rev })
	r.resolved = append(r.resolved, found)
	if n := len(r.resolved); n > most {
		r.resolved = slices.Delete(r.resolved, 0, n-most)
	}
}

func (r *Remote) lastResolved(rev Revision) *resolved {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, found := range r.resolved {
		if found.rev == rev {
			return found
		}
	}
	return nil
}
