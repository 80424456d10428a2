package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// treeStore is the tree of a snapshot: its directories, parsed once, and where
// the files are.
type treeStore struct {
	objects *store
	root    node
	lim     Limits
	time    time.Time
	dirs    *directories // which of them are wanted; nil: all
	// partial: only what is wanted is in the objects.
	partial bool

	mu    sync.RWMutex
	trees map[id]*tree
	known []map[id]*tree // of earlier snapshots

	// What load found:
	pointers []LFSFile
	gitlinks []gitlink
	live     map[*segment]int64 // bytes of what is in use of a segment
	absent   []id               // files that were left out of the transfer on purpose

	// What was added to it:
	mounted map[string]*treeStore // submodules by their paths
	large   map[id]place          // files by the ids of their pointers
}

// gitlink is where a submodule belongs, and its commit.
type gitlink struct {
	path   string
	commit id
}

// treeOf returns a directory. It waits for it, if it may still come.
func (s *treeStore) treeOf(hash id) (*tree, error) {
	s.mu.RLock()
	t, known, objects := s.trees[hash], s.known, s.objects
	s.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	t, err := parseKnown(hash, known, objects)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees[hash] == nil {
		s.trees[hash] = t
	}
	return s.trees[hash], nil
}

// place returns where the content of a file is.
func (s *treeStore) place(hash id) (place, error) {
	s.mu.RLock()
	objects := s.objects
	s.mu.RUnlock()
	return objects.find(hash)
}

// moveTo says that the objects are elsewhere now. Somebody may be reading them.
func (s *treeStore) moveTo(objects *store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects = objects
}

// parseKnown parses a directory, unless an earlier snapshot did.
func parseKnown(hash id, known []map[id]*tree, objects *store) (*tree, error) {
	for _, trees := range known {
		if t := trees[hash]; t != nil {
			return t, nil
		}
	}
	raw, err := objects.read(hash, treeObject)
	if err != nil {
		return nil, err
	}
	return parseTree(hash, raw)
}

// load reads all directories, and makes sure that everything they name is there.
func (s *treeStore) load(ctx context.Context) error {
	l := loader{treeStore: s, ctx: ctx, live: map[*segment]int64{}}
	if err := l.directory(s.root.hash, ".", 0); err != nil {
		return err
	}
	if missing := s.dirs.missing(s); missing != "" {
		return fmt.Errorf("%w: %q; change the list of directories", ErrDirectoryNotFound, clip(missing))
	}
	// Somebody may read the tree already, while it arrives.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.live, s.pointers, s.gitlinks, s.absent = nil, l.live, l.pointers, l.gitlinks, l.absent
	return nil
}

// loader is load under way.
type loader struct {
	*treeStore
	ctx   context.Context //nolint:containedctx // of the one call of load that it is
	count int
	// What it finds, until it is known to be all.
	pointers []LFSFile
	gitlinks []gitlink
	live     map[*segment]int64
	absent   []id
}

func (l *loader) directory(hash id, dir string, depth int) error {
	if depth > l.lim.Depth {
		return &LimitError{"Depth", int64(l.lim.Depth)}
	}
	t, err := l.treeOf(hash)
	if err != nil {
		return inDirectory(dir, err)
	}
	if err := context.Cause(l.ctx); err != nil {
		return err
	}
	if p, ok := l.objects.look(hash); ok {
		l.live[p.segment] += p.size
	}
	for _, e := range t.entries {
		if l.count++; l.count > l.lim.Files {
			return &LimitError{"Files", int64(l.lim.Files)}
		}
		name := join(dir, e.name)
		if len(name) > l.lim.PathLength {
			return &LimitError{"PathLength", int64(l.lim.PathLength)}
		}
		switch {
		case e.submodule:
			if l.dirs.holds(name) {
				l.gitlinks = append(l.gitlinks, gitlink{name, e.hash})
			}
		case e.mode.IsDir():
			err = l.directory(e.hash, name, depth+1)
		case !l.partial || l.dirs.holds(name) || name == ".gitmodules":
			err = l.file(e, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) file(e entry, name string) error {
	p, ok := l.objects.look(e.hash)
	if !ok && l.partial {
		l.absent = append(l.absent, e.hash)
		return nil
	}
	if !ok {
		var err error
		if p, err = l.objects.find(e.hash); err != nil {
			return inDirectory(name, err)
		}
	}
	if p.kind != blobObject {
		return fmt.Errorf("%w: %q is a %v", ErrMalformed, clip(name), p.kind)
	}
	l.live[p.segment] += p.size
	if p.pointer && e.mode.IsRegular() && l.dirs.holds(name) {
		raw, err := p.content()
		if err != nil {
			return err
		}
		if pointer, ok := parseLFSPointer(raw); ok {
			l.pointers = append(l.pointers, pointer.at(name))
		}
	}
	return nil
}

// inDirectory says where in the tree something is missing.
func inDirectory(name string, err error) error {
	var missing *missingError
	if errors.As(err, &missing) || errors.Is(err, ErrMalformed) {
		return fmt.Errorf("%q: %w", clip(name), err)
	}
	return err
}

// directories are the parts of a tree that are wanted. Nil means all.
type directories struct{ paths []string }

// newDirectories checks paths, and leaves out those inside of others.
func newDirectories(paths []string) (*directories, error) {
	const most = 1000
	if len(paths) == 0 {
		return nil, nil
	}
	if len(paths) > most {
		return nil, fmt.Errorf("%w: more than %d directories", ErrInvalidRef, most)
	}
	d := &directories{}
	for _, p := range paths {
		clean := strings.TrimPrefix(strings.TrimSuffix(p, "/"), "./")
		if !fs.ValidPath(clean) {
			return nil, fmt.Errorf("%w: directory %q: give a path inside the repository such as clusters/production", ErrInvalidRef, clip(p))
		}
		if clean == "." {
			return nil, nil
		}
		d.paths = append(d.paths, clean)
	}
	slices.Sort(d.paths)
	kept := d.paths[:0]
	for _, p := range d.paths {
		if !(&directories{kept}).holds(p) {
			kept = append(kept, p)
		}
	}
	d.paths = kept
	return d, nil
}

// holds says whether a path is in one of the directories.
func (d *directories) holds(name string) bool {
	if d == nil {
		return true
	}
	for _, dir := range d.paths {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// reaches says whether a path is in one of the directories, or leads there.
func (d *directories) reaches(name string) bool {
	if d.holds(name) {
		return true
	}
	for _, dir := range d.paths {
		if strings.HasPrefix(dir, name+"/") {
			return true
		}
	}
	return false
}

// missing returns a directory that is not there.
func (d *directories) missing(s *treeStore) string {
	if d == nil {
		return ""
	}
	for _, dir := range d.paths {
		if n, err := s.walk(dir, false); err != nil || !n.mode.IsDir() {
			return dir
		}
	}
	return ""
}

// same says whether two of them are equal.
func (d *directories) same(o *directories) bool {
	if d == nil || o == nil {
		return d == o
	}
	return slices.Equal(d.paths, o.paths)
}
