package artifact

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Each gzip member of our archives says in its header how long it is, in an extra
// field that other readers pass over. So members can be told apart, and expanded
// side by side, before any of them is.
const (
	memberHeader = 10 + 2 + 4 + 4 // of gzip, length and id of the extra field, value
	memberLength = memberHeader - 4
	memberTail   = 8 // checksum, and size of what it expands to
	memberMagic  = "\x1f\x8b\x08\x04"
	memberExtra  = "\x08\x00GK\x04\x00"
)

// mark has the next member of a writer leave room for its length.
func mark(zip *gzip.Writer) { zip.Extra = []byte(memberExtra[2:] + "\x00\x00\x00\x00") }

// setLength writes the length of a finished member into it.
func (b *blocks) setLength() {
	binary.LittleEndian.PutUint32(b.list[0][memberLength:], uint32(b.n)) //nolint:gosec // no longer than maxPacked
}

// lengthOf returns the length of a member with this header; zero if it does not
// say, or is too long to be held.
func lengthOf(header []byte) int64 {
	if len(header) < memberHeader || string(header[:4]) != memberMagic || string(header[10:memberLength]) != memberExtra {
		return 0
	}
	n := binary.LittleEndian.Uint32(header[memberLength:])
	if n < memberHeader+memberTail || n > maxPacked {
		return 0
	}
	return int64(n)
}

// expandsTo returns the size of what a member holds, as its last bytes say.
func expandsTo(last [4]byte) int64 { return int64(binary.LittleEndian.Uint32(last[:])) }

// errMember: other readers would not look at the length, so they would see
// something else.
var errMember = errors.New("a gzip member is not as long as it says")

// memberReader expands single members.
type memberReader struct {
	in  *bufio.Reader
	zip *gzip.Reader
}

// expand fills data with what the member holds, and checks that it is this one
// member and no more.
func (m *memberReader) expand(member, data *blocks, size int64) error {
	if err := m.reset(member.reader()); err != nil {
		return err
	}
	m.zip.Multistream(false)
	if err := data.fill(m.zip, size); err != nil {
		return noEOF(err)
	}
	if n, err := m.zip.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return errors.Join(errMember, err)
	}
	if more, _ := m.in.Peek(1); len(more) > 0 {
		return errMember
	}
	return nil
}

func (m *memberReader) reset(r io.Reader) error {
	if m.zip == nil {
		m.in, m.zip = bufio.NewReaderSize(r, 16<<10), new(gzip.Reader)
	}
	m.in.Reset(r)
	return m.zip.Reset(m.in)
}

// memberStream expands members one after the other. It judges by itself where they
// end: the reader of gzip takes the beginning of a member for the end of all.
type memberStream struct {
	in   *bufio.Reader
	zip  gzip.Reader
	open bool
}

func (m *memberStream) Read(b []byte) (int, error) {
	for {
		if !m.open {
			if err := m.next(); err != nil {
				return 0, err
			}
		}
		n, err := m.zip.Read(b)
		if errors.Is(err, io.EOF) {
			m.open, err = false, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (m *memberStream) next() error {
	if _, err := m.in.Peek(1); err != nil {
		return err
	}
	if err := m.zip.Reset(m.in); err != nil {
		return noEOF(err)
	}
	m.zip.Multistream(false)
	m.open = true
	return nil
}
