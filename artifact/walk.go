package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gitopskit/gitopskit/internal/links"
)

// walker goes through what is to be packed, in the order of the paths' bytes. That
// is Git's order too, so a tree that comes out of Git is read from front to back,
// also while it still arrives.
type walker struct {
	fsys   fs.FS
	skip   func(string, fs.DirEntry) bool
	ignore *ignoring
	lim    Limits
	to     func(entry) error
	count  int               // of entries
	links  map[string]string // targets
}

// walk hands all entries of the tree on.
func walk(ctx context.Context, fsys fs.FS, opts PackOptions, lim Limits, to func(entry) error) error {
	ignore, err := newIgnoring(ctx, fsys, opts.Ignore, lim)
	if err != nil {
		return err
	}
	w := &walker{fsys: fsys, skip: opts.Skip, ignore: ignore, lim: lim, to: to, links: map[string]string{}}
	if err := w.dir(ctx, "."); err != nil {
		return err
	}
	return checkLinks(ctx, w.links, lim)
}

func (w *walker) dir(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := fs.ReadDir(w.fsys, name)
	if err != nil {
		return err
	}
	slices.SortFunc(list, bySortKey)
	if err := checkTwice(name, list); err != nil {
		return err
	}
	pushed, err := w.ignore.push(w.fsys, name, list)
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := w.entry(ctx, name, d); err != nil {
			return err
		}
	}
	if pushed {
		w.ignore.pop()
	}
	return nil
}

// bySortKey orders a directory by what its entries' paths will look like: the
// names of directories have a slash behind them.
func bySortKey(a, b fs.DirEntry) int { return cmp.Compare(sortKey(a), sortKey(b)) }

func sortKey(d fs.DirEntry) string {
	if d.IsDir() {
		return d.Name() + "/"
	}
	return d.Name()
}

// checkTwice refuses a directory that lists a name twice. A file and a directory
// of one name need not be neighbours.
func checkTwice(dir string, list []fs.DirEntry) error {
	for i, d := range list {
		twice := i > 0 && list[i-1].Name() == d.Name()
		if d.IsDir() && !twice {
			_, twice = slices.BinarySearchFunc(list[:i], d.Name(), func(d fs.DirEntry, name string) int {
				return cmp.Compare(sortKey(d), name)
			})
		}
		if twice {
			return &EntryError{path.Join(dir, d.Name()), "it is there twice"}
		}
	}
	return nil
}

func (w *walker) entry(ctx context.Context, dir string, d fs.DirEntry) error {
	if n := d.Name(); n == "" || n == "." || n == ".." || strings.Contains(n, "/") {
		return &EntryError{dir, fmt.Sprintf("it lists an entry named %q, which no file can have", d.Name())}
	}
	name := path.Join(dir, d.Name())
	if out, err := w.leftOut(name, d); out || err != nil {
		return err
	}
	if err := checkName(name, w.lim); err != nil {
		return err
	}
	w.count++
	if err := w.lim.checkEntries(w.count); err != nil {
		return err
	}
	switch d.Type() {
	case fs.ModeDir:
		return w.dir(ctx, name)
	case fs.ModeSymlink:
		target, err := fs.ReadLink(w.fsys, name)
		if err != nil {
			return err
		}
		if err := checkTarget(name, target, w.lim); err != nil {
			return err
		}
		w.links[name] = target
		return w.to(entry{path: name, mode: modeLink, target: target})
	case 0:
		info, err := d.Info()
		if err != nil {
			return err
		}
		return w.to(entry{path: name, mode: fileMode(info.Mode()), size: info.Size()})
	default:
		return &EntryError{name, fmt.Sprintf("it is neither a file nor a directory nor a link (%v): leave it out", d.Type())}
	}
}

func (w *walker) leftOut(name string, d fs.DirEntry) (bool, error) {
	out, err := w.ignore.excludes(name, d.Name(), d.IsDir())
	if out || err != nil {
		return out, err
	}
	return w.skip != nil && w.skip(name, d), nil
}

// checkTarget refuses what no link can have as a target.
func checkTarget(name, target string, lim Limits) error {
	if target == "" || strings.ContainsRune(target, 0) {
		return &LinkError{name, target, errors.New("the target is no path")}
	}
	if len(target) > lim.NameLength {
		return &LimitError{Limit: "NameLength", Max: int64(lim.NameLength), Path: name}
	}
	return nil
}

// checkLinks follows every link through all others and refuses those that lead
// out of the tree. Links in a circle and links to nothing do no harm: whoever
// opens them gets an error.
func checkLinks(ctx context.Context, targets map[string]string, lim Limits) error {
	lookup := func(name string) (string, bool, error) {
		target, ok := targets[name]
		return target, ok, nil
	}
	r := links.NewResolver(lookup)
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := targets[name]
		if err := checkTarget(name, target, lim); err != nil {
			return err
		}
		if _, err := r.Resolve(name); err != nil && !errors.Is(err, links.ErrLoop) {
			return &LinkError{name, target, err}
		}
	}
	return nil
}
