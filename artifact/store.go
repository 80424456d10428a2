package artifact

import (
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
	indexDir   = "index"
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
	for _, sub := range []string{archiveDir, indexDir, tempDir} {
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
	sum, err := s.packSince(ctx, fsys, opts)
	if errors.Is(err, errPrevious) {
		opts.Since, opts.Previous = Summary{}, nil
		sum, err = s.packSince(ctx, fsys, opts)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("store: %w", err)
	}
	return sum, nil
}

// packSince packs with the help of an earlier archive, if there is one.
func (s *Store) packSince(ctx context.Context, fsys fs.FS, opts PackOptions) (Summary, error) {
	if f, index := s.previous(opts.Since); f != nil {
		defer func() { _ = f.Close() }() // it was only read
		opts.Previous = &Previous{Archive: f, Index: index}
	}
	if opts.Index == nil && opts.Incremental {
		opts.Index = new(Index)
	}
	sum, err := s.pack(ctx, fsys, opts)
	if err != nil || !opts.Incremental {
		return sum, err
	}
	sum.IndexDigest, err = s.keepIndex(sum.Digest, opts.Index)
	return sum, err
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
	if sum, err = Pack(ctx, f, fsys, opts); err != nil {
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

// keepIndex writes an index beside its archive. It need not survive a crash: what
// is not what it was is not used.
func (s *Store) keepIndex(of digest.Digest, index *Index) (digest.Digest, error) {
	raw, err := index.MarshalBinary()
	if err != nil {
		return "", err
	}
	f, err := s.disk.createTemp(filepath.Join(s.dir, tempDir))
	if err != nil {
		return "", err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.disk.rename(f.Name(), s.indexFile(of))
	}
	if err != nil {
		return "", errors.Join(err, s.disk.remove(f.Name()))
	}
	return digest.FromBytes(raw), nil
}

// previous returns an archive and its index; nil if one of them is not there any
// more, or is not what the caller had.
func (s *Store) previous(of Summary) (*os.File, *Index) {
	if of.IndexDigest.Validate() != nil || of.Digest.Validate() != nil || of.Digest.Algorithm() != digest.SHA256 {
		return nil, nil
	}
	raw, err := readIndex(s.indexFile(of.Digest))
	if err != nil || of.IndexDigest.Algorithm().FromBytes(raw) != of.IndexDigest {
		return nil, nil
	}
	index := new(Index)
	if index.UnmarshalBinary(raw) != nil {
		return nil, nil
	}
	f, err := os.Open(s.file(of.Digest))
	if err != nil {
		return nil, nil
	}
	return f, index
}

// readIndex reads an index, of which the store cannot know that it is small.
func readIndex(name string) ([]byte, error) {
	const most = 128 << 20
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, most))
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

// indexFile names the index of the archive of a digest that was validated.
func (s *Store) indexFile(d digest.Digest) string {
	return filepath.Join(s.dir, indexDir, d.Encoded())
}
