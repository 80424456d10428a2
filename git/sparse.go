package git

import (
	"context"
	"slices"
)

// fetchMissing brings the files that are wanted of a tree whose files were left
// out of the transfer, except for those that are held.
func (f *fetching) fetchMissing(ctx context.Context, e engine, s *Snapshot) error {
	const atOnce = 20_000 // requests of a megabyte
	absent := s.tree.absent
	slices.SortFunc(absent, func(a, b id) int { return slices.Compare(a[:], b[:]) })
	absent = slices.Compact(absent)
	for some := range slices.Chunk(absent, atOnce) {
		into := newSegment(&f.remote.disk)
		cut, cancel := context.WithCancel(ctx)
		err := e.receive(cut, wanted{objects: some}, into, nil, cancel)
		cancel()
		if err != nil {
			return err
		}
		s.tree.objects.rest = append(s.tree.objects.rest, into)
	}
	if len(absent) > 0 {
		if err := s.tree.load(ctx); err != nil {
			return err
		}
	}
	if len(s.tree.absent) > 0 {
		return &missingError{s.tree.absent[0]}
	}
	s.tree.partial = f.dirs != nil
	return nil
}
