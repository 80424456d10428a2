package git

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// Snapshot is the content of a repository at one revision, held in memory and
// never changed. It is a file system: an [fs.FS] and also an [fs.ReadDirFS],
// [fs.ReadFileFS], [fs.StatFS], [fs.ReadLinkFS] and [fs.SubFS], safe for
// concurrent use.
//
// Files have the mode 0644, or 0755 if they are executable; all have the time of
// the commit. A link is followed inside the tree only, also from a directory
// that [Snapshot.Sub] returned; one that leads out of it, or in circles, is
// [ErrLink]. A submodule is an empty directory. What Git attributes and large
// file storage would make of a file on checkout is not done: it is what the
// repository holds.
type Snapshot struct {
	treeFS

	found   *resolved
	objects objects
	commit  *Commit
	tag     *Tag // nil: none
}

// newSnapshot checks that objects are the whole of a revision.
func newSnapshot(ctx context.Context, objs objects, found *resolved, lim Limits) (*Snapshot, error) {
	s := &Snapshot{found: found, objects: objs}
	commit, tag, err := found.rev.ids()
	if err != nil {
		return nil, err
	}
	outer, err := peel(objs, found.want, commit)
	if err != nil {
		return nil, err
	}
	if !tag.isZero() {
		s.tag = outer
	}
	o, ok := objs[commit]
	if !ok || o.kind != "commit" {
		return nil, fmt.Errorf("%w: the server did not send commit %s", ErrMalformed, commit)
	}
	if s.commit, err = parseCommit(commit, o.raw); err != nil {
		return nil, err
	}
	root, err := parseID(s.commit.Tree)
	if err != nil {
		return nil, err
	}
	store := &treeStore{objects: objs, trees: map[id]*tree{}, time: s.commit.Committer.Time}
	if err := store.load(ctx, root, lim); err != nil {
		return nil, err
	}
	s.treeFS = treeFS{store: store, root: root, base: "."}
	return s, nil
}

// peel follows a tag, and tags of tags, to a commit, and returns the outer one.
func peel(objs objects, at, commit id) (outer *Tag, err error) {
	const most = 8
	for range most {
		if at == commit {
			return outer, nil
		}
		o, ok := objs[at]
		if !ok || o.kind != "tag" {
			return nil, fmt.Errorf("%w: %s does not lead to commit %s", ErrMalformed, at, commit)
		}
		tag, kind, err := parseTag(at, o.raw)
		if err != nil {
			return nil, err
		}
		if kind != "commit" && kind != "tag" {
			return nil, fmt.Errorf("%w: tag %q is of a %s, not of a commit", ErrMalformed, clip(tag.Name), clip(kind))
		}
		if outer == nil {
			outer = tag
		}
		if at, err = parseID(tag.Target); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: tags of tags, more than %d deep", ErrMalformed, most)
}

// Revision returns what the snapshot is of.
func (s *Snapshot) Revision() Revision { return s.found.rev }

// Commit returns the commit.
func (s *Snapshot) Commit() Commit { return *s.commit }

// Tag returns the annotated tag that the revision's name is, nil if it is a
// branch, a lightweight tag or a bare commit.
func (s *Snapshot) Tag() *Tag {
	if s.tag == nil {
		return nil
	}
	tag := *s.tag
	return &tag
}

// TreeHash returns the hash of a directory; "." is the root. Two directories of
// equal hash have equal content, of this repository or another, whatever
// commits they are in. That of a submodule is the commit that it is at.
func (s *Snapshot) TreeHash(dir string) (string, error) {
	n, err := s.lookup("treehash", dir, true)
	if err != nil {
		return "", err
	}
	if !n.mode.IsDir() {
		return "", &fs.PathError{Op: "treehash", Path: dir, Err: errNotDir}
	}
	return n.hash.String(), nil
}

// treeStore holds the trees of a snapshot, parsed once.
type treeStore struct {
	objects objects
	trees   map[id]*tree
	time    time.Time
}

// load reads all trees below a root, and makes sure that everything they name
// is there.
func (s *treeStore) load(ctx context.Context, root id, lim Limits) error {
	files := 0
	var walk func(hash id, dir string, depth int) error
	walk = func(hash id, dir string, depth int) error {
		if depth > lim.Depth {
			return &LimitError{"Depth", int64(lim.Depth)}
		}
		t, err := s.tree(hash)
		if err != nil {
			return fmt.Errorf("%q: %w", clip(dir), err)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		for _, e := range t.entries {
			if files++; files > lim.Files {
				return &LimitError{"Files", int64(lim.Files)}
			}
			name := path.Join(dir, e.name)
			if len(name) > lim.PathLength {
				return &LimitError{"PathLength", int64(lim.PathLength)}
			}
			switch {
			case e.submodule:
			case e.mode.IsDir():
				if err := walk(e.hash, name, depth+1); err != nil {
					return err
				}
			case s.objects[e.hash].kind != "blob":
				return fmt.Errorf("%w: %q: the server did not send blob %s", ErrMalformed, clip(name), e.hash)
			}
		}
		return nil
	}
	return walk(root, ".", 0)
}

// tree returns a parsed tree. Only load adds to the trees.
func (s *treeStore) tree(hash id) (*tree, error) {
	if t := s.trees[hash]; t != nil {
		return t, nil
	}
	o, ok := s.objects[hash]
	if !ok || o.kind != "tree" {
		return nil, fmt.Errorf("%w: the server did not send tree %s", ErrMalformed, hash)
	}
	t, err := parseTree(hash, o.raw)
	if err != nil {
		return nil, err
	}
	s.trees[hash] = t
	return t, nil
}
