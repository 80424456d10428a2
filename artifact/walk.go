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

// walk lists what is to be packed, in the order of the paths' bytes. That is
// Git's order too, so a tree that comes out of Git is read from front to back.
func walk(ctx context.Context, fsys fs.FS, skip func(string, fs.DirEntry) bool, lim Limits) ([]entry, error) {
	w := &walker{fsys: fsys, skip: skip, seen: newNames(lim)}
	if err := w.dir(ctx, "."); err != nil {
		return nil, err
	}
	return w.entries, w.checkLinks(ctx)
}

type walker struct {
	fsys    fs.FS
	skip    func(string, fs.DirEntry) bool
	seen    *names
	entries []entry
}

func (w *walker) dir(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := fs.ReadDir(w.fsys, name)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(sortKey(a), sortKey(b)) })
	for _, d := range list {
		if err := w.entry(ctx, name, d); err != nil {
			return err
		}
	}
	return nil
}

// sortKey orders a directory by what its entries' paths will look like.
func sortKey(d fs.DirEntry) string {
	if d.IsDir() {
		return d.Name() + "/"
	}
	return d.Name()
}

func (w *walker) entry(ctx context.Context, dir string, d fs.DirEntry) error {
	if d.Name() == ".." || strings.Contains(d.Name(), "/") {
		return &EntryError{dir, fmt.Sprintf("it lists an entry named %q, which no file can have", d.Name())}
	}
	name := path.Join(dir, d.Name())
	if w.skip != nil && w.skip(name, d) {
		return nil
	}
	if err := w.seen.add(name, d.IsDir()); err != nil {
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
		w.entries = append(w.entries, entry{path: name, mode: modeLink, target: target})
	case 0:
		info, err := d.Info()
		if err != nil {
			return err
		}
		w.entries = append(w.entries, entry{path: name, mode: fileMode(info.Mode()), size: info.Size()})
	default:
		return &EntryError{name, fmt.Sprintf("it is neither a file nor a directory nor a link (%v): leave it out", d.Type())}
	}
	return nil
}

func (w *walker) checkLinks(ctx context.Context) error {
	targets := map[string]string{}
	for _, e := range w.entries {
		if e.isLink() {
			targets[e.path] = e.target
		}
	}
	return checkLinks(ctx, targets, w.seen.lim)
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
		if target == "" || strings.ContainsRune(target, 0) {
			return &LinkError{name, target, errors.New("the target is no path")}
		}
		if len(target) > lim.NameLength {
			return &LimitError{Limit: "NameLength", Max: int64(lim.NameLength), Path: name}
		}
		if _, err := r.Resolve(name); err != nil && !errors.Is(err, links.ErrLoop) {
			return &LinkError{name, target, err}
		}
	}
	return nil
}
