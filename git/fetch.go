package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fetch brings the commit of a revision, with its tree and, where the revision
// is an annotated tag, the tag; no history. All of it is checked against the
// hashes, and the tree against the rules of [Snapshot], before Fetch returns.
//
// What an earlier fetch of this Remote brought is not brought again, and what
// is held completely takes no request. If anything is odd about that, such as a
// server that left out too much, all is fetched anew.
//
// A revision from [Remote.Resolve] is fetched as it was, also if the reference
// has moved since, as long as the server gives the commit. For a revision from
// [ParseRevision] that has a name, the references of this name are listed first.
// A commit that no reference points to is given by servers that speak version 2
// of the protocol, and by others that are set up for it. Where it is refused,
// the history of the references is fetched, at most [Limits.History] deep, to
// look for it there ([Snapshot.Walked] says so); [ErrCommitUnavailable] if it is
// not found.
func (r *Remote) Fetch(ctx context.Context, rev Revision, opts FetchOptions) (*Snapshot, error) {
	f, err := r.newFetching(rev, opts)
	if err != nil {
		return nil, r.wrap(ctx, "fetch", err)
	}
	unlock, err := r.lock(ctx, f.commit)
	if err != nil {
		return nil, r.wrap(ctx, "fetch", err)
	}
	defer unlock()
	snapshot := f.held(ctx)
	if snapshot == nil {
		if snapshot, err = f.run(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.complete(ctx, snapshot); err != nil {
		return nil, err
	}
	return snapshot, nil
}

// fetching is one fetch under way.
type fetching struct {
	remote *Remote
	opts   FetchOptions
	rev    Revision
	commit id
	tag    id // zero: none is known
	dirs   *directories
	// refused: the server has the commit, perhaps, but gives only what it lists.
	refused bool
	// given: what is built upon is what the caller gave, who may not have all.
	given bool
	// apart: files are asked for apart, those that are there already not at all.
	// The server is told of nothing.
	apart bool
	// streamed: the caller was shown the snapshot that is returned.
	streamed bool
}

func (r *Remote) newFetching(rev Revision, opts FetchOptions) (*fetching, error) {
	f := &fetching{remote: r, opts: opts, rev: rev}
	var err error
	if f.commit, f.tag, err = rev.ids(); err != nil {
		return nil, err
	}
	if f.dirs, err = newDirectories(opts.Dirs); err != nil {
		return nil, err
	}
	return f, nil
}

// lock waits until nobody else fetches a commit: whoever comes second finds
// what the first one brought.
func (r *Remote) lock(ctx context.Context, commit id) (unlock func(), err error) {
	for {
		r.mu.Lock()
		busy := r.busy[commit]
		if busy == nil {
			busy = make(chan struct{})
			r.busy[commit] = busy
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.busy, commit)
				r.mu.Unlock()
				close(busy)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// run fetches: what is new, or else everything, or else some history too.
func (f *fetching) run(ctx context.Context) (*Snapshot, error) {
	bases := f.bases(ctx)
	snapshot, err := f.fetch(ctx, bases, 1)
	if f.given && doubtful(err) {
		f.apart = true
		snapshot, err = f.fetch(ctx, bases, 1)
		f.apart = false
	}
	if bases != nil && doubtful(err) {
		snapshot, err = f.fetch(ctx, nil, 1)
	}
	if f.refused && errors.Is(err, ErrCommitUnavailable) {
		return f.walk(ctx)
	}
	return snapshot, err
}

// walk searches the commit in the history of all references, deeper and deeper.
func (f *fetching) walk(ctx context.Context) (snapshot *Snapshot, err error) {
	most := f.remote.limits.History
	for depth := 50; ; depth *= 10 {
		snapshot, err = f.fetch(ctx, nil, min(depth, most))
		if depth >= most || !errors.Is(err, ErrCommitUnavailable) {
			return snapshot, err
		}
	}
}

// doubtful errors may come from what was held already.
func doubtful(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrStorage) || errors.Is(err, ErrProtocol)
}

// fetch asks for the revision once. If the depth is more than one, it is
// searched in the history of all references.
func (f *fetching) fetch(ctx context.Context, bases []base, depth int) (snapshot *Snapshot, err error) {
	err = f.remote.do(ctx, "fetch", func(ctx context.Context, e engine) error {
		can, err := e.abilities(ctx)
		if err != nil {
			return err
		}
		found, err := f.locate(ctx, e, can)
		if err != nil {
			return err
		}
		w := wanted{objects: []id{found.want}, depth: depth}
		if depth > 1 {
			if w.objects, err = tips(ctx, e); err != nil {
				return err
			}
		}
		if !can.thin && !f.apart {
			bases = nil
		}
		sparse := (f.dirs != nil || f.apart) && can.filter && can.byID
		if sparse {
			w.filter = "blob:none"
		}
		f.refused = !can.byID && f.remote.limits.History > 1
		if snapshot, err = f.transfer(ctx, e, w, found, bases, sparse); err != nil {
			return unavailable(err, f.rev, depth)
		}
		if depth > 1 {
			snapshot.walked = depth
		}
		return nil
	})
	return snapshot, err
}

// transfer brings what is wanted, and makes a snapshot of it while it arrives.
func (f *fetching) transfer(ctx context.Context, e engine, w wanted, found *resolved, bases []base, sparse bool) (*Snapshot, error) {
	cut, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	objects := &store{ctx: cut, own: newSegment(f.remote.dir)}
	var known *store
	for _, b := range bases {
		if !f.apart {
			w.have = append(w.have, b.commit)
		}
		objects.rest = appendNew(objects.rest, b.segments...)
	}
	if bases != nil {
		known = &store{ctx: cut, own: objects.rest[0], rest: objects.rest[1:]}
	}
	received := make(chan error, 1)
	go func() { received <- e.receive(cut, w, objects.own, known, func() { cancel(errAbandoned) }) }()
	snapshot, err := f.assemble(cut, cancel, objects, found, bases, sparse)
	if err != nil {
		cancel(err)
	}
	// What the transfer says comes first, unless it only says that it was cut.
	if failure := <-received; failure != nil && (err == nil || errors.Is(err, errAbandoned) || errors.Is(failure, ErrLimit)) {
		err = failure
	}
	if err == nil && sparse {
		err = f.fetchMissing(ctx, e, snapshot)
	}
	if err != nil {
		return nil, err
	}
	f.remote.keep(ctx, snapshot)
	return snapshot, nil
}

// locate finds what to ask for to get the revision.
func (f *fetching) locate(ctx context.Context, e engine, can abilities) (*resolved, error) {
	if found := f.remote.lastResolved(f.rev); found != nil {
		return found, nil
	}
	found := &resolved{rev: f.rev, want: f.commit}
	if f.rev.Name != "" {
		found.ref = fullName(f.rev)
	}
	if !f.tag.isZero() {
		found.want = f.tag
	}
	name, peel := strings.CutSuffix(f.rev.Name, "^{}")
	if can.byID && (name == "" || peel || !f.tag.isZero()) {
		return found, nil
	}
	var prefixes []string
	if can.byID {
		prefixes = []string{name, tagPrefix + name, branchPrefix + name}
	}
	adv, err := e.list(ctx, prefixes)
	if err != nil {
		return nil, err
	}
	ref, ok := adv.leadingTo(f.commit, name)
	if !ok || !f.tag.isZero() && f.tag != ref.id {
		return found, nil // it is for the server to say whether it gives it
	}
	// A reference that leads there is a way to the commit under whatever name,
	// but only its own name makes a tag the revision's tag.
	found.want = ref.id
	if name != "" && !peel && (ref.short() == name || ref.name == name) {
		found.ref = ref.name
		found.rev.Tag = newResolved(ref).rev.Tag
	}
	return found, nil
}

// fullName is the full name that a revision's reference must have had.
func fullName(rev Revision) string {
	switch {
	case strings.HasPrefix(rev.Name, "refs/") || rev.Name == "HEAD":
		return rev.Name
	case rev.Tag != "":
		return tagPrefix + rev.Name
	}
	return branchPrefix + rev.Name
}

// tips are what branches and tags are at.
func tips(ctx context.Context, e engine) ([]id, error) {
	const most = 2000
	adv, err := e.list(ctx, []string{branchPrefix, tagPrefix})
	if err != nil {
		return nil, err
	}
	var all []id
	seen := map[id]bool{}
	for _, ref := range adv.refs {
		listed := strings.HasPrefix(ref.name, branchPrefix) || strings.HasPrefix(ref.name, tagPrefix)
		if listed && !seen[ref.id] && len(all) < most {
			seen[ref.id] = true
			all = append(all, ref.id)
		}
	}
	if len(all) == 0 {
		return nil, ErrCommitUnavailable
	}
	return all, nil
}

// unavailable says what to do when the server does not give a commit.
func unavailable(err error, rev Revision, depth int) error {
	var missing *missingError
	if depth > 1 && errors.As(err, &missing) && slices.Contains([]string{rev.Commit, rev.Tag}, missing.hash.String()) {
		err = fmt.Errorf("%w: it is not among the last %d commits of any branch or tag, and the server gives no other", ErrCommitUnavailable, depth)
	}
	if errors.Is(err, ErrCommitUnavailable) {
		return fmt.Errorf("%w; resolve %s again: its reference may have moved", err, rev)
	}
	return err
}
