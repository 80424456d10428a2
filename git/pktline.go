package git

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxPacket is the longest pkt-line that git sends, its length included.
const maxPacket = 65520

// mark says what stands in the place of a packet with data.
type mark int

const (
	data      mark = iota // a packet with data, perhaps none
	flush                 // the end of a message
	delimiter             // the end of a section of a message (version 2)
	ending                // the end of an answer (version 2, over HTTP)
)

// packetReader reads pkt-lines: four hexadecimal digits of length, then that
// much less four.
type packetReader struct {
	r   *bufio.Reader
	buf [maxPacket]byte
}

func newPacketReader(r io.Reader) *packetReader {
	return &packetReader{r: bufio.NewReaderSize(r, maxPacket)}
}

// next returns the payload of a packet, valid until the following call, or the
// mark that stands in its place. An error that the server sends is an error
// here.
func (p *packetReader) next() (payload []byte, m mark, err error) {
	head := p.buf[:4]
	if _, err := io.ReadFull(p.r, head); errors.Is(err, io.EOF) {
		return nil, flush, io.EOF
	} else if err != nil {
		return nil, flush, readError(err)
	}
	n, err := strconv.ParseUint(string(head), 16, 16)
	switch {
	case err != nil:
		return nil, flush, fmt.Errorf("%w: not Git's protocol: %q where the length of a packet should be", ErrProtocol, clip(string(head)))
	case n == 0:
		return nil, flush, nil
	case n == 1:
		return nil, delimiter, nil
	case n == 2:
		return nil, ending, nil
	case n < 4 || n > maxPacket:
		return nil, flush, fmt.Errorf("%w: a packet of impossible length %d", ErrProtocol, n)
	}
	payload = p.buf[:n-4]
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return nil, flush, readError(err)
	}
	if message, ok := bytes.CutPrefix(payload, []byte("ERR ")); ok {
		return nil, flush, serverError(string(message))
	}
	return payload, data, nil
}

// line returns the next packet as text without its newline. Where the answer
// just ends, that is an error.
func (p *packetReader) line() (string, mark, error) {
	payload, m, err := p.next()
	if err != nil {
		return "", m, readError(err)
	}
	return string(bytes.TrimSuffix(payload, []byte("\n"))), m, nil
}

// appendPacket appends a pkt-line.
func appendPacket(b []byte, payload string) []byte {
	return fmt.Appendf(b, "%04x%s", len(payload)+4, payload)
}

const (
	flushPacket     = "0000"
	delimiterPacket = "0001"
)

// sideband takes a stream apart that carries progress and errors beside the
// data, and reads the data.
type sideband struct {
	packets *packetReader
	left    []byte
}

func (s *sideband) Read(p []byte) (int, error) {
	for len(s.left) == 0 {
		payload, m, err := s.packets.next()
		switch {
		case err != nil:
			return 0, readError(err)
		case m != data:
			return 0, io.EOF
		case len(payload) == 0:
			continue
		}
		switch payload[0] {
		case 1:
			s.left = payload[1:]
		case 2: // progress, for people
		case 3:
			return 0, serverError(string(payload[1:]))
		default:
			return 0, fmt.Errorf("%w: data on unknown channel %d", ErrProtocol, payload[0])
		}
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// readError says that a connection failed in the middle of the answer.
func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the connection ended in the middle of the answer", ErrUnreachable)
	case isOurs(err):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// isOurs says whether an error was given its kind already.
func isOurs(err error) bool {
	var k *kind
	return errors.As(err, &k)
}
