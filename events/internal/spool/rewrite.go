package spool

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// rewrite copies what is live to a new file, which then takes the old one's place.
// Where it fails the old one stays, with all that is live in it.
func (l *Log) rewrite() error {
	l.stale = true
	name := fileName(l.number + 1)
	l.step("create")
	fresh, err := l.root.OpenFile(name+partial, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	live, size, err := l.copyTo(fresh)
	if err == nil {
		err = l.publish(fresh, name)
	}
	if err != nil {
		return errors.Join(err, fresh.Close())
	}
	if l.file != nil {
		_ = l.file.Close() // it was read, or is synced by what it was copied to
	}
	l.file, l.number, l.live, l.size, l.stale, l.dirty = fresh, l.number+1, live, size, false, false
	l.clear(name)
	return nil
}

// copyTo writes the live entries in the order of their numbers.
func (l *Log) copyTo(fresh *os.File) (map[uint64]place, int64, error) {
	l.step("copy")
	out := bufio.NewWriterSize(fresh, 256<<10)
	live, at := make(map[uint64]place, len(l.live)), int64(len(magic))
	_, err := out.WriteString(magic)
	for _, seq := range slices.Sorted(maps.Keys(l.live)) {
		if err != nil {
			return nil, 0, err
		}
		p := l.live[seq]
		if _, err = io.CopyN(out, io.NewSectionReader(l.file, p.at, p.size), p.size); err != nil {
			return nil, 0, err
		}
		live[seq] = place{at, p.size}
		at += p.size
	}
	return live, at, errors.Join(err, out.Flush())
}

// publish makes a file the one that counts.
func (l *Log) publish(fresh *os.File, name string) error {
	l.step("sync copy")
	if err := fresh.Sync(); err != nil {
		return err
	}
	l.step("rename")
	if err := l.root.Rename(name+partial, name); err != nil {
		return err
	}
	l.step("sync folder")
	dir, err := l.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// clear removes files that do not count any more. One that cannot be removed does no
// harm, and is tried again.
func (l *Log) clear(keep string) {
	names, err := l.names()
	if err != nil {
		return
	}
	for _, name := range names {
		if file := strings.TrimSuffix(name, partial); numberOf(file) != 0 && name != keep {
			l.step("remove")
			_ = l.root.Remove(name)
		}
	}
}
