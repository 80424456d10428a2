package artifact

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
)

// Index says which entries are in which piece of an archive, and by which id and
// digest their content is known. With it the next archive of much the same tree
// copies the pieces that have not changed: see [Previous]. Its zero value is that
// of no archive, and does no harm.
//
// As bytes it takes about 150 for each entry. It is no part of the archive, and
// may be lost. Like a digest it has to come from somewhere that others cannot
// write to: an index that was made up can pass old content off as new.
type Index struct {
	pieces []piece
}

var _ interface {
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
} = (*Index)(nil)

// piece is a gzip member. One without entries is a part of the file that the next
// one with an entry has.
type piece struct {
	length  int64 // in the archive
	sum     [sha256.Size]byte
	entries []indexed
}

// indexed is an entry whose content is known.
type indexed struct {
	path string
	mode fs.FileMode
	size int64
	sum  [sha256.Size]byte // of the bytes, or of the target of a link
	id   string            // of the content, empty if there is none
}

const (
	indexMagic = "gitopskit index\n"
	// A piece is hardly longer than what it holds, even if that is noise.
	maxPacked = maxMember + 64<<10
	// What an entry takes at least: length and byte of the path, mode, size, sum, id.
	minIndexed = 1 + 1 + 1 + 1 + sha256.Size + 1
	minPiece   = 1 + sha256.Size + 1
)

