package git

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
)

// objectKind is the type of an object, with the numbers of a pack.
type objectKind uint8

const (
	commitObject objectKind = 1 + iota
	treeObject
	blobObject
	tagObject
)

func (k objectKind) String() string {
	return [...]string{"nothing", "commit", "tree", "blob", "tag"}[min(int(k), 4)%5]
}

// record says where an object is in its segment.
type record struct {
	at, size int64
	kind     objectKind
	// pointer: a blob that points to a file in large file storage.
	pointer bool
}

// How much of a segment is in memory: all of a small one, and of a larger one
// what was not written to its file yet.
const (
	mostInMemory = 4 << 20
	writeSize    = 256 << 10
)

// segment holds the objects of one transfer, inflated, one behind the other: in
// memory if they are small together, else in a file. It has one writer, and can
// be read while it is written.
type segment struct {
	disk *disk
	name string // of the file, if it was saved

	mu    sync.RWMutex
	index map[id]record
	// grown is closed, and replaced, when there are new objects for somebody
	// who waits, or no more will come.
	grown   chan struct{}
	waiting bool
	done    bool
	err     error // why no more will come, if the transfer failed

	file    *os.File // nil while everything is in memory
	cleanup runtime.Cleanup
	mem     []byte // what follows the file's content
	size    int64  // of both
}

func newSegment(d *disk) *segment {
	return &segment{disk: d, index: map[id]record{}, grown: make(chan struct{})}
}

// append adds content at the end. What it belongs to is said by add.
func (s *segment) append(p []byte) error {
	if s.file == nil && s.size+int64(len(p)) > mostInMemory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.file != nil && len(s.mem)+len(p) > writeSize {
		if err := s.flush(); err != nil {
			return err
		}
		if len(p) >= writeSize { // not worth a copy
			return s.write(p)
		}
	}
	s.mu.Lock()
	s.mem = append(s.mem, p...)
	s.size += int64(len(p))
	s.mu.Unlock()
	return nil
}

// spill makes a file for what is in memory, and what follows it.
func (s *segment) spill() error {
	file, cleanup, err := s.disk.create()
	if err != nil {
		return storageError(err)
	}
	s.mu.Lock()
	s.file, s.cleanup = file, cleanup
	s.mu.Unlock()
	return s.flush()
}

// flush moves what is in memory to the file.
func (s *segment) flush() error {
	if len(s.mem) == 0 {
		return nil
	}
	if err := s.disk.try("write"); err != nil {
		return storageError(err)
	}
	// Only this goroutine changes it, so that reading it takes no lock.
	if _, err := s.file.WriteAt(s.mem, s.size-int64(len(s.mem))); err != nil {
		return storageError(err)
	}
	s.mu.Lock()
	if cap(s.mem) > writeSize {
		s.mem = make([]byte, 0, writeSize)
	}
	s.mem = s.mem[:0]
	s.mu.Unlock()
	return nil
}

// write adds content to the file, which everything before it is in.
func (s *segment) write(p []byte) error {
	if err := s.disk.try("write"); err != nil {
		return storageError(err)
	}
	if _, err := s.file.WriteAt(p, s.size); err != nil {
		return storageError(err)
	}
	s.mu.Lock()
	s.size += int64(len(p))
	s.mu.Unlock()
	return nil
}

// add makes an object known, all of whose content was appended.
func (s *segment) add(hash id, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.index[hash]; !twice {
		s.index[hash] = r
	}
	s.wake()
}

// finish says that no more objects will come, and why, if not all came.
func (s *segment) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.done, s.err = true, err
		s.wake()
	}
}

// failure is why not all objects came, if that is known.
func (s *segment) failure() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.err
}

func (s *segment) wake() {
	if s.waiting {
		close(s.grown)
		s.grown, s.waiting = make(chan struct{}), false
	}
}

// find returns what is known of an object now.
func (s *segment) find(hash id) (r record, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok = s.index[hash]
	return r, ok
}

// wait returns an object's record as soon as it has come, or false when it will
// not come any more.
func (s *segment) wait(ctx context.Context, hash id) (record, bool, error) {
	for {
		s.mu.Lock()
		r, ok := s.index[hash]
		if ok || s.done {
			err := s.err
			s.mu.Unlock()
			if ok {
				err = nil
			}
			return r, ok, err
		}
		s.waiting = true
		grown := s.grown
		s.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return record{}, false, context.Cause(ctx)
		}
	}
}

// ReadAt implements [io.ReaderAt] over the content.
func (s *segment) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		s.mu.RLock()
		inFile := s.size - int64(len(s.mem))
		if at >= inFile {
			got := copy(p[n:], s.mem[min(at-inFile, int64(len(s.mem))):])
			s.mu.RUnlock()
			if n += got; n < len(p) {
				return n, io.EOF
			}
			return n, nil
		}
		file := s.file
		s.mu.RUnlock()
		got, err := file.ReadAt(p[n:min(int64(len(p)), int64(n)+inFile-at)], at)
		n, at = n+got, at+int64(got)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func storageError(err error) error {
	return fmt.Errorf("%w: %w; make room, or set Options.Dir to a directory with room", ErrStorage, err)
}

// length is how large the segment is.
func (s *segment) length() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.size
}

// content returns the content of an object.
func (s *segment) content(r record) ([]byte, error) {
	raw := make([]byte, r.size)
	if _, err := s.ReadAt(raw, r.at); err != nil {
		return nil, storageError(err)
	}
	return raw, nil
}

// section returns a reader of an object's content.
func (s *segment) section(r record) *io.SectionReader {
	return io.NewSectionReader(s, r.at, r.size)
}
