package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// disk is what a store does to the disk when it writes, step by step, so that
// tests can end it at each of them.
type disk interface {
	createTemp(dir string) (tempFile, error)
	mkdir(dir string) error
	rename(from, to string) error
	touch(name string) error
	syncDir(dir string) error
	remove(name string) error
}

type tempFile interface {
	io.Writer
	Name() string
	Sync() error
	Close() error
}

type osDisk struct{}

// createTemp makes a file that nobody else can have made, or can read.
func (osDisk) createTemp(dir string) (tempFile, error) { return os.CreateTemp(dir, "") }

// mkdir does not mind if the directory is there.
func (osDisk) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

// touch makes a file as young as if it were written now.
func (osDisk) touch(name string) error {
	now := time.Now()
	return os.Chtimes(name, now, now)
}

// remove does not mind if there is nothing to remove.
func (osDisk) remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a directory survive a crash.
func (osDisk) syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

const (
	tempDir = "tmp"

	// staleAfter is how long nothing may have been written to a temporary file
	// before it counts as left behind.
	staleAfter = time.Hour
)

// folder is the [Backend] in a directory. A file is complete and on the disk
// before it has its name, and is never changed afterwards.
type folder struct {
	dir  string
	disk disk
}

// NewDisk opens the backend in a directory, which is made, closed to other users,
// if it does not exist. Several processes may share it. A process that is killed
// leaves at most a temporary file, which a later NewDisk removes.
func NewDisk(dir string) (Backend, error) { return newFolder(dir) }

func newFolder(dir string) (*folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{abs, osDisk{}}
	for _, sub := range []string{archiveDir, tempDir} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if err := f.disk.syncDir(abs); err != nil {
		return nil, err
	}
	return f, f.removeStale()
}

// removeStale removes the temporary files of processes that are gone.
func (f *folder) removeStale() error {
	list, err := os.ReadDir(f.temp())
	if err != nil {
		return err
	}
	for _, d := range list {
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // its owner, or another store, was faster
		}
		if err != nil {
			return err
		}
		if time.Since(info.ModTime()) < staleAfter {
			continue
		}
		if err := f.disk.remove(filepath.Join(f.temp(), d.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) temp() string { return filepath.Join(f.dir, tempDir) }

// path names the file of a key. No key leads out of the directory, or to the
// temporary files.
func (f *folder) path(key string) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	if strings.HasPrefix(key, tempDir+"/") {
		return "", &KeyError{key}
	}
	return filepath.Join(f.dir, filepath.FromSlash(key)), nil
}

// Put implements [Backend].
func (f *folder) Put(ctx context.Context, key string, size int64, body io.ReadSeeker) (err error) {
	if _, err := f.path(key); err != nil {
		return err
	}
	temp, err := f.disk.createTemp(f.temp())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.disk.remove(temp.Name()))
		}
	}()
	n, err := io.Copy(onlyWriter{temp}, withContext(ctx, body))
	if err == nil && n != size {
		err = fmt.Errorf("put %s: the body has %d bytes, not %d", key, n, size)
	}
	// The name comes last: whoever sees it sees all the bytes, after a crash too.
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err = f.adopt(temp.Name(), key); err != nil {
		return err
	}
	return f.settle(key)
}

// adopt gives a finished temporary file its key, which survives once it is
// settled.
func (f *folder) adopt(temp, key string) error {
	name, err := f.path(key)
	if err != nil {
		return err
	}
	// Whoever deletes the last file of a directory removes that too.
	for range 10 {
		if err = f.makeDirs(filepath.Dir(name)); err != nil {
			return err
		}
		err = f.disk.rename(temp, name)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// touch makes a file as young as a new one.
func (f *folder) touch(key string) error {
	name, err := f.path(key)
	if err != nil {
		return err
	}
	return f.disk.touch(name)
}

// settle makes the name of a file survive a crash.
func (f *folder) settle(key string) error {
	name, err := f.path(key)
	if err != nil {
		return err
	}
	return f.disk.syncDir(filepath.Dir(name))
}

// makeDirs makes a directory below that of the backend, and makes it survive.
func (f *folder) makeDirs(dir string) error {
	if _, err := os.Stat(dir); dir == f.dir || err == nil {
		return nil
	}
	if err := f.makeDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := f.disk.mkdir(dir); err != nil {
		return err
	}
	return f.disk.syncDir(filepath.Dir(dir))
}

// Open implements [Backend].
func (f *folder) Open(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	file, err := f.OpenFile(key)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if length < 0 {
		return file, nil
	}
	return section{io.LimitReader(file, length), file}, nil
}

// OpenFile opens a file for reading. Package transfer looks for this method.
func (f *folder) OpenFile(key string) (*os.File, error) {
	name, err := f.path(key)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(notExist("open", key), err, file.Close())
	}
	return file, nil
}

// section reads a part of something.
type section struct {
	io.Reader
	io.Closer
}

// Stat implements [Backend].
func (f *folder) Stat(_ context.Context, key string) (Info, error) {
	name, err := f.path(key)
	if err != nil {
		return Info{}, err
	}
	info, err := os.Lstat(name)
	if err != nil {
		return Info{}, err
	}
	if !info.Mode().IsRegular() {
		return Info{}, notExist("stat", key)
	}
	return Info{info.Size(), info.ModTime(), version(info)}, nil
}

// Delete implements [Backend]. A removed name may come back after a crash of the
// machine: what deletes it deletes it again.
func (f *folder) Delete(_ context.Context, key string) error {
	name, err := f.path(key)
	if err != nil {
		return err
	}
	if err := f.disk.remove(name); err != nil {
		return err
	}
	f.removeEmpty(filepath.Dir(name))
	return nil
}

// removeEmpty removes directories that hold nothing any more, as far up as it can.
func (f *folder) removeEmpty(dir string) {
	for dir != f.dir && dir != filepath.Join(f.dir, archiveDir) && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}

// List implements [Backend].
func (f *folder) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := CheckKey(prefix + "x"); err != nil {
			yield("", err)
			return
		}
		err := filepath.WalkDir(filepath.Join(f.dir, filepath.FromSlash(prefix)), func(name string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil || !d.Type().IsRegular():
				return err
			}
			rel, err := filepath.Rel(f.dir, name)
			if err != nil {
				return err
			}
			key := filepath.ToSlash(rel)
			if _, err := f.path(key); err != nil {
				return nil //nolint:nilerr // somebody else's file: not a key of ours
			}
			if !yield(key, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield("", err)
		}
	}
}
