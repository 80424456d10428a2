package git

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the checksum of a pack, which guards against accidents
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zlib"
)

// Entries of a pack that are not whole objects, with the numbers of a pack.
const (
	offsetDelta objectKind = 6
	refDelta    objectKind = 7
)

// entry is the head of an entry of a pack.
type packEntry struct {
	at   int64 // where it begins in the pack
	kind objectKind
	size int64 // of what is inflated
	// of a delta:
	baseAt int64
	baseID id
}

// part is some of the inflated content of an entry.
type part struct {
	packEntry
	from, to    int // in the batch
	first, last bool
}

// batch is what the reader of a pack hands over at once.
type batch struct {
	buf   []byte
	parts []part
}

// batches in flight, and how large each is, in bytes and in parts: what is read
// ahead of what is resolved.
const (
	batchSize  = 256 << 10
	batchParts = 4096
	batchCount = 16
)

// receivePack reads a pack into a segment, which it finishes. Every entry is
// inflated once, as it arrives; another goroutine resolves deltas, hashes and
// stores. Objects can be read from the segment before the checksum at the end of
// the pack was checked.
//
// A pack may be thin: bases of its deltas are looked for in base too, which may
// be nil. stop cuts the connection: it is called if the rest is not wanted.
func receivePack(ctx context.Context, r io.Reader, into *segment, base *store, lim Limits, stop func()) error {
	p := &packReader{
		full:   make(chan *batch, batchCount),
		free:   make(chan *batch, batchCount),
		failed: make(chan struct{}),
		lim:    lim,
	}
	for range batchCount {
		p.free <- &batch{}
	}
	res := newResolver(ctx, into, base, lim)
	resolved := make(chan error, 1)
	go func() {
		err := res.run(p.full, p.free)
		if err != nil {
			close(p.failed)
			stop()
		}
		resolved <- err
	}()
	err := p.read(ctx, r)
	close(p.full)
	if failure := <-resolved; failure != nil {
		err = failure
	}
	if err == nil {
		err = res.waiting()
	}
	into.finish(err)
	return err
}

// packReader reads the entries of a pack and inflates them.
type packReader struct {
	full, free chan *batch
	failed     chan struct{} // closed when nobody takes batches any more
	lim        Limits

	in    *packInput
	zlib  io.ReadCloser
	batch *batch
}

