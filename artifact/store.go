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
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// StoreOptions configure a [Store]. The zero value is ready to use.
type StoreOptions struct {
	// Backend keeps the archives. Nil means the directory of the store itself,
	// which then may be shared by several processes. With a bucket or a registry
	// the directory holds temporary files only; one process at a time may collect.
	Backend Backend
	// Limits bound what [Store.Open] and [Store.Add] read.
	Limits Limits
	// RehashAfter is how long an archive that looks unchanged passes [Store.Check]
	// before it is read again. Default 24 hours; negative means never.
	RehashAfter time.Duration
}

// Store keeps archives, each under its digest. It is safe for concurrent use, also
// by several processes that share the directory: an archive is complete and
// durable before it has its name, and is never changed afterwards. A process that
// is killed leaves at most a temporary file, which a later [NewStore] removes.
type Store struct {
	dir      string
	limits   Limits
	disk     disk
	backend  Backend
	local    *folder // the backend, unless the caller gave one
	rehash   time.Duration
	now      func() time.Time
	verified verified
}

// The keys of a store: sha256/<hex>.tar.gz is an archive, and what has the same
// name but for the end belongs to it.
const (
	archiveDir = "sha256"
	archiveExt = ".tar.gz"
	indexExt   = ".index"
)

// NewStore opens the store in a directory, which is made, closed to other users,
// if it does not exist.
func NewStore(dir string, opts StoreOptions) (*Store, error) {
	f, err := newFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		dir: f.dir, limits: opts.Limits, disk: f.disk, backend: opts.Backend,
		rehash: opts.RehashAfter, now: time.Now, verified: verified{seen: map[digest.Digest]look{}},
	}
	if s.backend == nil {
		s.backend, s.local = f, f
	}
	if s.rehash == 0 {
		s.rehash = 24 * time.Hour
	}
	return s, nil
}

// Backend returns what keeps the archives, for a [Handler].
func (s *Store) Backend() Backend { return s.backend }

// Pack packs a tree as [Pack] does and keeps the archive. When it returns, the
// archive survives a crash of the machine. A damaged archive of the same content
// is replaced. [Store.Record] keeps it from being collected.
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

// Add keeps an archive that was made elsewhere, and returns its size. Nothing is
// kept if the bytes do not have the digest, which is a [*DigestError]. What is in
// them is checked by [Store.Open] only.
func (s *Store) Add(ctx context.Context, r io.Reader, d digest.Digest) (size int64, err error) {
	if _, err := Key(d); err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	lim := s.limits.WithDefaults()
	err = s.keep(ctx, func(w io.Writer) (digest.Digest, error) {
		sum := digest.SHA256.Digester()
		size, err = io.Copy(io.MultiWriter(w, sum.Hash()), io.LimitReader(withContext(ctx, r), lim.ArchiveBytes+1))
		if err == nil {
			err = lim.checkArchive(size)
		}
		if err == nil && sum.Digest() != d {
			err = &DigestError{Want: d, Got: sum.Digest()}
		}
		return d, err
	})
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return size, nil
}

// keep writes an archive to a temporary file and gives it to the backend.
func (s *Store) keep(ctx context.Context, write func(io.Writer) (digest.Digest, error)) (err error) {
	f, err := s.disk.createTemp(filepath.Join(s.dir, tempDir))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil || s.local == nil {
			err = errors.Join(err, s.disk.remove(f.Name()))
		}
	}()
	buf := bufio.NewWriterSize(f, 256<<10)
	d, err := write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if s.holds(ctx, d) {
		return errors.Join(f.Close(), s.disk.remove(f.Name()))
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return s.commit(ctx, f.Name(), d)
}

// holds reports whether the disk has an archive already, undamaged and durable. It
// is as young as a new one then, and not collected before that.
func (s *Store) holds(ctx context.Context, d digest.Digest) bool {
	name, err := Key(d)
	if err != nil || s.local == nil {
		return false
	}
	info, err := s.local.Stat(ctx, name)
	if err != nil || s.verify(ctx, name, d, info) != nil {
		return false
	}
	held := false
	err = s.locked(ctx, func() error {
		if now, err := s.local.Stat(ctx, name); err != nil || now != info {
			return err
		}
		if err := s.local.touch(name); err != nil {
			return err
		}
		info, err = s.local.Stat(ctx, name)
		held = err == nil
		return err
	})
	if err != nil || !held || s.local.settle(name) != nil {
		return false
	}
	s.verified.put(d, look{info, s.now()})
	return true
}

// remove removes an archive and what belongs to it, and returns the size of all.
func (s *Store) remove(ctx context.Context, name string) (size int64, err error) {
	names := []string{name}
	if s.local != nil && strings.HasSuffix(name, archiveExt) {
		names = append(names, indexKey(name))
	}
	for _, name := range names {
		info, err := s.backend.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = s.backend.Delete(ctx, name)
		}
		if err != nil {
			return size, err
		}
		size += info.Size
	}
	return size, nil
}

// commit gives a finished file to the backend.
func (s *Store) commit(ctx context.Context, temp string, d digest.Digest) error {
	name, err := Key(d)
	if err != nil {
		return err
	}
	err = s.locked(ctx, func() error {
		if s.local != nil {
			err = s.local.adopt(temp, name)
		} else {
			err = s.upload(ctx, temp, name)
		}
		if err != nil {
			return err
		}
		info, err := s.backend.Stat(ctx, name)
		s.verified.put(d, look{info, s.now()})
		return err
	})
	if err == nil && s.local != nil {
		err = s.local.settle(name)
	}
	return err
}

func (s *Store) upload(ctx context.Context, temp, name string) error {
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return s.backend.Put(ctx, name, info.Size(), f)
}

// locked keeps other processes from writing and collecting while do runs. Where
// the backend is not on this disk, nothing does: what was put less than
// CollectOptions.MinAge ago is safe there all the same.
func (s *Store) locked(ctx context.Context, do func() error) error {
	if s.local == nil {
		return do()
	}
	unlock, err := s.local.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return do()
}

// Open returns the tree of a stored archive, as [Open] does. The digest is
// checked each time. An archive that is not there is a [*NotFoundError], one that
// is not what it was a [*DamagedError]; it is removed, so that nobody is served
// with it.
func (s *Store) Open(ctx context.Context, d digest.Digest) (fs.FS, error) {
	name, err := Key(d)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	info, err := s.stat(ctx, name, d)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	r, err := s.backend.Open(ctx, name, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("store: %w", missing(err, d))
	}
	defer func() { _ = r.Close() }() // it was only read
	tree, err := Open(ctx, r, OpenOptions{Digest: d, Limits: s.limits})
	if errors.As(err, new(*DigestError)) {
		return nil, s.discard(ctx, name, info, &DamagedError{d, err})
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.verified.put(d, look{info, s.now()})
	return tree, nil
}

// missing makes a NotFoundError of an error that says so.
func missing(err error, d digest.Digest) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{d}
	}
	return err
}

// verified remembers which archives were found to be what their digest says.
type verified struct {
	mu   sync.Mutex
	seen map[digest.Digest]look
}

// look is what an archive looked like when its bytes were right.
type look struct {
	info Info
	at   time.Time
}

func (v *verified) put(d digest.Digest, l look) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen[d] = l
}

func (v *verified) get(d digest.Digest) (look, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.seen[d]
	return l, ok
}

func (v *verified) drop(d digest.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, d)
}
