package artifact

import (
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// OnDisk asks step before each thing that the store does to the disk from now on.
func (s *Store) OnDisk(step func(op string) error) {
	s.disk = watchedDisk{osDisk{}, step}
	if s.local != nil {
		s.local.disk = s.disk
	}
}

// SetClock makes the store go by another clock.
func (s *Store) SetClock(now func() time.Time) { s.now = now }

type watchedDisk struct {
	disk
	step func(op string) error
}

func (d watchedDisk) createTemp(dir string) (tempFile, error) {
	if err := d.step("create"); err != nil {
		return nil, err
	}
	f, err := d.disk.createTemp(dir)
	return watchedFile{f, d.step}, err
}

func (d watchedDisk) mkdir(dir string) error {
	if err := d.step("mkdir"); err != nil {
		return err
	}
	return d.disk.mkdir(dir)
}

func (d watchedDisk) rename(from, to string) error {
	if err := d.step("rename"); err != nil {
		return err
	}
	return d.disk.rename(from, to)
}

func (d watchedDisk) touch(name string) error {
	if err := d.step("touch"); err != nil {
		return err
	}
	return d.disk.touch(name)
}

func (d watchedDisk) syncDir(dir string) error {
	if err := d.step("syncdir"); err != nil {
		return err
	}
	return d.disk.syncDir(dir)
}

func (d watchedDisk) remove(name string) error {
	if err := d.step("remove"); err != nil {
		return err
	}
	return d.disk.remove(name)
}

type watchedFile struct {
	tempFile
	step func(op string) error
}

// Write does half of the work before it asks.
func (f watchedFile) Write(b []byte) (int, error) {
	n, err := f.tempFile.Write(b[:len(b)/2])
	if err != nil {
		return n, err
	}
	if err := f.step("write"); err != nil {
		return n, err
	}
	m, err := f.tempFile.Write(b[n:])
	return n + m, err
}

func (f watchedFile) Sync() error {
	if err := f.step("sync"); err != nil {
		return err
	}
	return f.tempFile.Sync()
}

func (f watchedFile) Close() error {
	if err := f.step("close"); err != nil {
		return err
	}
	return f.tempFile.Close()
}

// Expand returns what comes out of gzip members.
func Expand(r io.Reader, lim Limits) ([]byte, error) {
	src := &source{r: r, digester: digest.SHA256.Digester(), lim: lim.WithDefaults()}
	in := &input{ahead: readAhead(src), lim: src.lim}
	x := expand(in)
	raw, err := io.ReadAll(x)
	x.close()
	in.ahead.close()
	return raw, err
}
