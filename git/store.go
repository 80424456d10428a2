package git

import (
	"context"
	"fmt"
	"io"
)

// store is where a snapshot's objects are: in the segment of its own transfer,
// and in those of earlier ones.
type store struct {
	ctx  context.Context //nolint:containedctx // of the transfer that may still be under way
	own  *segment        // may still grow
	rest []*segment      // will not
}

// place is where an object is.
type place struct {
	record
	segment *segment
}

// find returns where an object is. If it may still come it waits.
func (s *store) find(hash id) (place, error) {
	if p, ok := s.look(hash); ok {
		return p, nil
	}
	r, ok, err := s.own.wait(s.ctx, hash)
	switch {
	case err != nil:
		return place{}, err
	case !ok:
		return place{}, &missingError{hash}
	}
	return place{r, s.own}, nil
}

// look returns where an object is now.
func (s *store) look(hash id) (place, bool) {
	if s == nil {
		return place{}, false
	}
	if r, ok := s.own.find(hash); ok {
		return place{r, s.own}, true
	}
	for _, segment := range s.rest {
		if r, ok := segment.find(hash); ok {
			return place{r, segment}, true
		}
	}
	return place{}, false
}

// segments are all of them.
func (s *store) segments() []*segment { return append([]*segment{s.own}, s.rest...) }

// read returns the content of an object of a kind.
func (s *store) read(hash id, kind objectKind) ([]byte, error) {
	p, err := s.find(hash)
	if err != nil {
		return nil, err
	}
	if p.kind != kind {
		return nil, fmt.Errorf("%w: %s is a %v where a %v belongs", ErrMalformed, hash, p.kind, kind)
	}
	return p.content()
}

func (p place) content() ([]byte, error)  { return p.segment.content(p.record) }
func (p place) reader() *io.SectionReader { return p.segment.section(p.record) }

// missingError says that an object was not sent. If the server was told what is
// held already, it may have thought that this object is.
type missingError struct{ hash id }

func (e *missingError) Error() string {
	return fmt.Sprintf("%v: the server did not send %s", ErrMalformed, e.hash)
}
func (e *missingError) Unwrap() error { return ErrMalformed }
