package artifact

import (
	"bufio"
	"errors"
	"io"
	"os"
)

// spill takes the content of files that memory has no room for, one behind the
// other. A nil spill takes nothing.
type spill struct {
	dir  string
	left int64 // bytes that memory still has room for
	file *os.File
	w    *bufio.Writer
	end  int64
}

// takes reports whether content of that size belongs here, and counts it if not.
// Empty content is nowhere.
func (s *spill) takes(size int64) bool {
	if s == nil || size == 0 {
		return false
	}
	if size <= s.left {
		s.left -= size
		return false
	}
	return true
}

// add keeps so many bytes of r and returns where they can be read.
func (s *spill) add(r io.Reader, size int64) (io.ReaderAt, error) {
	if s.file == nil {
		if err := s.create(); err != nil {
			return nil, err
		}
	}
	n, err := io.CopyN(s.w, r, size)
	at := io.NewSectionReader(s.file, s.end, n)
	s.end += n
	return at, noEOF(err)
}

// create makes a file that nobody else can find.
func (s *spill) create() error {
	f, err := os.CreateTemp(s.dir, ".spill-*")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.w = f, bufio.NewWriterSize(f, 256<<10)
	return nil
}

// flush ends the writing.
func (s *spill) flush() error {
	if s == nil || s.file == nil {
		return nil
	}
	err := s.w.Flush()
	s.w = nil
	return err
}

// close may be called again, and for no spill.
func (s *spill) close() error {
	if s == nil || s.file == nil {
		return nil
	}
	if err := s.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
