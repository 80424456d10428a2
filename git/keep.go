package git

import (
	"context"
	"slices"
)

// base is a commit that is held with everything in it.
type base struct {
	commit   id
	segments []*segment
	trees    map[id]*tree
}

// mostKept is how many snapshots a Remote keeps: of one branch one is enough,
// but a Remote may serve several.
const mostKept = 8

// mostSegments is in how many places the objects of a snapshot may be.
const mostSegments = 16

// bases are what a fetch can build upon.
func (f *fetching) bases(ctx context.Context) []base {
	var all []base
	for _, s := range f.remote.keptSnapshots() {
		if s.tree.partial && !s.tree.dirs.same(f.dirs) {
			continue
		}
		all = append(all, s.base())
	}
	if all == nil {
		all = f.fromGiven(ctx)
		f.given = all != nil
	}
	return all
}

func (s *Snapshot) base() base {
	commit, _ := parseID(s.commit.Hash) // it was parsed before
	return base{commit, s.tree.objects.segments(), s.tree.trees}
}

// held returns a snapshot of what is held, nil if something of it is not.
func (f *fetching) held(ctx context.Context) *Snapshot {
	f.remote.restore(ctx)
	for _, s := range f.remote.keptSnapshots() {
		if s.commit.Hash != f.rev.Commit || s.tree.partial && !s.tree.dirs.same(f.dirs) {
			continue
		}
		found := f.heldAs(s)
		if found == nil {
			continue
		}
		if *found == *s.found && s.tree.dirs.same(f.dirs) {
			return s
		}
		if again := s.as(ctx, found, f.dirs); again != nil {
			return again
		}
	}
	return nil
}

// heldAs returns what the revision was resolved to. Without having asked, it is
// not known whether a name is that of an annotated tag.
func (f *fetching) heldAs(s *Snapshot) *resolved {
	if found := f.remote.lastResolved(f.rev); found != nil {
		return found
	}
	if f.rev.Name == s.found.rev.Name && (f.rev.Tag == "" || f.rev.Tag == s.found.rev.Tag) {
		return s.found
	}
	if f.rev.Name == "" {
		return &resolved{rev: f.rev, want: f.commit}
	}
	return nil
}

// as returns a snapshot of the same commit under another name, nil if the tag of
// this name, or a directory, is not held.
func (s *Snapshot) as(ctx context.Context, found *resolved, dirs *directories) *Snapshot {
	again, err := newSnapshot(s.tree.objects, found, s.tree.lim, dirs)
	if err != nil {
		return nil
	}
	again.walked = s.walked
	again.tree.partial = s.tree.partial
	again.tree.known = []map[id]*tree{s.tree.trees}
	if again.tree.load(ctx) != nil {
		return nil
	}
	return again
}

func (r *Remote) keptSnapshots() []*Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

// keep holds a snapshot for later fetches, and drops what is too much.
func (r *Remote) keep(ctx context.Context, s *Snapshot) {
	s.tidy(ctx, &r.disk)
	if r.hold(s) {
		_ = r.persist() // see there
	}
}

func (r *Remote) hold(s *Snapshot) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.limits.Kept < 0 {
		return false
	}
	same := func(old *Snapshot) bool {
		return old.commit.Hash == s.commit.Hash && old.tree.partial == s.tree.partial && old.tree.dirs.same(s.tree.dirs)
	}
	r.kept = slices.Insert(slices.DeleteFunc(r.kept, same), 0, s)
	r.kept = r.kept[:min(len(r.kept), mostKept)]
	for len(r.kept) > 0 && held(r.kept) > r.limits.Kept {
		r.kept = slices.Delete(r.kept, len(r.kept)-1, len(r.kept))
	}
	return true
}

// held is how large all that snapshots hold is together.
func held(snapshots []*Snapshot) int64 {
	var segments []*segment
	for _, s := range snapshots {
		segments = appendNew(segments, s.tree.objects.segments()...)
	}
	var total int64
	for _, s := range segments {
		total += s.length()
	}
	return total
}

// appendNew appends those that are not there yet.
func appendNew(to []*segment, more ...*segment) []*segment {
	for _, s := range more {
		if !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	return to
}

// tidy drops segments of which nothing is in use, and copies what is, if most of
// what is held is not, or it is in too many places.
func (s *Snapshot) tidy(ctx context.Context, on *disk) {
	const slack = 16 << 20
	commit, _, _ := s.found.rev.ids() // they were parsed before
	live := s.tree.live
	for _, hash := range []id{s.found.want, commit} {
		if p, ok := s.tree.objects.look(hash); ok {
			live[p.segment] += p.size
		}
	}
	objects := &store{ctx: s.tree.objects.ctx, own: s.tree.objects.own}
	for _, seg := range s.tree.objects.rest {
		if _, used := live[seg]; used { // perhaps by an empty file
			objects.rest = append(objects.rest, seg)
		}
	}
	defer func() { s.tree.moveTo(objects) }()
	var total, used int64
	for _, seg := range objects.segments() {
		total += seg.length()
		used += live[seg]
	}
	if len(objects.rest) < mostSegments && total <= 2*used+slack {
		return
	}
	if compact, err := s.tree.compact(ctx, on, s.found.want, commit); err == nil { // otherwise it stays as it is
		objects = compact
	}
}
