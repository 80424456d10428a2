package artifact

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

// PackOptions say what [Pack] takes and how. The zero value takes the whole tree,
// on all cores, under the default limits.
type PackOptions struct {
	// Ignore leaves out what ignore files and patterns say.
	Ignore Ignore
	// Skip leaves a file, a link or a whole directory out when it returns true.
	// The path is relative to the root of the tree, with slashes; a directory that
	// is left out is not read. It is called once for every entry that Ignore has
	// not left out, in the order of the archive. Nil leaves nothing out.
	Skip func(path string, d fs.DirEntry) bool
	// Workers is how many pieces are compressed at once; the result is the same for
	// any number. Zero or less means [runtime.GOMAXPROCS]; at most 32.
	Workers int
	// Progress, if not nil, is told now and then how many files are in the archive
	// by now, and how many bytes they have; at the end it is told of all. Its calls
	// do not overlap.
	Progress func(files int, bytes int64)
	// Previous, if not nil, is an earlier archive of much the same tree.
	Previous *Previous
	// Incremental has [Store.Pack] keep an index beside the archive, so that Since
	// can name it later on. Pack itself does not regard it.
	Incremental bool
	// Since does for [Store.Pack], which has the archive, what Previous does for
	// Pack. It is what an earlier one returned with Incremental; Digest and
	// IndexDigest are enough. If the store does not have both any more, or not as
	// they were, all is packed anew.
	Since Summary
	// Index, if not nil, becomes the index of the archive.
	Index *Index
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
	// IndexDigest is the SHA-256 of the index that a [Store] has beside the archive,
	// with [PackOptions].Incremental.
	IndexDigest digest.Digest
	// Size is the length of the archive file in bytes.
	Size int64
	// ContentSize is the length of all files together in bytes, links not counted.
	ContentSize int64
	// Files is the number of files and links.
	Files int
}

// ContentIDFS is a tree that knows its files by an id of their content, such as
// the revisions of package git. Two files of equal id and size must have the same
// bytes, whatever tree they are in, at least if the index of one is used to pack
// the other. With [Previous], what has the id that it had is not read.
type ContentIDFS interface {
	fs.FS
	// ContentID returns the id of a file. An error or nothing means that there is
	// none: the file is read.
	ContentID(name string) (string, error)
}

// Pack writes the tree as a tar.gz archive that is the same to the last bit for
// the same tree, whatever the machine, clock, user and umask, and however many
// cores there are.
//
// Files keep their path, their bytes and whether their owner may execute them;
// links that stay inside the tree are kept as links. Directories are not entries
// of their own, so empty ones are lost. All else is made uniform.
//
// The tree is read by several goroutines at once.
//
// Errors of fsys and w are wrapped. A link that leads out of the tree is a
// [*LinkError]; devices, sockets, pipes, and names that are not UTF-8, are an
// [*EntryError]; a tree that is too large is a [*LimitError]. What was written
// to w until an error is of no use.
func Pack(ctx context.Context, w io.Writer, fsys fs.FS, opts PackOptions) (Summary, error) {
	sum, err := newPacking(w, fsys, opts).run(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("pack: %w", err)
	}
	return sum, nil
}
