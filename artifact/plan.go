package artifact

import (
	"archive/tar"
	"context"
	"hash/fnv"
	"io"
)

// The archive is a sequence of gzip members over pieces of one tar stream. Where
// it is cut depends on the paths and sizes of the files alone, so a change in one
// file changes one piece, and pieces can be compressed side by side or copied
// from an earlier archive without a change to the result. These three figures,
// the level, and what the compressor makes of it, are part of the format: with
// another, every digest changes, and packEncoding has to.
const (
	minMember = 256 << 10 // no piece is ended by a path before this
	maxMember = 4 << 20   // and none is longer
	oneIn     = 32        // one path in so many may end the piece before it

	// packEncoding numbers what was ever released. An [Index] of another is of no use.
	packEncoding = 1
)

// planner cuts entries into pieces.
type planner struct {
	small func(entries []entry, size int64) error
	big   func(e entry) error
	piece []entry
	size  int64 // of the piece in the tar stream, in bytes
}

// add takes the next entry. A file that is longer than a piece shares none with
// others.
func (p *planner) add(e entry) error {
	n := e.tarSize()
	full := n+p.size > maxMember || p.size >= minMember && endsMember(e.path)
	if full {
		if err := p.end(); err != nil {
			return err
		}
	}
	if n > maxMember {
		return p.big(e)
	}
	p.piece, p.size = append(p.piece, e), p.size+n
	return nil
}

// end ends the piece. An empty one leaves no trace.
func (p *planner) end() error {
	if len(p.piece) == 0 {
		return nil
	}
	piece, size := p.piece, p.size
	p.piece, p.size = nil, 0
	return p.small(piece, size)
}

// endsMember decides by a hash of the path. Its upper bits are used because the
// lower ones of FNV hardly depend on any byte but the last.
func endsMember(path string) bool {
	h := fnv.New64a()
	h.Write([]byte(path))
	return h.Sum64()>>32%oneIn == 0
}

// tarSize is the room that an entry takes in the tar stream.
func (e entry) tarSize() int64 {
	if isShort(e.path) && isShort(e.target) && e.size < 1<<33 {
		return padded(e.size)
	}
	var n counter
	// Whatever is wrong with the header comes up again when it is written.
	_ = tar.NewWriter(&n).WriteHeader(e.header())
	return int64(n) + padded(e.size) - 512
}

// isShort: it fits into the oldest kind of header, which is one block.
func isShort(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
	}
	return len(name) <= 100
}

// padded is the room that a file takes in a tar stream, with its header.
func padded(size int64) int64 { return 512 + (size+511)/512*512 }

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// chunks cuts the tar stream of a file that is longer than a piece, at the same
// places in every archive, because it starts one.
type chunks struct {
	ctx  context.Context //nolint:containedctx // lives as long as one call
	next func(ctx context.Context) ([]byte, error)
	to   func(ctx context.Context, raw []byte) error
	buf  []byte
}

func (c *chunks) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		if len(c.buf) == maxMember {
			if err := c.to(c.ctx, c.buf); err != nil {
				return 0, err
			}
			c.buf = nil
		}
		if c.buf == nil {
			var err error
			if c.buf, err = c.next(c.ctx); err != nil {
				return 0, err
			}
		}
		n := min(len(rest), maxMember-len(c.buf))
		c.buf = append(c.buf, rest[:n]...)
		rest = rest[n:]
	}
	return len(b), nil
}

var _ io.Writer = (*chunks)(nil)
