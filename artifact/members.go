package artifact

import (
	"crypto/sha256"
	"hash"
	"hash/fnv"
	"io"

	"github.com/klauspost/compress/gzip"
)

// The archive is a sequence of gzip members over pieces of one tar stream. Where
// it is cut depends on the paths and sizes of the files alone, so a change in one
// file changes one piece, and pieces can be compressed side by side or copied
// from an earlier archive without a change to the result. These three figures
// and the level are part of the format: with another, every digest changes.
const (
	minMember = 256 << 10 // no piece is ended by a path before this
	maxMember = 4 << 20   // and none is longer
	oneIn     = 32        // one path in so many may end the piece before it

	// klauspost's output at this level has been the same for years, on every
	// platform; the standard library's changes between releases of Go.
	level = gzip.BestSpeed
)

// members cuts what is written to it into pieces and compresses them.
type members struct {
	out   *output
	lim   Limits
	zip   *gzip.Writer
	buf   []byte
	big   bool  // the last file was longer than a piece
	total int64 // bytes of the tar stream so far
}

func newMembers(w io.Writer, lim Limits) *members {
	out := &output{w: w, hash: sha256.New(), lim: lim}
	// The only error is that of an unknown level.
	zip, _ := gzip.NewWriterLevel(out, level)
	return &members{out: out, lim: lim, zip: zip}
}

// before reports whether the piece has to end before a file is added. A file
// that is longer than a piece shares none with others.
func (m *members) before(path string, size int64) bool {
	afterBig := m.big
	m.big = padded(size) > maxMember
	if len(m.buf) == 0 {
		return false
	}
	fits := int64(len(m.buf))+padded(size) <= maxMember
	return afterBig || !fits || len(m.buf) >= minMember && endsMember(path)
}

// padded is the room that a file takes in a tar stream, with its header.
func padded(size int64) int64 { return 512 + (size+511)/512*512 }

// endsMember decides by a hash of the path. Its upper bits are used because the
// lower ones of FNV hardly depend on any byte but the last.
func endsMember(path string) bool {
	h := fnv.New64a()
	h.Write([]byte(path))
	return h.Sum64()>>32%oneIn == 0
}

// Write takes a part of the tar stream; a file that is longer than a piece is
// cut at the same places in every archive, because it starts one.
func (m *members) Write(b []byte) (int, error) {
	m.total += int64(len(b))
	for rest := b; len(rest) > 0; {
		n := min(len(rest), maxMember-len(m.buf))
		m.buf = append(m.buf, rest[:n]...)
		rest = rest[n:]
		if len(m.buf) == maxMember {
			if err := m.cut(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

// cut ends the piece. An empty one leaves no trace.
func (m *members) cut() error {
	if len(m.buf) == 0 {
		return nil
	}
	m.zip.Reset(m.out)
	if _, err := m.zip.Write(m.buf); err != nil {
		return err
	}
	if err := m.zip.Close(); err != nil {
		return err
	}
	m.buf = m.buf[:0]
	return m.lim.checkExpanded(m.out.n, m.total, packGrace)
}

// output counts and hashes what goes to the user's writer.
type output struct {
	w    io.Writer
	hash hash.Hash
	n    int64
	lim  Limits
}

func (o *output) Write(b []byte) (int, error) {
	if err := o.lim.checkArchive(o.n + int64(len(b))); err != nil {
		return 0, err
	}
	n, err := o.w.Write(b)
	o.n += int64(n)
	o.hash.Write(b[:n])
	return n, err
}
