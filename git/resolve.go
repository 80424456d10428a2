package git

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Resolve asks the server which commit a reference means now. It lists the
// references once and moves no objects; for [Ref.Commit] there is nothing to
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
	if ref.Commit != "" {
		return Revision{Commit: ref.Commit}, nil
	}
	var found *resolved
	err = r.do(ctx, "resolve", func(ctx context.Context, s session) error {
		adv, err := list(ctx, s, r.limits)
		if err != nil {
			return err
		}
		picked, err := selector.pick(adv)
		if err != nil {
			return err
		}
		found = newResolved(picked, adv.caps)
		if ref.Name != "" && ref.Name != "HEAD" {
			found.rev.Name = ref.Name // as it was asked for
		}
		r.remember(found, s)
		return nil
	})
	if err != nil {
		return Revision{}, err
	}
	return found.rev, nil
}

// list reads the references of the repository.
func list(ctx context.Context, s session, lim Limits) (*advertisement, error) {
	packets, err := s.advertise(ctx)
	if err != nil {
		return nil, err
	}
	adv, err := readAdvertisement(packets, lim)
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the server ended the session without an answer", ErrProtocol)
	}
	return adv, err
}

// resolved is what a list of references says about one revision.
type resolved struct {
	rev  Revision
	ref  string // the reference's full name, empty for a bare commit
	want id     // what to ask for: the tag, or the commit
	caps capabilities
}

func newResolved(ref reference, caps capabilities) *resolved {
	found := &resolved{
		rev:  Revision{Name: ref.short(), Commit: ref.target().String()},
		ref:  ref.name,
		want: ref.id,
		caps: caps,
	}
	if ref.id != ref.target() {
		found.rev.Tag = ref.id.String()
	}
	return found
}

// remember keeps the last answer, so that a Fetch of it need not list the
// references again, where the protocol allows that.
func (r *Remote) remember(found *resolved, s session) {
	if !s.stateless() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.last = found
	}
}

func (r *Remote) remembered(rev Revision) *resolved {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || r.last.rev != rev {
		return nil
	}
	return r.last
}