func (p *packReader) read(ctx context.Context, r io.Reader) error {
	p.in = newPackInput(r)
	count, err := p.in.header()
	if err != nil {
		return err
	}
	if int64(count) > int64(p.lim.Objects) {
		return &LimitError{"Objects", int64(p.lim.Objects)}
	}
	for range count {
		// Where the network makes us wait, nobody else has to.
		if p.batch != nil && p.in.r.Buffered() == 0 {
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
		if err := p.entry(ctx); err != nil {
			return err
		}
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	return p.in.trailer()
}

// entry reads one entry.
func (p *packReader) entry(ctx context.Context) error {
	head, err := p.in.entry()
	if err != nil {
		return err
	}
	if head.size > p.lim.ObjectSize {
		return &LimitError{"ObjectSize", p.lim.ObjectSize}
	}
	if p.zlib == nil {
		p.zlib, err = zlib.NewReader(p.in.r)
	} else {
		err = p.zlib.(zlib.Resetter).Reset(p.in.r, nil)
	}
	if err != nil {
		return packError(head, err)
	}
	for left, first := head.size, true; left > 0 || first; first = false {
		if err := p.room(ctx); err != nil {
			return err
		}
		b := p.batch
		n := int(min(left, int64(cap(b.buf)-len(b.buf))))
		from := len(b.buf)
		b.buf = b.buf[:from+n]
		if _, err := io.ReadFull(p.zlib, b.buf[from:]); err != nil {
			return packError(head, err)
		}
		left -= int64(n)
		b.parts = append(b.parts, part{head, from, from + n, first, left == 0})
	}
	// The end, which checks the checksum too.
	var more [1]byte
	if n, err := io.ReadFull(p.zlib, more[:]); n != 0 || !errors.Is(err, io.EOF) {
		if n != 0 {
			err = errors.New("it is larger than it says")
		}
		return packError(head, err)
	}
	return nil
}

// room makes sure that the batch has some, and hands over a full one.
func (p *packReader) room(ctx context.Context) error {
	if p.batch != nil && (len(p.batch.buf) == cap(p.batch.buf) || len(p.batch.parts) == batchParts) {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	if p.batch != nil {
		return nil
	}
	select {
	case p.batch = <-p.free:
	case <-p.failed:
		return errAbandoned
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.batch.buf == nil {
		p.batch.buf = make([]byte, 0, batchSize)
	}
	p.batch.buf, p.batch.parts = p.batch.buf[:0], p.batch.parts[:0]
	return nil
}

// errAbandoned is never seen: what the resolver said is.
var errAbandoned = errors.New("the pack is not wanted any more")

func (p *packReader) flush(ctx context.Context) error {
	if p.batch == nil {
		return nil
	}
	select {
	case p.full <- p.batch:
		p.batch = nil
		return nil
	case <-p.failed:
		return errAbandoned
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// packError says which entry is wrong, unless it is the connection that is.
func packError(head packEntry, err error) error {
	if isOurs(err) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends too early")
	}
	return fmt.Errorf("%w: pack: entry at %d: %s", ErrMalformed, head.at, clip(err.Error()))
}

// packInput is a pack as it arrives. It knows where it is, and sums up
// everything but the sum at the end.
type packInput struct {
	r    *bufio.Reader
	from *summingReader
}

func newPackInput(r io.Reader) *packInput {
	from := &summingReader{r: r, sum: sha1.New()} //nolint:gosec // see the import
	return &packInput{bufio.NewReaderSize(from, 64<<10), from}
}

// at is the place in the pack.
func (p *packInput) at() int64 { return p.from.n - int64(p.r.Buffered()) }

func (p *packInput) header() (count uint32, err error) {
	var head [12]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, packError(packEntry{}, err)
	}
	version := binary.BigEndian.Uint32(head[4:])
	if string(head[:4]) != "PACK" || version != 2 && version != 3 {
		return 0, packError(packEntry{}, errors.New("not a pack of version 2"))
	}
	return binary.BigEndian.Uint32(head[8:]), nil
}

// entry reads the head of an entry: type and size, then what a delta is based
// on.
func (p *packInput) entry() (packEntry, error) {
	e := packEntry{at: p.at()}
	b, err := p.r.ReadByte()
	if err != nil {
		return e, packError(e, err)
	}
	e.kind, e.size = objectKind(b>>4&7), int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = p.r.ReadByte(); err != nil {
			return e, packError(e, err)
		}
		if shift > 53 {
			return e, packError(e, errors.New("an impossible size"))
		}
		e.size |= int64(b&0x7f) << shift
	}
	switch e.kind {
	case commitObject, treeObject, blobObject, tagObject:
	case refDelta:
		_, err = io.ReadFull(p.r, e.baseID[:])
	case offsetDelta:
		e.baseAt, err = p.distance(e.at)
	default:
		err = fmt.Errorf("unknown type %d", e.kind)
	}
	if err != nil {
		return e, packError(e, err)
	}
	return e, nil
}

// distance reads how far before an entry its base is, and returns where that
// is.
func (p *packInput) distance(at int64) (int64, error) {
	var n int64 = -1
	for {
		b, err := p.r.ReadByte()
		if err != nil {
			return 0, err
		}
		n = (n+1)<<7 | int64(b&0x7f)
		if n >= at || n < 0 {
			return 0, errors.New("its base is before the pack")
		}
		if b&0x80 == 0 {
			break
		}
	}
	if n == 0 {
		return 0, errors.New("it is its own base")
	}
	return at - n, nil
}

// trailer checks the sum, and that nothing follows it.
func (p *packInput) trailer() error {
	var want [sha1.Size]byte
	_, err := io.ReadFull(p.r, want[:])
	if err == nil {
		if _, err = p.r.ReadByte(); err == nil {
			err = errors.New("something follows its end")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err == nil && !bytes.Equal(p.from.sum.Sum(nil), want[:]) {
		err = errors.New("its checksum is wrong")
	}
	if err != nil {
		return packError(packEntry{at: p.at()}, err)
	}
	return nil
}

// summingReader sums up what is read, but for the last bytes, which may be the
// sum itself.
type summingReader struct {
	r    io.Reader
	sum  hash.Hash
	n    int64
	held []byte // the last bytes so far
}

func (s *summingReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if over := len(s.held) + n - sha1.Size; over > 0 {
		old := min(over, len(s.held))
		s.sum.Write(s.held[:old])
		s.sum.Write(p[:over-old])
		s.held = append(s.held[:copy(s.held, s.held[old:])], p[over-old:n]...)
	} else {
		s.held = append(s.held, p[:n]...)
	}
	return n, err
}
