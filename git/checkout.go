package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gitopskit/gitopskit/internal/links"
)

// CheckoutOptions say how a tree is written to a disk. The zero value writes
// into an empty directory, and refuses links that lead out of the tree.
type CheckoutOptions struct {
	// Replace removes what is in the directory before the tree is written.
	// Without it a directory that is not empty is refused.
	Replace bool
	// SkipLinks leaves out links that lead out of the tree or in circles, where
	// the zero value fails with [ErrLink].
	SkipLinks bool
}

// Checkout writes the tree into a directory, for tools that need files on a
// disk; whoever can read an [io/fs.FS] needs none. Directories have the mode
// 0755, files 0644, or 0755 if they are executable, each less the umask, and the
// time of writing. Files are what they are in the Snapshot.
//
// A link is written as a link if its target stays inside the tree, whether or
// not there is anything at it; any other link is an [ErrLink]. Links are written
// last, into directories that Checkout made, and no link that was there before
// is followed, so that nothing is ever written outside of root.
//
// The directory must be empty, or is emptied: see [CheckoutOptions]. On a disk
// that takes two names of the tree for one, such as those that differ in case
// only, the second is an error.
//
// The first error ends it, as does a done ctx. What was written by then stays,
// and nothing marks it: give each checkout a directory of its own, and use that
// only after Checkout has returned without an error. The disk is not synced.
func (s *Snapshot) Checkout(ctx context.Context, root *os.Root, opts CheckoutOptions) error {
	return checkout(ctx, s, root, opts)
}

func checkout(ctx context.Context, fsys fs.ReadLinkFS, root *os.Root, opts CheckoutOptions) error {
	if err := empty(root, opts.Replace); err != nil {
		return fmt.Errorf("checkout: %w", err)
	}
	c := &checkoutRun{ctx: ctx, fsys: fsys, targets: map[string]string{}, buf: make([]byte, 128<<10)}
	if err := c.dir(root, "."); err != nil {
		return err
	}
	return c.links(root, opts.SkipLinks)
}

// empty makes sure that nothing is in the way.
func empty(root *os.Root, remove bool) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	if len(names) > 0 && !remove {
		return fmt.Errorf("the directory is not empty, it holds %q; give an empty one, or set CheckoutOptions.Replace", clip(names[0]))
	}
	for _, name := range names {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// checkoutRun is one checkout.
type checkoutRun struct {
	ctx     context.Context //nolint:containedctx // it lives as long as the call that it was given to
	fsys    fs.ReadLinkFS
	names   []string          // the links, in the order of the tree
	targets map[string]string // what they lead to
	buf     []byte
}

// dir writes what is in a directory into the one that was made for it.
func (c *checkoutRun) dir(at *os.Root, name string) error {
	entries, err := fs.ReadDir(c.fsys, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.entry(at, path.Join(name, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (c *checkoutRun) entry(at *os.Root, name string, e fs.DirEntry) (err error) {
	if err := context.Cause(c.ctx); err != nil {
		return checkoutError(name, err)
	}
	switch e.Type() {
	case fs.ModeDir:
		return c.subdir(at, name)
	case fs.ModeSymlink:
		// There may be thousands of them, but their number and their size are
		// bounded where the tree was read.
		c.names = append(c.names, name)
		c.targets[name], err = c.fsys.ReadLink(name)
	case 0:
		err = c.file(at, name, e)
	default:
		err = fmt.Errorf("it is neither a file, a directory nor a link (%v)", e.Type())
	}
	return checkoutError(name, err)
}

func (c *checkoutRun) subdir(at *os.Root, name string) error {
	base := path.Base(name)
	if err := at.Mkdir(base, 0o755); err != nil {
		return checkoutError(name, err)
	}
	sub, err := at.OpenRoot(base)
	if err != nil {
		return checkoutError(name, err)
	}
	return errors.Join(c.dir(sub, name), sub.Close())
}

// file writes a file that must not be there yet.
func (c *checkoutRun) file(at *os.Root, name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	from, err := c.fsys.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := at.OpenFile(path.Base(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	// Neither side may take over the copy: that would be one long step, in which
	// nobody looks at the context.
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, contextReader{c.ctx, from}, c.buf)
	return errors.Join(err, to.Close())
}

// links writes the links, now that nothing else is to be written.
func (c *checkoutRun) links(root *os.Root, skip bool) error {
	resolver := links.NewResolver(func(name string) (string, bool, error) {
		target, ok := c.targets[name]
		return target, ok, nil
	})
	for _, name := range c.names {
		if err := context.Cause(c.ctx); err != nil {
			return checkoutError(name, err)
		}
		err := checkTarget(c.targets[name])
		if err == nil {
			_, err = resolver.Resolve(name)
		}
		switch {
		case err != nil && skip:
			continue
		case err != nil:
			return checkoutError(name, fmt.Errorf("%w: %w; remove it, or set CheckoutOptions.SkipLinks", ErrLink, err))
		}
		if err := root.Symlink(filepath.FromSlash(c.targets[name]), filepath.FromSlash(name)); err != nil {
			return checkoutError(name, err)
		}
	}
	return nil
}

// checkTarget refuses targets that a system could read in another way than Git.
func checkTarget(target string) error {
	const longest = 4096
	switch {
	case target == "" || len(target) > longest || strings.ContainsRune(target, 0):
		return errors.New("its target is malformed")
	case filepath.Separator != '/' && strings.ContainsAny(target, `\:`):
		return errors.New("its target is not a path on this system")
	}
	return nil
}

// checkoutError says where in the tree it was.
func checkoutError(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("checkout of %q: %w", clip(name), err)
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context //nolint:containedctx // as in checkoutRun
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
