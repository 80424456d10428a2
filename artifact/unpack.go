package artifact

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
)

// UnpackOptions say what [Unpack] accepts, and where it goes. The zero value
// accepts any archive within the default limits, into the root itself.
type UnpackOptions struct {
	// Dir is the directory below the root that becomes the tree, as a clean path
	// with slashes. It must not exist. Empty, or ".", is the root itself, which must
	// not have an entry of the same name as one at the top of the tree.
	Dir string
	// Digest that the archive must have: sha256, sha384 or sha512. Empty means that
	// it is not checked.
	Digest digest.Digest
	// Limits bound the archive and what it expands to.
	Limits Limits
}

// Unpack writes the tree of an archive below root, and nothing elsewhere: not
// through links in the archive, nor through links that others put there
// meanwhile. It takes the same archives as [Open], with the same errors.
//
// The tree is written to a directory of its own with a random name, which starts
// with ".unpack-", and is moved to its place when the digest and every entry were
// checked: a directory in one step, the root itself entry by entry. If something
// of that name is there, the error matches [fs.ErrExist] and nothing was moved.
// Modes are subject to the umask, and the disk is not told to sync.
func Unpack(ctx context.Context, r io.Reader, root *os.Root, opts UnpackOptions) (Summary, error) {
	sum, err := unpack(ctx, r, root, opts)
	if err != nil {
		return Summary{}, fmt.Errorf("unpack: %w", err)
	}
	return sum, nil
}

func unpack(ctx context.Context, r io.Reader, root *os.Root, opts UnpackOptions) (sum Summary, err error) {
	dir := cmp.Or(opts.Dir, ".")
	if !fs.ValidPath(dir) {
		return sum, fmt.Errorf("directory %q is not a clean relative path", dir)
	}
	stage := ".unpack-" + rand.Text()
	if err := root.Mkdir(stage, 0o700); err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, root.RemoveAll(stage)) }()
	w, err := newWriter(root, stage)
	if err != nil {
		return sum, err
	}
	defer func() { _ = w.root.Close() }()
	in, err := scan(ctx, r, opts.Digest, opts.Limits.withDefaults(), w)
	if err != nil {
		return sum, err
	}
	if err := w.makeLinks(); err != nil {
		return sum, err
	}
	if err := move(root, stage, dir); err != nil {
		return sum, err
	}
	return w.summary(in), nil
}

// content is the tree inside of the staging directory. That one is closed to
// others; the tree gets the mode that directories have.
const content = "tree"

// writer is a sink that writes below a root of its own.
type writer struct {
	root    *os.Root
	entries []entry
	sums    map[string][sha256.Size]byte
}

func newWriter(root *os.Root, stage string) (*writer, error) {
	tree := path.Join(stage, content)
	if err := root.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	sub, err := root.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	return &writer{root: sub, sums: map[string][sha256.Size]byte{}}, nil
}

func (w *writer) dir(name string) error { return w.root.MkdirAll(name, 0o755) }

func (w *writer) file(e entry, r io.Reader) error {
	if err := w.dir(path.Dir(e.path)); err != nil {
		return err
	}
	f, err := w.root.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.mode)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	e.size = n
	w.keep(e, [sha256.Size]byte(h.Sum(nil)))
	return nil
}

// link waits: while files are written there is no link that they could be
// written through.
func (w *writer) link(e entry) error {
	w.keep(e, sha256.Sum256([]byte(e.target)))
	return nil
}

func (w *writer) keep(e entry, sum [sha256.Size]byte) {
	w.entries = append(w.entries, e)
	w.sums[e.path] = sum
}

func (w *writer) makeLinks() error {
	for _, e := range w.entries {
		if !e.isLink() {
			continue
		}
		if err := w.dir(path.Dir(e.path)); err != nil {
			return err
		}
		if err := w.root.Symlink(e.target, e.path); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) summary(in *input) Summary {
	slices.SortFunc(w.entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	all := newContentDigest()
	sum := Summary{Digest: in.digester.Digest(), Size: in.n, Files: len(w.entries)}
	for _, e := range w.entries {
		s := w.sums[e.path]
		all.add(e, s[:])
		sum.ContentSize += e.size
	}
	sum.ContentDigest = all.sum()
	return sum
}

// move puts the finished tree in its place.
func move(root *os.Root, stage, dir string) error {
	tree := path.Join(stage, content)
	if dir != "." {
		if err := root.MkdirAll(path.Dir(dir), 0o755); err != nil {
			return err
		}
		return moveOne(root, tree, dir)
	}
	top, err := fs.ReadDir(root.FS(), tree)
	if err != nil {
		return err
	}
	for _, d := range top {
		if err := absent(root, d.Name()); err != nil {
			return err
		}
	}
	for _, d := range top {
		if err := moveOne(root, path.Join(tree, d.Name()), d.Name()); err != nil {
			return err
		}
	}
	return nil
}

func moveOne(root *os.Root, from, to string) error {
	if err := absent(root, to); err != nil {
		return err
	}
	return root.Rename(from, to)
}

func absent(root *os.Root, name string) error {
	_, err := root.Lstat(name)
	switch {
	case err == nil:
		return fmt.Errorf("%q: %w: unpack into a new directory", name, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}
