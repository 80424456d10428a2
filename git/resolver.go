package git

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/pjbgf/sha1cd"
)

// resolver makes objects of the entries of a pack: it applies deltas, names
// every object by its hash, and stores it.
type resolver struct {
	ctx  context.Context //nolint:containedctx // of the one pack that it is for
	into *segment
	base *store // what the pack may build upon; nil: nothing
	lim  Limits

	// entries are all so far, in the order of the pack. Those that are not
	// resolved yet have no kind.
	entries  []resolvedEntry
	inflated int64 // of all of them

	// Deltas whose base has not come yet, by what they wait for.
	byEntry map[int64][]parkedDelta // the entry there
	byID    map[id][]parkedDelta    // the object

	object objectWriter
	delta  []byte // the delta that is coming, if it is short
	long   record // where it is, if it is long
	// buffers that are used again and again
	buf, content []byte
	pieces       int // written since the context was looked at
}

// parkedDelta is a delta that was stored until its base comes.
type parkedDelta struct {
	entry int // of entries
	delta record
}

// resolvedEntry is where the object is that an entry of the pack was.
type resolvedEntry struct {
	at int64 // of the entry in the pack
	record
}

// longDelta is from where on a delta is stored while it comes.
const longDelta = 1 << 20

func newResolver(ctx context.Context, into *segment, base *store, lim Limits) *resolver {
	return &resolver{
		ctx: ctx, into: into, base: base, lim: lim,
		byEntry: map[int64][]parkedDelta{}, byID: map[id][]parkedDelta{},
		object: objectWriter{into: into, sum: sha1cd.New()},
		buf:    make([]byte, 64<<10),
	}
}

func (r *resolver) run(full <-chan *batch, free chan<- *batch) error {
	for b := range full {
		for _, p := range b.parts {
			if err := r.part(p, b.buf[p.from:p.to]); err != nil {
				if cause := context.Cause(r.ctx); cause != nil {
					return cause
				}
				return packError(p.packEntry, err)
			}
		}
		free <- b
	}
	return nil
}

// waiting says that the base of a delta never came. It is only known to be wrong
// if the whole pack was read.
func (r *resolver) waiting() error {
	for base := range r.byID {
		return &missingError{base}
	}
	for at := range r.byEntry {
		return fmt.Errorf("%w: pack: no entry at %d, which a delta is based on", ErrMalformed, at)
	}
	return nil
}

// part takes some of an entry.
func (r *resolver) part(p part, content []byte) error {
	if p.first {
		r.entries = append(r.entries, resolvedEntry{at: p.at})
		if err := r.spend(p.size); err != nil {
			return err
		}
	}
	if p.kind != offsetDelta && p.kind != refDelta {
		return r.plain(p, content)
	}
	if p.size > longDelta {
		if p.first {
			r.long = record{at: r.into.size, size: p.size}
		}
		if err := r.into.append(content); err != nil || !p.last {
			return err
		}
		return r.stored(p.packEntry, r.long)
	}
	if p.first && p.last {
		return r.short(p.packEntry, content)
	}
	if p.first {
		r.delta = r.delta[:0]
	}
	if r.delta = append(r.delta, content...); !p.last {
		return nil
	}
	return r.short(p.packEntry, r.delta)
}

// spend counts what is inflated.
func (r *resolver) spend(n int64) error {
	if n > r.lim.ObjectSize {
		return &LimitError{"ObjectSize", r.lim.ObjectSize}
	}
	if r.inflated += n; r.inflated > r.lim.Inflated {
		return &LimitError{"Inflated", r.lim.Inflated}
	}
	return nil
}

// current is the entry that is coming.
func (r *resolver) current() int { return len(r.entries) - 1 }

// plain takes some of an object that is no delta.
func (r *resolver) plain(p part, content []byte) error {
	if p.first {
		r.object.begin(p.kind, p.size)
	}
	if err := r.object.write(content); err != nil || !p.last {
		return err
	}
	ready, err := r.made(r.current())
	return r.settle(ready, err)
}

// short takes a delta in memory: it makes the object, or stores the delta until
// its base is there.
func (r *resolver) short(e packEntry, delta []byte) error {
	if base, ok := r.baseOf(e); ok {
		return r.settle(r.build(r.current(), base, bytes.NewReader(delta)))
	}
	stored := record{at: r.into.size, size: int64(len(delta))}
	if err := r.into.append(delta); err != nil {
		return err
	}
	r.park(e, stored)
	return nil
}

// stored takes a delta in the segment.
func (r *resolver) stored(e packEntry, delta record) error {
	base, ok := r.baseOf(e)
	if !ok {
		r.park(e, delta)
		return nil
	}
	return r.settle(r.build(r.current(), base, bufio.NewReader(r.into.section(delta))))
}

func (r *resolver) park(e packEntry, delta record) {
	p := parkedDelta{r.current(), delta}
	if e.kind == offsetDelta {
		r.byEntry[e.baseAt] = append(r.byEntry[e.baseAt], p)
	} else {
		r.byID[e.baseID] = append(r.byID[e.baseID], p)
	}
}

