package artifact

import (
	"hash"
	"io"
)

const (
	blockSize = 64 << 10
	// What is kept for later of blocks, and of room for pieces of big files. Beyond
	// that it is left to the garbage collector.
	spareBlocks = 64
	spareRaws   = 2
)

// spare keeps memory that is used again: without it, there would be twice as much.
type spare struct {
	blocks chan []byte
	raws   chan []byte
}

func newSpare() spare {
	return spare{make(chan []byte, spareBlocks), make(chan []byte, spareRaws)}
}

// take returns an empty slice of some capacity.
func take(from chan []byte, size int) []byte {
	select {
	case b := <-from:
		return b[:0]
	default:
		return make([]byte, 0, size)
	}
}

func give(to chan []byte, b []byte) {
	select {
	case to <- b:
	default:
	}
}

// blocks is a buffer that never copies to grow.
type blocks struct {
	spare spare
	list  [][]byte
	n     int64
}

func (b *blocks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		last := len(b.list) - 1
		if last < 0 || len(b.list[last]) == cap(b.list[last]) {
			b.list = append(b.list, take(b.spare.blocks, blockSize))
			last++
		}
		n := min(len(rest), cap(b.list[last])-len(b.list[last]))
		b.list[last] = append(b.list[last], rest[:n]...)
		rest = rest[n:]
	}
	b.n += int64(len(p))
	return len(p), nil
}

// fill reads so many more bytes, or up to an error.
func (b *blocks) fill(r io.Reader, size int64) (err error) {
	for size > 0 && err == nil {
		block := take(b.spare.blocks, blockSize)[:min(size, blockSize)]
		n := 0
		for n < len(block) && err == nil {
			var m int
			m, err = r.Read(block[n:])
			n += m
		}
		b.list = append(b.list, block[:n])
		b.n += int64(n)
		size -= int64(n)
	}
	if size == 0 {
		return nil // the error comes up again
	}
	return err
}

// reader reads from the front, once.
func (b *blocks) reader() *blockReader { return &blockReader{rest: b.list} }

type blockReader struct {
	rest [][]byte
	n    int // of the first one, that were read
}

func (r *blockReader) Read(p []byte) (int, error) {
	for len(r.rest) > 0 {
		if n := copy(p, r.rest[0][r.n:]); n > 0 || len(p) == 0 {
			r.n += n
			return n, nil
		}
		r.rest, r.n = r.rest[1:], 0
	}
	return 0, io.EOF
}

// sum appends the digest of all.
func (b *blocks) sum(h hash.Hash, to []byte) {
	h.Reset()
	for _, block := range b.list {
		h.Write(block)
	}
	h.Sum(to)
}

func (b *blocks) writeTo(w io.Writer) error {
	for _, block := range b.list {
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// clear gives the memory back.
func (b *blocks) clear() {
	for _, block := range b.list {
		give(b.spare.blocks, block)
	}
	b.list, b.n = nil, 0
}
