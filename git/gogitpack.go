package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/pjbgf/sha1cd"
)

// decodeWithGoGit reads a pack with go-git into a segment. The whole of it is in
// memory before anything is inflated, and is measured before it is decoded: the
// decoder knows no limits.
func decodeWithGoGit(ctx context.Context, r io.Reader, into *segment, lim Limits) error {
	var spool bytes.Buffer
	if _, err := spool.ReadFrom(r); err != nil {
		return readError(err)
	}
	if err := measurePack(ctx, spool.Bytes(), lim); err != nil {
		return goGitPackError(err)
	}
	store := &packStore{ctx: ctx, into: objectWriter{into: into, sum: sha1cd.New()}, buf: make([]byte, 64<<10)}
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(spool.Bytes())), store)
	if err != nil {
		return goGitPackError(err)
	}
	if _, err := parser.Parse(); err != nil {
		return goGitPackError(err)
	}
	return nil
}

func goGitPackError(err error) error {
	if isOurs(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: pack: %s", ErrMalformed, clip(err.Error()))
}

// measurePack inflates every entry once, keeping none, to hold the pack to the
// limits and to what its headers say.
func measurePack(ctx context.Context, pack []byte, lim Limits) error {
	scanner := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := scanner.Header()
	if err != nil {
		return err
	}
	if int64(count) > int64(lim.Objects) {
		return &LimitError{"Objects", int64(lim.Objects)}
	}
	var total int64
	measure := func(size int64) error {
		if size < 0 || size > lim.ObjectSize {
			return &LimitError{"ObjectSize", lim.ObjectSize}
		}
		if total += size; total > lim.Inflated {
			return &LimitError{"Inflated", lim.Inflated}
		}
		return nil
	}
	for range count {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		head, err := scanner.NextObjectHeader()
		if err != nil {
			return err
		}
		if err := measure(head.Length); err != nil {
			return err
		}
		begin := &prefix{}
		n, _, err := scanner.NextObject(begin)
		if err != nil {
			return err
		}
		if n != head.Length {
			return fmt.Errorf("an object of %d bytes has %d", head.Length, n)
		}
		if head.Type.IsDelta() {
			result, err := deltaResult(begin.buf)
			if err != nil {
				return err
			}
			if err := measure(result); err != nil {
				return err
			}
		}
	}
	_, err = scanner.Checksum()
	return err
}

// deltaResult reads how large the object is that a delta makes: the second of
// the two numbers that it begins with.
func deltaResult(delta []byte) (int64, error) {
	_, n := binary.Uvarint(delta)
	if n <= 0 {
		return 0, errors.New("a delta without sizes")
	}
	size, n := binary.Uvarint(delta[n:])
	if n <= 0 || size > 1<<62 {
		return 0, errors.New("a delta without sizes")
	}
	return int64(size), nil
}

// prefix keeps the first bytes of what is written to it: enough for the sizes
// at the beginning of a delta.
type prefix struct{ buf []byte }

func (p *prefix) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b[:min(len(b), 2*binary.MaxVarintLen64-len(p.buf))]...)
	return len(b), nil
}

// packStore is where the decoder puts objects, and finds the bases of deltas.
type packStore struct {
	ctx  context.Context //nolint:containedctx // of the one call that it serves
	into objectWriter
	buf  []byte
}

var _ storer.EncodedObjectStorer = (*packStore)(nil)

// SetEncodedObject stores an object under the hash of its content, whatever the
// decoder thinks that it is.
func (s *packStore) SetEncodedObject(o plumbing.EncodedObject) (plumbing.Hash, error) {
	kind := objectKind(o.Type()) //nolint:gosec // both have the numbers of a pack
	if kind < commitObject || kind > tagObject {
		return plumbing.ZeroHash, plumbing.ErrInvalidType
	}
	r, err := o.Reader()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer r.Close()
	hash, err := s.into.ingest(s.ctx, kind, o.Size(), r, s.buf)
	return plumbing.Hash(hash), err
}

func (s *packStore) EncodedObject(_ plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	r, ok := s.into.into.find(id(hash))
	if !ok {
		return nil, plumbing.ErrObjectNotFound
	}
	return &storedObject{hash: hash, place: place{r, s.into.into}}, nil
}

func (s *packStore) HasEncodedObject(hash plumbing.Hash) error {
	_, err := s.EncodedObject(plumbing.AnyObject, hash)
	return err
}

func (s *packStore) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	o, err := s.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return 0, err
	}
	return o.Size(), nil
}

func (s *packStore) NewEncodedObject() plumbing.EncodedObject { return &plumbing.MemoryObject{} }

func (s *packStore) IterEncodedObjects(plumbing.ObjectType) (storer.EncodedObjectIter, error) {
	return nil, errors.ErrUnsupported
}

func (s *packStore) AddAlternate(string) error { return errors.ErrUnsupported }

// storedObject shows an object to the decoder without copying it.
type storedObject struct {
	plumbing.MemoryObject // for the methods that change it, which nobody calls

	hash  plumbing.Hash
	place place
}

func (o *storedObject) Hash() plumbing.Hash       { return o.hash }
func (o *storedObject) Type() plumbing.ObjectType { return plumbing.ObjectType(o.place.kind) } //nolint:gosec // as above
func (o *storedObject) Size() int64               { return o.place.size }
func (o *storedObject) Reader() (io.ReadCloser, error) {
	return io.NopCloser(o.place.reader()), nil
}
