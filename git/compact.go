package git

import (
	"context"

	"github.com/pjbgf/sha1cd"
)

// compact copies everything that a tree consists of to one new segment, with the
// objects that lead to it.
func (s *treeStore) compact(ctx context.Context, on *disk, leading ...id) (*store, error) {
	into := newSegment(on)
	c := copier{from: s.objects, into: objectWriter{into: into, sum: sha1cd.New()}, buf: make([]byte, 64<<10)}
	for _, hash := range leading {
		if err := c.copy(ctx, hash); err != nil {
			return nil, err
		}
	}
	if err := c.tree(ctx, s, s.root.hash); err != nil {
		return nil, err
	}
	into.finish(nil)
	return &store{ctx: ctx, own: into}, nil
}

// copier copies objects, each once, and checks their hashes on the way.
type copier struct {
	from *store
	into objectWriter
	buf  []byte
}

func (c *copier) tree(ctx context.Context, s *treeStore, hash id) error {
	if _, done := c.into.into.find(hash); done {
		return nil
	}
	if err := c.copy(ctx, hash); err != nil {
		return err
	}
	t, err := s.treeOf(hash)
	if err != nil {
		return err
	}
	for _, e := range t.entries {
		switch {
		case e.submodule:
		case e.mode.IsDir():
			err = c.tree(ctx, s, e.hash)
		default:
			err = c.copy(ctx, e.hash)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy copies one object, unless it is there, or was left out on purpose.
func (c *copier) copy(ctx context.Context, hash id) error {
	p, ok := c.from.look(hash)
	if _, done := c.into.into.find(hash); done || !ok {
		return nil
	}
	got, err := c.into.ingest(ctx, p.kind, p.size, p.reader(), c.buf)
	if err == nil && got != hash {
		err = ErrStorage
	}
	return err
}
