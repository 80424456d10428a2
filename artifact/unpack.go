package artifact

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

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
// Modes are subject to the umask, and the disk is not told to sync. A process that
// is killed half way leaves the directory of the random name behind, which whoever
// owns the root may remove when nothing unpacks into it.
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
	sum, err = unpackTo(ctx, r, root, path.Join(stage, staged), opts)
	if err == nil {
		err = move(root, stage, dir)
	}
	return sum, err
}

// staged is the tree inside of the staging directory. That one is closed to
// others; the tree gets the mode that directories have.
const staged = "tree"

// unpackTo makes the directory tree and fills it.
func unpackTo(ctx context.Context, r io.Reader, root *os.Root, tree string, opts UnpackOptions) (Summary, error) {
	w, err := newWriter(root, tree)
	if err != nil {
		return Summary{}, err
	}
	defer w.close()
	src, err := scan(ctx, r, opts.Digest, opts.Limits.WithDefaults(), w)
	if late := w.wait(); err == nil {
		err = late
	}
	if err != nil {
		return Summary{}, err
	}
	if err := w.makeLinks(); err != nil {
		return Summary{}, err
	}
	return w.summary(src), nil
}

// move puts the finished tree in its place.
func move(root *os.Root, stage, dir string) error {
	tree := path.Join(stage, staged)
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
