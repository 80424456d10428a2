package repository

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

// chunkBytes is how much is compressed at a time. Larger chunks are smaller
// together, and cost more to read a part of.
const chunkBytes = 256 << 10

// text is a document that is kept compressed, and read again in parts.
type text struct {
	chunks [][]byte // each of chunkBytes before compression, the last of fewer
	open   []byte
	size   int64
	room   []byte
}

func (t *text) add(p []byte) {
	t.size += int64(len(p))
	for len(p) > 0 {
		if t.open == nil {
			t.open = make([]byte, 0, chunkBytes)
		}
		n := copy(t.open[len(t.open):chunkBytes], p)
		t.open, p = t.open[:len(t.open)+n], p[n:]
		if len(t.open) == chunkBytes {
			t.pack()
		}
	}
}

func (t *text) pack() {
	if t.room == nil {
		t.room = make([]byte, s2.MaxEncodedLen(chunkBytes))
	}
	packed := s2.Encode(t.room, t.open)
	t.chunks = append(t.chunks, append(make([]byte, 0, len(packed)), packed...))
	t.open = t.open[:0]
}

// done ends the writing.
func (t *text) done() {
	if len(t.open) > 0 {
		t.pack()
	}
	t.open, t.room = nil, nil
}

// part returns the bytes from one offset to another, of a text that is done.
func (t *text) part(from, to int64) ([]byte, error) {
	if from < 0 || to < from || to > t.size {
		return nil, fmt.Errorf("no bytes %d to %d in %d", from, to, t.size)
	}
	out := make([]byte, 0, to-from)
	room := make([]byte, chunkBytes)
	for i := from / chunkBytes; i*chunkBytes < to; i++ {
		chunk, err := s2.Decode(room, t.chunks[i])
		if err != nil {
			return nil, err
		}
		begin, end := max(from-i*chunkBytes, 0), min(to-i*chunkBytes, int64(len(chunk)))
		out = append(out, chunk[begin:end]...)
	}
	return out, nil
}
