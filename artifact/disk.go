package artifact

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// disk is what a store does to the disk when it writes, step by step, so that
// tests can end it at each of them.
type disk interface {
	createTemp(dir string) (tempFile, error)
	rename(from, to string) error
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

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

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
