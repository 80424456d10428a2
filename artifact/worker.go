package artifact

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
)

// klauspost's output at this level has been the same in v1.17.0 to v1.20.3, on
// every platform and however the input is cut into writes; the standard library's
// changes between releases of Go. A test holds the digests.
const level = gzip.BestSpeed

// worker makes jobs into pieces.
type worker struct {
	*packing
	zip  *gzip.Writer
	hash hash.Hash
	buf  []byte
}

func (w *worker) run(ctx context.Context) error {
	for j := range w.work {
		if w.zip == nil {
			// The only error is that of an unknown level.
			w.zip, _ = gzip.NewWriterLevel(nil, level)
			w.hash, w.buf = sha256.New(), make([]byte, 64<<10)
		}
		if err := w.do(ctx, j); err != nil {
			return err
		}
		close(j.done)
	}
	return nil
}

func (w *worker) do(ctx context.Context, j *job) error {
	j.packed.spare = w.spare
	if done, err := w.copy(ctx, j); done || err != nil {
		return err
	}
	w.zip.Reset(&j.packed)
	mark(w.zip)
	if err := w.fill(ctx, j); err != nil {
		return err
	}
	if err := w.zip.Close(); err != nil {
		return err
	}
	j.packed.setLength()
	if w.opts.Index != nil {
		j.packed.sum(w.hash, j.packs[:0])
	}
	return nil
}

// fill compresses a piece of the tar stream.
func (w *worker) fill(ctx context.Context, j *job) error {
	if j.raw != nil {
		_, err := w.zip.Write(j.raw)
		if cap(j.raw) == maxMember {
			give(w.spare.raws, j.raw)
		}
		return err
	}
	tw := tar.NewWriter(w.zip)
	j.known = make([]known, len(j.entries))
	for i, e := range j.entries {
		k, err := appendTar(ctx, tw, w.hash, w.buf, w.fsys, e)
		if err != nil {
			return err
		}
		k.id = w.id(e)
		j.known[i] = k
	}
	return nil
}

// copy takes the piece of an earlier archive, if its entries are the same.
func (w *worker) copy(ctx context.Context, j *job) (bool, error) {
	if j.copy.length > 0 {
		if !w.take(j, j.copy) {
			return false, errPrevious
		}
		return true, nil
	}
	if !j.old.lists(j.entries) || len(j.old.pieces) != 1 {
		return false, nil
	}
	list := make([]known, len(j.entries))
	for i, e := range j.entries {
		k, same, err := w.same(ctx, w.hash, w.buf, e, j.old.entries[i])
		if !same || err != nil {
			return false, err
		}
		list[i] = k
	}
	j.known = list
	return w.take(j, j.old.pieces[0]), nil
}

// take reads a piece of the earlier archive, and reports whether it is undamaged.
func (w *worker) take(j *job, at span) bool {
	j.packs = at.sum
	return j.old.read(at, &j.packed, w.hash)
}

// appendTar writes an entry with its padding, and returns the digest of its
// content.
func appendTar(ctx context.Context, tw *tar.Writer, h hash.Hash, buf []byte, fsys fs.FS, e entry) (known, error) {
	var k known
	if err := tw.WriteHeader(e.header()); err != nil {
		return k, err
	}
	h.Reset()
	if e.isLink() {
		h.Write([]byte(e.target))
	} else if err := copyFile(ctx, io.MultiWriter(tw, h), buf, fsys, e); err != nil {
		return k, err
	}
	h.Sum(k.sum[:0])
	return k, tw.Flush()
}

// copyFile writes a file's bytes: exactly as many as its header announced.
func copyFile(ctx context.Context, dst io.Writer, buf []byte, fsys fs.FS, e entry) error {
	f, err := fsys.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyBuffer(onlyWriter{dst}, onlyReader{io.LimitReader(withContext(ctx, f), e.size)}, buf)
	if err != nil {
		return fmt.Errorf("%q: %w", e.path, err)
	}
	more, err := f.Read(buf[:1])
	if n != e.size || more > 0 {
		return fmt.Errorf("%q changed while it was packed: try again when nothing writes to the tree", e.path)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%q: %w", e.path, err)
	}
	return nil
}
