package git

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // what Git names objects by
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// disk is where segments have their files: in a directory that is kept, or, if
// there is none, in files that are gone when they are not used any more.
type disk struct {
	dir string
	// fail, in tests, says that a step fails.
	fail func(step string) error
}

// try is called before each step that changes something.
func (d *disk) try(step string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(step)
}

const (
	unfinished = "gitopskit-"
	finished   = ".objects"
)

// create makes a file for a segment, which is removed when it is not used any
// more, unless it was saved until then.
func (d *disk) create() (*os.File, runtime.Cleanup, error) {
	if err := d.try("create"); err != nil {
		return nil, runtime.Cleanup{}, err
	}
	if d.dir != "" {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return nil, runtime.Cleanup{}, err
		}
	}
	file, err := os.CreateTemp(d.dir, unfinished+"*")
	if err != nil {
		return nil, runtime.Cleanup{}, err
	}
	// Without a directory the name goes at once, but for systems where a file
	// that is open cannot be removed.
	if d.dir == "" && os.Remove(file.Name()) == nil {
		return file, runtime.Cleanup{}, nil
	}
	return file, runtime.AddCleanup(file, func(name string) { _ = os.Remove(name) }, file.Name()), nil
}

// discard removes the file of a segment that nobody will use.
func (d *disk) discard(s *segment) {
	if s.file != nil && s.name == "" && d.dir != "" {
		_ = os.Remove(s.file.Name()) // if not, the next restart does it
	}
}

// The end of a file: where the index of its objects is, and its sum.
type footer struct {
	Magic   [16]byte
	Objects int64 // how many
	Size    int64 // of their content, which is what stands before the index
	Sum     [sha256.Size]byte
}

var (
	magic      = [16]byte([]byte("gitopskit-git-1\n"))
	footerSize = int64(binary.Size(footer{}))
)

// indexed is a line of the index.
type indexed struct {
	Hash     id
	Kind     objectKind
	Pointer  bool
	At, Size int64
}

var indexedSize = int64(binary.Size(indexed{}))

// save makes a file of a complete segment, with an index, and gives it its name.
// Until then nobody takes it for complete.
func (d *disk) save(s *segment) error {
	if s.name != "" {
		return nil
	}
	if s.file == nil {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	var index bytes.Buffer
	foot := footer{Magic: magic, Size: s.size}
	for hash, r := range s.index {
		foot.Objects++
		_ = binary.Write(&index, binary.BigEndian, indexed{hash, r.kind, r.pointer, r.at, r.size}) // to a buffer
	}
	foot.Sum = sha256.Sum256(index.Bytes())
	_ = binary.Write(&index, binary.BigEndian, foot)
	if err := d.try("index"); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(index.Bytes(), s.size); err != nil {
		return err
	}
	name := filepath.Base(s.file.Name())[len(unfinished):] + finished
	if err := d.try("rename"); err != nil {
		return err
	}
	if err := os.Rename(s.file.Name(), filepath.Join(d.dir, name)); err != nil {
		return err
	}
	s.name = name
	s.cleanup.Stop()
	return nil
}

var errDamaged = errors.New("damaged")

// load opens a saved segment, and reads all of it, to be sure of every object.
func (d *disk) load(ctx context.Context, name string, lim Limits) (*segment, error) {
	if filepath.Base(name) != name || filepath.Ext(name) != finished {
		return nil, errDamaged
	}
	file, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	s := newSegment(d)
	s.file, s.name = file, name
	if err = s.readIndex(lim); err == nil {
		err = s.check(ctx)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	s.finish(nil)
	return s, nil
}

// readIndex reads the index of a segment from its file.
func (s *segment) readIndex(lim Limits) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	var foot footer
	at := info.Size() - footerSize
	if err := binary.Read(io.NewSectionReader(s.file, at, footerSize), binary.BigEndian, &foot); err != nil || foot.Magic != magic {
		return errDamaged
	}
	if foot.Objects < 0 || foot.Objects > int64(lim.Objects) || foot.Size < 0 || foot.Size+foot.Objects*indexedSize != at {
		return errDamaged
	}
	raw := make([]byte, foot.Objects*indexedSize)
	if _, err := s.file.ReadAt(raw, foot.Size); err != nil || sha256.Sum256(raw) != foot.Sum {
		return errDamaged
	}
	s.size = foot.Size
	for r := bytes.NewReader(raw); r.Len() > 0; {
		var e indexed
		if err := binary.Read(r, binary.BigEndian, &e); err != nil {
			return errDamaged
		}
		if e.At < 0 || e.Size < 0 || e.At > s.size-e.Size || e.Kind < commitObject || e.Kind > tagObject {
			return errDamaged
		}
		s.index[e.Hash] = record{at: e.At, size: e.Size, kind: e.Kind, pointer: e.Pointer}
	}
	return nil
}

// check reads every object, and compares it with its name. Who can write to the
// file can also make content of one SHA-1: it guards against accidents.
func (s *segment) check(ctx context.Context) error {
	sum := sha1.New() //nolint:gosec // as above
	buf := make([]byte, 128<<10)
	for hash, r := range s.index {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		sum.Reset()
		fmt.Fprintf(sum, "%v %d\x00", r.kind, r.size)
		if _, err := io.CopyBuffer(sum, struct{ io.Reader }{s.section(r)}, buf); err != nil {
			return err
		}
		if id(sum.Sum(nil)) != hash {
			return errDamaged
		}
	}
	return nil
}