// MarshalBinary returns the index as bytes, which UnmarshalBinary of the same
// release, and of those that pack alike, understands. It does not fail.
func (x *Index) MarshalBinary() ([]byte, error) {
	b := appendInt([]byte(indexMagic), packEncoding)
	b = appendInt(b, len(x.pieces))
	for _, p := range x.pieces {
		b = appendInt(b, p.length)
		b = append(b, p.sum[:]...)
		b = appendInt(b, len(p.entries))
		for _, e := range p.entries {
			b = append(b, modeCode(e.mode))
			b = appendInt(b, e.size)
			b = append(b, e.sum[:]...)
			b = appendString(b, e.path)
			b = appendString(b, e.id)
		}
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	return append(appendInt(b, len(s)), s...)
}

func appendInt[T int | int64](b []byte, v T) []byte { return binary.AppendVarint(b, int64(v)) }

// UnmarshalBinary reads an index. An error means that it is damaged, or of a
// release that packs in another way: the next archive has to do without it.
func (x *Index) UnmarshalBinary(data []byte) error {
	r := indexReader{rest: string(data)}
	pieces, err := r.index()
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	x.pieces = pieces
	return nil
}

// indexReader reads an index from its front. What it returns shares the memory of
// the text, so the index takes little more than its bytes.
type indexReader struct {
	rest string
	last string // path
	open bool   // pieces of a file wait for its entry
	err  error
}

var errIndex = errors.New("it is damaged, or of another release: pack without it")

func (r *indexReader) index() ([]piece, error) {
	var ok bool
	if r.rest, ok = strings.CutPrefix(r.rest, indexMagic); !ok || r.int(1<<32) != packEncoding {
		return nil, errIndex
	}
	pieces := make([]piece, r.int(r.most(minPiece)))
	for i := range pieces {
		pieces[i] = r.piece()
		if r.err != nil {
			return nil, r.err
		}
	}
	if r.err != nil || r.rest != "" || r.open {
		return nil, errIndex
	}
	return pieces, nil
}

func (r *indexReader) piece() piece {
	p := piece{length: r.int(maxPacked), sum: r.sum()}
	if n := r.int(r.most(minIndexed)); n > 0 {
		p.entries = make([]indexed, n)
	}
	for i := range p.entries {
		p.entries[i] = r.entry()
		if r.err != nil {
			return p
		}
	}
	if r.open && len(p.entries) > 1 || p.length == 0 {
		r.fail()
	}
	r.open = len(p.entries) == 0
	return p
}

func (r *indexReader) entry() indexed {
	e := indexed{mode: r.mode(), size: r.int(1 << 62), sum: r.sum(), path: r.string(), id: r.string()}
	if !fs.ValidPath(e.path) || e.path <= r.last || e.mode == modeLink && e.size > 0 {
		r.fail()
	}
	r.last = e.path
	return e
}

func (r *indexReader) fail() { r.err, r.rest = errIndex, "" }

// int reads a number from zero to a bound.
func (r *indexReader) int(most int64) int64 {
	v, n := binary.Varint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	if n <= 0 || v < 0 || v > most {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// most is how many things of a size there can be in the rest.
func (r *indexReader) most(size int) int64 { return int64(len(r.rest) / size) }

func (r *indexReader) take(n int64) string {
	if n > int64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *indexReader) string() string { return r.take(r.int(r.most(1))) }

func (r *indexReader) sum() (sum [sha256.Size]byte) {
	copy(sum[:], r.take(sha256.Size))
	return sum
}

// The modes as bytes.
const modeCodes = "fxl"

func modeCode(m fs.FileMode) byte {
	switch m {
	case modeExec:
		return modeCodes[1]
	case modeLink:
		return modeCodes[2]
	default:
		return modeCodes[0]
	}
}

func (r *indexReader) mode() fs.FileMode {
	switch r.take(1) {
	case modeCodes[:1]:
		return modeFile
	case modeCodes[1:2]:
		return modeExec
	case modeCodes[2:]:
		return modeLink
	default:
		r.fail()
		return 0
	}
}

// Previous is an earlier archive of much the same tree. What is the same is copied
// from it. The result is what it would be without: each copied piece is compared
// with its digest in the index, and made anew where it is damaged.
type Previous struct {
	Archive io.ReaderAt
	Index   *Index
}

// stretch is where an earlier archive has entries that stand in pieces of their
// own: in one piece, or, for a single file, in one or more.
type stretch struct {
	archive io.ReaderAt
	pieces  []span
	entries []indexed
}

// span is a piece and where it is.
type span struct {
	offset, length int64
	sum            [sha256.Size]byte
}

// stretches returns them by their first path.
func (p *Previous) stretches() map[string]*stretch {
	if p == nil || p.Archive == nil || p.Index == nil {
		return nil
	}
	found := make(map[string]*stretch, len(p.Index.pieces))
	next := &stretch{archive: p.Archive}
	var offset int64
	for _, piece := range p.Index.pieces {
		next.pieces = append(next.pieces, span{offset, piece.length, piece.sum})
		offset += piece.length
		if len(piece.entries) == 0 {
			continue
		}
		next.entries = piece.entries
		found[next.entries[0].path] = next
		next = &stretch{archive: p.Archive}
	}
	return found
}

// lists reports whether a stretch holds entries of these names, sizes and modes.
func (s *stretch) lists(entries []entry) bool {
	if s == nil || len(s.entries) != len(entries) {
		return false
	}
	for i, e := range entries {
		if old := s.entries[i]; old.path != e.path || old.mode != e.mode || old.size != e.size {
			return false
		}
	}
	return true
}

// read reads a piece, and reports whether it is what the index says; if not, to
// stays empty. One that cannot be read is not.
func (s *stretch) read(at span, to *blocks, h hash.Hash) bool {
	var sum [sha256.Size]byte
	n, err := io.CopyBuffer(to, onlyReader{io.NewSectionReader(s.archive, at.offset, at.length)}, take(to.spare.blocks, blockSize)[:blockSize])
	if to.sum(h, sum[:0]); err != nil || n != at.length || sum != at.sum {
		to.clear()
		return false
	}
	return true
}

// intact reads all pieces and reports whether they are what the index says.
func (s *stretch) intact(to *blocks) bool {
	for _, at := range s.pieces {
		if !s.read(at, to, sha256.New()) {
			return false
		}
		to.clear()
	}
	return true
}
