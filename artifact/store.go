package artifact

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
)

// StoreOptions configure a [Store]. The zero value is ready to use.
type StoreOptions struct {
	// Limits bound what [Store.Open] reads.
	Limits Limits
}

// Store keeps archives on disk, each under its digest. It is safe for concurrent
// use, also by several processes that share the directory: a file is complete and
// on the disk before it has its name, and is never changed afterwards. A process
// that is killed leaves at most a temporary file, which a later [NewStore] removes.
type Store struct {
	dir    string
	limits Limits
	disk   disk
}

// The layout of a store.
const (
	archiveDir = "sha256"
	archiveExt = ".tar.gz"
	tempDir    = "tmp"

	// staleAfter is how long nothing may have been written to a temporary file
	// before it counts as left behind.
	staleAfter = time.Hour
)

// NewStore opens the store in a directory, which is made, closed to other users,
// if it does not exist.
func NewStore(dir string, opts StoreOptions) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: abs, limits: opts.Limits, disk: osDisk{}}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) prepare() error {
	for _, sub := range []string{archiveDir, tempDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := s.disk.syncDir(s.dir); err != nil {
		return err
	}
	return s.removeStale()
}

// removeStale removes the temporary files of processes that are gone.
func (s *Store) removeStale() error {
	list, err := os.ReadDir(filepath.Join(s.dir, tempDir))
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
		if err := os.Remove(filepath.Join(s.dir, tempDir, d.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Pack packs a tree as [Pack] does and keeps the archive. When it returns, the
// archive survives a crash of the machine. A damaged archive of the same content
// is replaced.
func (s *Store) Pack(ctx context.Context, fsys fs.FS, opts PackOptions) (Summary, error) {
	sum, err := s.pack(ctx, fsys, opts)
	if err != nil {
		return Summary{}, fmt.Errorf("store: %w", err)
	}
	return sum, nil
}

func (s *Store) pack(ctx context.Context, fsys fs.FS, opts PackOptions) (sum Summary, err error) {
	f, err := s.disk.createTemp(filepath.Join(s.dir, tempDir))
	if err != nil {
		return sum, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.disk.remove(f.Name()))
		}
	}()
	if sum, err = write(ctx, f, fsys, opts); err != nil {
		return sum, errors.Join(err, f.Close())
	}
	// The name comes last: whoever sees it sees all the bytes, after a crash too.
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return sum, err
	}
	if err = s.disk.rename(f.Name(), s.file(sum.Digest)); err != nil {
		return sum, err
	}
	return sum, s.disk.syncDir(filepath.Join(s.dir, archiveDir))
}

func write(ctx context.Context, w io.Writer, fsys fs.FS, opts PackOptions) (Summary, error) {
	buf := bufio.NewWriterSize(w, 256<<10)
	sum, err := Pack(ctx, buf, fsys, opts)
	if err != nil {
		return sum, err
	}
	return sum, buf.Flush()
}

// Open returns the tree of a stored archive, as [Open] does. The digest is
// checked each time. An archive that is not there is a [*NotFoundError], one that
// is not what it was a [*DamagedError].
func (s *Store) Open(ctx context.Context, d digest.Digest) (fs.FS, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("store: digest %q: %w", d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return nil, &NotFoundError{d}
	}
	f, err := os.Open(s.file(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{d}
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	tree, err := Open(ctx, f, OpenOptions{Digest: d, Limits: s.limits})
	if errors.As(err, new(*DigestError)) {
		return nil, &DamagedError{d, err}
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return tree, nil
}

// file names the archive of a digest that was validated: it has nothing but
// hexadecimal digits.
func (s *Store) file(d digest.Digest) string {
	return filepath.Join(s.dir, archiveDir, d.Encoded()+archiveExt)
}