func (r *resolver) baseOf(e packEntry) (place, bool) {
	if e.kind == offsetDelta {
		i, ok := slices.BinarySearchFunc(r.entries, e.baseAt, func(e resolvedEntry, at int64) int { return cmp.Compare(e.at, at) })
		if !ok || r.entries[i].kind == 0 {
			return place{}, false
		}
		return place{r.entries[i].record, r.into}, true
	}
	if found, ok := r.into.find(e.baseID); ok {
		return place{found, r.into}, true
	}
	return r.base.look(e.baseID)
}

// readyDelta is a stored delta whose base has come.
type readyDelta struct {
	parkedDelta
	base place
}

// build makes an object of a delta and its base, and returns the deltas that
// waited for it.
func (r *resolver) build(entry int, base place, delta deltaReader) ([]readyDelta, error) {
	baseSize, size, err := deltaSizes(delta)
	if err != nil {
		return nil, err
	}
	if baseSize != base.size {
		return nil, errDelta
	}
	if err := r.spend(size); err != nil {
		return nil, err
	}
	r.object.begin(base.kind, size)
	from := io.ReaderAt(base.reader())
	// One read is faster than many, but many deltas may need little of a base.
	if base.size <= longDelta && base.size/8 <= size {
		r.content = slices.Grow(r.content[:0], int(base.size))[:base.size]
		if _, err := from.ReadAt(r.content, 0); err != nil {
			return nil, storageError(err)
		}
		from = bytes.NewReader(r.content)
	}
	if err := applyDelta(delta, from, base.size, size, r.buf, r.write); err != nil {
		return nil, err
	}
	return r.made(entry)
}

// write takes a piece of what a delta makes. There may be very many.
func (r *resolver) write(p []byte) error {
	if r.pieces++; r.pieces%1024 == 0 {
		if err := context.Cause(r.ctx); err != nil {
			return err
		}
	}
	return r.object.write(p)
}

// made takes note of the object that was written for an entry, and returns the
// deltas that waited for it.
func (r *resolver) made(entry int) ([]readyDelta, error) {
	hash, rec, err := r.object.end()
	if err != nil {
		return nil, err
	}
	e := &r.entries[entry]
	e.record = rec
	var ready []readyDelta
	for _, p := range r.byEntry[e.at] {
		ready = append(ready, readyDelta{p, place{rec, r.into}})
	}
	for _, p := range r.byID[hash] {
		ready = append(ready, readyDelta{p, place{rec, r.into}})
	}
	delete(r.byEntry, e.at)
	delete(r.byID, hash)
	return ready, nil
}

// settle makes the objects that only waited for their base. It is a loop, not a
// recursion: a chain of deltas may be long, and in an order in which each waits
// for the next.
func (r *resolver) settle(ready []readyDelta, err error) error {
	for err == nil && len(ready) > 0 {
		if err := context.Cause(r.ctx); err != nil {
			return err
		}
		next := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		var more []readyDelta
		more, err = r.build(next.entry, next.base, bufio.NewReader(r.into.section(next.delta)))
		ready = append(ready, more...)
	}
	return err
}

// objectWriter stores one object after the other.
type objectWriter struct {
	into *segment
	sum  hash.Hash // of sha1cd

	kind     objectKind
	size, at int64
	short    []byte // the content, if it is short enough to be a pointer
}

func (w *objectWriter) begin(kind objectKind, size int64) {
	w.kind, w.size, w.at, w.short = kind, size, w.into.size, w.short[:0]
	w.sum.Reset()
	w.sum.Write(fmt.Appendf(nil, "%v %d\x00", kind, size))
}

func (w *objectWriter) write(p []byte) error {
	if w.size < lfsPointerSize {
		w.short = append(w.short, p...)
	}
	w.sum.Write(p)
	return w.into.append(p)
}

// end makes the object known by its hash. Content that was made to have the
// hash of other content is refused.
func (w *objectWriter) end() (id, record, error) {
	sum, collision := w.sum.(sha1cd.CollisionResistantHash).CollisionResistantSum(nil)
	if collision {
		return id{}, record{}, errors.New("content that was made to collide in SHA-1")
	}
	r := record{at: w.at, size: w.size, kind: w.kind}
	if w.kind == blobObject && w.size < lfsPointerSize {
		_, r.pointer = parseLFSPointer(w.short)
	}
	hash := id(sum)
	w.into.add(hash, r)
	return hash, r, nil
}

// ingest stores an object that is at hand.
func (w *objectWriter) ingest(ctx context.Context, kind objectKind, size int64, r io.Reader, buf []byte) (id, error) {
	w.begin(kind, size)
	for left := size; left > 0; {
		if err := context.Cause(ctx); err != nil {
			return id{}, err
		}
		n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
		if err != nil {
			return id{}, err
		}
		if err := w.write(buf[:n]); err != nil {
			return id{}, err
		}
		left -= int64(n)
	}
	hash, _, err := w.end()
	return hash, err
}
