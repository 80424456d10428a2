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

	"github.com/opencontainers/go-digest"
)

// PackOptions say what [Pack] takes. The zero value takes the whole tree under
// the default limits.
type PackOptions struct {
	// Skip leaves a file, a link or a whole directory out when it returns true.
	// The path is relative to the root of the tree, with slashes; a directory that
	// is left out is not read. It is called once for every entry, in the order of
	// the archive. Nil leaves nothing out.
	Skip func(path string, d fs.DirEntry) bool
	// Limits bound the tree and the archive.
	Limits Limits
}

// Summary says what an archive is and what is in it.
type Summary struct {
	// Digest is the SHA-256 of the archive file: what a download is checked with.
	Digest digest.Digest
	// ContentDigest is a SHA-256 over mode, path and bytes of all entries: what
	// "did anything change?" is answered with. It does not depend on how the
	// archive is encoded, so it is the same in another release of this package.
	ContentDigest digest.Digest
	// Size is the length of the archive file in bytes.
	Size int64
	// ContentSize is the length of all files together in bytes, links not counted.
	ContentSize int64
	// Files is the number of files and links.
	Files int
}

// Pack writes the tree as a tar.gz archive that is the same to the last bit for
// the same tree, whatever the machine, clock, user and umask.
//
// Files keep their path, their bytes and whether their owner may execute them;
// links that stay inside the tree are kept as links. Directories are not entries
// of their own, so empty ones are lost. All else is made uniform.
//
// Errors of fsys and w are wrapped. A link that leads out of the tree is a
// [*LinkError]; devices, sockets, pipes, and names that are not UTF-8, are an
// [*EntryError]; a tree that is too large is a [*LimitError]. What was written
// to w until an error is of no use.
func Pack(ctx context.Context, w io.Writer, fsys fs.FS, opts PackOptions) (Summary, error) {
	lim := opts.Limits.withDefaults()
	entries, err := walk(ctx, fsys, opts.Skip, lim)
	if err != nil {
		return Summary{}, fmt.Errorf("pack: %w", err)
	}
	p := newPacker(w, lim)
	for _, e := range entries {
		if err := p.add(ctx, fsys, e); err != nil {
			return Summary{}, fmt.Errorf("pack: %w", err)
		}
	}
	sum, err := p.close()
	if err != nil {
		return Summary{}, fmt.Errorf("pack: %w", err)
	}
	return sum, nil
}

// packer turns entries into an archive and sums them up.
type packer struct {
	members *members
	tw      *tar.Writer
	content contentDigest
	sum     Summary
	hash    hash.Hash
	buf     []byte
}

func newPacker(w io.Writer, lim Limits) *packer {
	m := newMembers(w, lim)
	return &packer{
		members: m, tw: tar.NewWriter(m), content: newContentDigest(),
		hash: sha256.New(), buf: make([]byte, 64<<10),
	}
}

// add writes one entry.
func (p *packer) add(ctx context.Context, fsys fs.FS, e entry) error {
	if p.members.before(e.path, e.size) {
		// Padding belongs to the member of the file that it pads.
		if err := p.tw.Flush(); err != nil {
			return err
		}
		if err := p.members.cut(); err != nil {
			return err
		}
	}
	if err := p.tw.WriteHeader(e.header()); err != nil {
		return err
	}
	p.hash.Reset()
	if e.isLink() {
		p.hash.Write([]byte(e.target))
	} else if err := p.copy(ctx, fsys, e); err != nil {
		return err
	}
	p.content.add(e, p.hash.Sum(nil))
	p.sum.Files++
	p.sum.ContentSize += e.size
	return nil
}

// copy writes a file's bytes: exactly as many as its header announced.
func (p *packer) copy(ctx context.Context, fsys fs.FS, e entry) error {
	f, err := fsys.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	dst := io.MultiWriter(p.tw, p.hash)
	n, err := io.CopyBuffer(onlyWriter{dst}, onlyReader{io.LimitReader(withContext(ctx, f), e.size)}, p.buf)
	if err != nil {
		return fmt.Errorf("%q: %w", e.path, err)
	}
	more, err := f.Read(p.buf[:1])
	if n != e.size || more > 0 {
		return fmt.Errorf("%q changed while it was packed: try again when nothing writes to the tree", e.path)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%q: %w", e.path, err)
	}
	return nil
}

// close ends the archive. Its end has a member of its own, so that the one
// before it is the same in every archive that has the same files there.
func (p *packer) close() (Summary, error) {
	if err := p.tw.Flush(); err != nil {
		return Summary{}, err
	}
	if err := p.members.cut(); err != nil {
		return Summary{}, err
	}
	if err := p.tw.Close(); err != nil {
		return Summary{}, err
	}
	if err := p.members.cut(); err != nil {
		return Summary{}, err
	}
	p.sum.Digest = digest.NewDigest(digest.SHA256, p.members.out.hash)
	p.sum.ContentDigest = p.content.sum()
	p.sum.Size = p.members.out.n
	return p.sum, nil
}

// onlyReader and onlyWriter hide shortcuts of io.Copy that would get around the
// buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// withContext returns a reader that fails once ctx is done.
func withContext(ctx context.Context, r io.Reader) io.Reader { return &ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one call
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
