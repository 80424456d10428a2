package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// Check tells whether an archive is still what it was, cheaply enough for every
// reconcile: it is read only the first time, when its size, its times or its
// place on the disk changed since, and when StoreOptions.RehashAfter has passed.
// An archive that is gone is a [*NotFoundError]. One that is damaged is a
// [*DamagedError], and is removed, so that nobody is served with it. Either way,
// pack it again.
func (s *Store) Check(ctx context.Context, d digest.Digest) error {
	name, err := Key(d)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	info, err := s.stat(ctx, name, d)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err = s.verify(ctx, name, d, info)
	if damage, ok := errors.AsType[*DamagedError](err); ok {
		return s.discard(ctx, name, info, damage)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// verify reads an archive, unless it looks as it did when that was last done.
func (s *Store) verify(ctx context.Context, name string, d digest.Digest, info Info) error {
	if s.unchanged(d, info) {
		return nil
	}
	sum := digest.SHA256.Digester()
	if err := s.read(ctx, name, sum.Hash()); err != nil {
		return missing(err, d)
	}
	if got := sum.Digest(); got != d {
		return &DamagedError{d, &DigestError{Want: d, Got: got}}
	}
	s.verified.put(d, look{info, s.now()})
	return nil
}

// read reads a whole archive.
func (s *Store) read(ctx context.Context, name string, w io.Writer) error {
	r, err := s.backend.Open(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it was only read
	if _, err := io.Copy(w, withContext(ctx, r)); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// unchanged reports whether an archive looks as it did when it was last read.
func (s *Store) unchanged(d digest.Digest, info Info) bool {
	last, ok := s.verified.get(d)
	return ok && last.info == info && (s.rehash < 0 || s.now().Sub(last.at) < s.rehash)
}

// stat looks at an archive, and forgets one that is gone.
func (s *Store) stat(ctx context.Context, name string, d digest.Digest) (Info, error) {
	info, err := s.backend.Stat(ctx, name)
	if err = missing(err, d); errors.As(err, new(*NotFoundError)) {
		s.verified.drop(d)
	}
	return info, err
}

// discard removes a damaged archive, unless somebody has replaced it meanwhile.
func (s *Store) discard(ctx context.Context, name string, bad Info, damage *DamagedError) error {
	s.verified.drop(damage.Digest)
	err := s.locked(ctx, func() error {
		info, err := s.backend.Stat(ctx, name)
		if err != nil || info != bad {
			return missing(err, damage.Digest)
		}
		_, err = s.remove(ctx, name)
		return err
	})
	if errors.As(err, new(*NotFoundError)) {
		err = nil
	}
	return errors.Join(damage, err)
}
