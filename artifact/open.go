package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

// OpenOptions say what [Open] accepts. The zero value accepts any archive within
// the default limits.
type OpenOptions struct {
	// Digest that the archive must have: sha256, sha384 or sha512. Empty means that
	// it is not checked.
	Digest digest.Digest
	// Limits bound the archive and what it expands to.
	Limits Limits
	// SpillDir is an existing directory for content that Memory has no room for: a
	// file in it that has no name any more, so it cannot be opened by others and is
	// gone with this process. Empty means that all content stays in memory.
	SpillDir string
	// Memory is how many bytes of files stay in memory where there is a SpillDir;
	// the files that come after those are spilled. Default 16 MiB.
	Memory int64
}

// Open reads an archive into memory and returns its tree, which also implements
// [fs.ReadDirFS], [fs.ReadFileFS], [fs.StatFS] and [fs.ReadLinkFS], and is safe
// for concurrent use. The tree does not depend on r any more. With a SpillDir, what
// is large is on disk and read from there, and the tree should be closed when it is
// no longer used: it then implements [io.Closer].
//
// The archive is read to its end, and once; nothing is returned before its digest
// and every entry were checked. It may come from other tools too: directories may
// have entries, files any mode, of which only the owner's right to execute is
// kept.
//
// Wrong bytes are a [*DigestError], or wrap [ErrFormat] if no digest was given;
// entries that are not taken are an [*EntryError] or a [*LinkError]; too much of
// something is a [*LimitError]. Errors of r are wrapped.
func Open(ctx context.Context, r io.Reader, opts OpenOptions) (fs.FS, error) {
	tree := newTree()
	if opts.SpillDir != "" {
		tree.spill = &spill{dir: opts.SpillDir, left: or(opts.Memory, 16<<20)}
	}
	_, err := scan(ctx, r, opts.Digest, opts.Limits.WithDefaults(), tree)
	if err == nil {
		err = tree.finish()
	}
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", errors.Join(err, tree.spill.close()))
	}
	if tree.spill != nil {
		return closingTree{tree}, nil
	}
	return tree, nil
}

// Tree is a sink: it takes the entries of an archive into memory.

func (t *tree) dir(name string) error {
	t.mkdir(name)
	return nil
}

func (t *tree) file(e entry, r io.Reader) error {
	n := &node{path: e.path, mode: e.mode, size: e.size}
	var err error
	if t.spill.takes(e.size) {
		n.spilled, err = t.spill.add(r, e.size)
	} else {
		n.data, err = readAll(r, e.size)
	}
	if err != nil {
		return err
	}
	t.add(n)
	return nil
}

// readAll reads as many bytes as a header promises. That is a claim: room is made
// as the bytes come, and in the end there is no more of it than bytes.
func readAll(r io.Reader, size int64) ([]byte, error) {
	data := make([]byte, 0, min(size, 1<<20))
	for {
		n, err := io.ReadFull(r, data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err != nil || int64(len(data)) == size {
			return data, err
		}
		data = append(make([]byte, 0, min(size, 2*int64(cap(data)))), data...)
	}
}

func (t *tree) link(e entry) error {
	t.add(&node{path: e.path, mode: e.mode, size: int64(len(e.target)), data: []byte(e.target)})
	return nil
}
