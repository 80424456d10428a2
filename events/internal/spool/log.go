package spool

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

var (
	// ErrInUse says that another process, or another log of this one, has the folder.
	ErrInUse = errors.New("the folder is in use by another process")
	// ErrFull says that a log has no room for a record.
	ErrFull = errors.New("the spool is full")
)

const (
	lockName = "lock"
	suffix   = ".spool"
	partial  = ".partial"

	// A file is not copied for less than this, in bytes.
	minGarbage = 1 << 20
)

// Log is an open spool. It is for one goroutine at a time.
type Log struct {
	root *os.Root
	lock *os.File
	most int64 // bytes of a file

	file   *os.File // nil before the first
	number uint64   // of the file, in its name
	size   int64    // up to where it is whole
	live   map[uint64]place
	bytes  int64 // of the live entries
	stale  bool  // the file must not be written to
	dirty  bool  // written and not synced

	step func(name string) // for tests: called before each step on the disk
}

// Restored is what an earlier process left.
type Restored struct {
	Records []Record
	Last    uint64 // the highest number that was used
	Damaged int64  // bytes that could not be read
}

// Open takes a folder, which it makes if there is none, and reads what is in it. The
// files take at most maxBytes; where there is more already, Open fails and changes
// nothing. Files are for their owner alone.
func Open(dir string, maxBytes int64) (*Log, Restored, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Restored{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, Restored{}, err
	}
	l := &Log{root: root, most: maxBytes / 2, live: map[uint64]place{}, stale: true, step: func(string) {}}
	restored, err := l.open(maxBytes)
	if err != nil {
		return nil, Restored{}, errors.Join(err, l.Close())
	}
	return l, restored, nil
}

func (l *Log) open(maxBytes int64) (Restored, error) {
	var err error
	if l.lock, err = l.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return Restored{}, err
	}
	if err := lock(l.lock); err != nil {
		return Restored{}, err
	}
	if l.number, err = l.newest(); err != nil || l.number == 0 {
		return Restored{}, err
	}
	if l.file, err = l.root.Open(fileName(l.number)); err != nil {
		return Restored{}, err
	}
	info, err := l.file.Stat()
	if err != nil {
		return Restored{}, err
	}
	if info.Size() > maxBytes {
		return Restored{}, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrFull, info.Size(), maxBytes)
	}
	c, err := read(l.file, info.Size())
	if err != nil {
		return Restored{}, err
	}
	l.live, l.size = c.live, c.end
	for _, p := range c.live {
		l.bytes += p.size
	}
	return Restored{Records: c.records, Last: c.last, Damaged: info.Size() - c.end}, nil
}

// newest returns the number of the file that counts, or zero. Others are what a
// process left that was killed.
func (l *Log) newest() (uint64, error) {
	names, err := l.names()
	if err != nil {
		return 0, err
	}
	var newest uint64
	for _, name := range names {
		newest = max(newest, numberOf(name))
	}
	return newest, nil
}

func (l *Log) names() ([]string, error) {
	dir, err := l.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	return names, errors.Join(err, dir.Close())
}

func fileName(number uint64) string { return fmt.Sprintf("%020d%s", number, suffix) }

// numberOf is zero for what is not the name of a spool's file.
func numberOf(name string) uint64 {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0
	}
	return n
}

// Write notes which records are done and adds others, as many as there is room for:
// the error then is [ErrFull]. It returns how many were added. They survive the end of
// the process from then on, and a crash of the machine after Sync.
func (l *Log) Write(done []uint64, add []Record) (int, error) {
	done = l.forget(done)
	need := int64(len(done)) * entrySize(0)
	for _, r := range add {
		need += entrySize(len(r.Payload))
	}
	if l.stale || l.wasteful(need) {
		if err := l.rewrite(); err != nil {
			return 0, err
		}
		done = nil // left behind
	}
	return l.append(done, add)
}

// forget takes what is done from what is live, and returns what the file has to be
// told of.
func (l *Log) forget(done []uint64) []uint64 {
	var known []uint64
	for _, seq := range done {
		if p, ok := l.live[seq]; ok {
			l.bytes -= p.size
			delete(l.live, seq)
			known = append(known, seq)
		}
	}
	return known
}

// wasteful reports whether copying what is live is better than writing on.
func (l *Log) wasteful(need int64) bool {
	garbage := l.size - l.bytes
	return garbage > max(minGarbage, l.bytes) || (l.size+need > l.most && garbage > l.most/8)
}

// append writes to the end of the file. A failure may leave half an entry there, so
// that nothing more can follow.
func (l *Log) append(done []uint64, add []Record) (int, error) {
	var out []byte
	for _, seq := range done {
		out = appendEntry(out, kindDone, seq, nil)
	}
	places := make([]place, 0, len(add))
	for _, r := range add {
		at := place{l.size + int64(len(out)), entrySize(len(r.Payload))}
		if at.at+at.size > l.most || len(r.Payload) > MaxPayload {
			break
		}
		out = appendEntry(out, kindAdd, r.Seq, r.Payload)
		places = append(places, at)
	}
	if len(out) > 0 {
		l.step("append")
		if _, err := l.file.WriteAt(out, l.size); err != nil {
			l.stale = true
			return 0, err
		}
		l.size += int64(len(out))
		l.dirty = true
	}
	for i, p := range places {
		l.live[add[i].Seq] = p
		l.bytes += p.size
	}
	if len(places) < len(add) {
		return len(places), ErrFull
	}
	return len(places), nil
}

// Sync brings what was written safely to the disk.
func (l *Log) Sync() error {
	if !l.dirty {
		return nil
	}
	l.step("sync")
	if err := l.file.Sync(); err != nil {
		l.stale = true // nobody knows what of it is there
		return err
	}
	l.dirty = false
	return nil
}

// Close lets go of the folder. What was not synced is left to the system.
func (l *Log) Close() error {
	var errs []error
	for _, f := range []*os.File{l.file, l.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, l.root.Close())...)
}
