package git

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// deltaReader reads a delta.
type deltaReader interface {
	io.Reader
	io.ByteReader
}

var (
	_ deltaReader = (*bufio.Reader)(nil)

	errDelta = errors.New("a malformed delta")
)

// deltaSizes reads what a delta begins with: the sizes of its base and of its
// result.
func deltaSizes(delta deltaReader) (base, result int64, err error) {
	b, err1 := binary.ReadUvarint(delta)
	r, err2 := binary.ReadUvarint(delta)
	if err1 != nil || err2 != nil || b > 1<<62 || r > 1<<62 {
		return 0, 0, errDelta
	}
	return int64(b), int64(r), nil
}

// applyDelta follows the instructions of a delta, whose sizes were read: copy
// from the base, or insert what follows. It hands the result on piece by piece
// through buf, and never more of it than the delta says that there is.
func applyDelta(delta deltaReader, base io.ReaderAt, baseSize, resultSize int64, buf []byte, out func([]byte) error) error {
	left := resultSize
	for {
		op, err := delta.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var from io.Reader = delta
		n := int64(op)
		if op&0x80 != 0 {
			var at int64
			if at, n, err = copyOperands(delta, op); err != nil || n > baseSize-at {
				return errDelta
			}
			from = io.NewSectionReader(base, at, n)
		}
		if n == 0 || n > left {
			return errDelta
		}
		left -= n
		for n > 0 {
			piece := buf[:min(n, int64(len(buf)))]
			if _, err := io.ReadFull(from, piece); err != nil {
				return errDelta
			}
			if err := out(piece); err != nil {
				return err
			}
			n -= int64(len(piece))
		}
	}
	if left != 0 {
		return errDelta
	}
	return nil
}

// copyOperands reads the bytes of the offset and the size that op says are
// there.
func copyOperands(delta deltaReader, op byte) (at, n int64, err error) {
	for i := range 7 {
		if op>>i&1 == 0 {
			continue
		}
		b, err := delta.ReadByte()
		if err != nil {
			return 0, 0, errDelta
		}
		if i < 4 {
			at |= int64(b) << (8 * i)
		} else {
			n |= int64(b) << (8 * (i - 4))
		}
	}
	if n == 0 {
		n = 0x10000
	}
	return at, n, nil
}
