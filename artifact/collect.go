package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Records say which archives a source had, and since when. Their keys are
// names/<hash of the name>/<milliseconds since 1970>-<hex of the archive>; all is
// in the key, so that a listing is enough to know them.
const recordDir = "names"

type record struct {
	key   string
	group string // the hash of the name
	since time.Time
	hex   string
}

// parseRecord returns false for what is not a record.
func parseRecord(key string) (record, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || parts[0] != recordDir {
		return record{}, false
	}
	ms, sum, _ := strings.Cut(parts[2], "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || digest.NewDigestFromEncoded(digest.SHA256, sum).Validate() != nil {
		return record{}, false
	}
	return record{key, parts[1], time.UnixMilli(n), sum}, true
}

func groupDir(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." || len(name) > 1024 {
		return "", &NameError{name}
	}
	sum := sha256.Sum256([]byte(name))
	return recordDir + "/" + hex.EncodeToString(sum[:16]) + "/", nil
}

// Record says that an archive is now the one of a source, which is named by a
// path such as gitrepository/default/app. It keeps the archive, and some that the
// source had before, from being collected; see [CollectOptions]. Recording the
// same archive again costs one listing. An archive that is not there is a
// [*NotFoundError].
func (s *Store) Record(ctx context.Context, name string, d digest.Digest) error {
	archive, err := Key(d)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	dir, err := groupDir(name)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err = s.locked(ctx, func() error {
		if _, err := s.stat(ctx, archive, d); err != nil {
			return err
		}
		old, err := s.records(ctx, dir)
		if err != nil || len(old) > 0 && old[0].hex == d.Encoded() {
			return err
		}
		since := s.now()
		if len(old) > 0 && !since.After(old[0].since) {
			since = old[0].since.Add(time.Millisecond) // a clock may go back
		}
		rec := dir + strconv.FormatInt(since.UnixMilli(), 10) + "-" + d.Encoded()
		return s.backend.Put(ctx, rec, int64(len(name)), strings.NewReader(name))
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Forget removes all records of a source that is no more. What only they kept is
// left to [Store.Collect].
func (s *Store) Forget(ctx context.Context, name string) error {
	dir, err := groupDir(name)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err = s.locked(ctx, func() error {
		list, err := s.records(ctx, dir)
		for _, rec := range list {
			err = errors.Join(err, s.backend.Delete(ctx, rec.key))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// records lists those below a prefix, each source's newest first.
func (s *Store) records(ctx context.Context, prefix string) ([]record, error) {
	var list []record
	for key, err := range s.backend.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if rec, ok := parseRecord(key); ok {
			list = append(list, rec)
		}
	}
	slices.SortFunc(list, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.group, b.group), b.since.Compare(a.since), cmp.Compare(a.key, b.key))
	})
	return list, nil
}

// CollectOptions say what [Store.Collect] keeps. The zero value is ready to use.
type CollectOptions struct {
	// Keep is how many archives of each source are kept, the newest ones. Default 2.
	Keep int
	// MinAge is how long an archive is kept after its source got another one, and
	// how long one is kept that no source ever had. A consumer that was told of an
	// archive has this time to fetch it. Default 1 hour.
	MinAge time.Duration
	// Pinned archives are kept whatever their age: those in use elsewhere.
	Pinned []digest.Digest
}

// Collected says what [Store.Collect] removed.
type Collected struct {
	Archives []digest.Digest
	Bytes    int64
}

// Collect removes the archives that no source has or recently had. A reader that
// has one open reads it to its end. It can be called at any time, and by several
// processes that share a directory; what was removed before an error is returned
// with it.
func (s *Store) Collect(ctx context.Context, opts CollectOptions) (Collected, error) {
	c := collector{Store: s, keep: map[string]bool{}, before: s.now().Add(-time.Duration(or(int64(opts.MinAge), int64(time.Hour))))}
	for _, d := range opts.Pinned {
		c.keep[d.Encoded()] = true
	}
	err := s.locked(ctx, func() error {
		if err := c.expire(ctx, or(opts.Keep, 2)); err != nil {
			return err
		}
		return c.sweep(ctx)
	})
	if err != nil {
		return c.done, fmt.Errorf("store: %w", err)
	}
	return c.done, nil
}

type collector struct {
	*Store
	keep   map[string]bool // by the hex of the archive
	before time.Time       // what ended then or earlier may go
	done   Collected
}

// expire removes the records of what a source had long ago. They go before the
// archives: a record without its archive would be a promise not kept.
func (c *collector) expire(ctx context.Context, keep int) error {
	list, err := c.records(ctx, recordDir+"/")
	if err != nil {
		return err
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].group == list[0].group {
			n++
		}
		if err := c.expireGroup(ctx, list[:n], keep); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// expireGroup judges the records of one source, newest first. One that comes back
// to what it had counts once.
func (c *collector) expireGroup(ctx context.Context, list []record, keep int) error {
	seen := map[string]bool{}
	for i, rec := range list {
		repeated := seen[rec.hex]
		seen[rec.hex] = true
		if i == 0 || !repeated && len(seen) <= keep || list[i-1].since.After(c.before) {
			c.keep[rec.hex] = true
			continue
		}
		if err := c.backend.Delete(ctx, rec.key); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the archives that nothing keeps, and what belongs to them or to
// none that is there.
func (c *collector) sweep(ctx context.Context) error {
	for name, err := range c.backend.List(ctx, archiveDir+"/") {
		if err != nil {
			return err
		}
		sum, ext, _ := strings.Cut(strings.TrimPrefix(name, archiveDir+"/"), ".")
		if !c.keep[sum] {
			err = c.sweepOne(ctx, name, digest.NewDigestFromEncoded(digest.SHA256, sum), "."+ext == archiveExt)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) sweepOne(ctx context.Context, name string, of digest.Digest, isArchive bool) error {
	if archive, err := Key(of); err == nil && !isArchive {
		if _, err := c.backend.Stat(ctx, archive); !errors.Is(err, fs.ErrNotExist) {
			return err // it goes when the archive goes
		}
	}
	info, err := c.backend.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Modified.After(c.before) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := c.remove(ctx, name)
	c.done.Bytes += size
	if err == nil && isArchive {
		c.verified.drop(of)
		c.done.Archives = append(c.done.Archives, of)
	}
	return err
}
