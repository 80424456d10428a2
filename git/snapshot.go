package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Snapshot is the content of a repository at one revision, never changed. It is a
// file system: an [fs.FS] and also an [fs.ReadDirFS], [fs.ReadFileFS],
// [fs.StatFS], [fs.ReadLinkFS] and [fs.SubFS], safe for concurrent use. It needs
// no closing: what it holds is freed when it is not used any more.
//
// Files have the mode 0644, or 0755 if they are executable; all have the time of
// the commit, those of a submodule that of its commit. A link is followed inside
// the tree only, also from a directory that [Snapshot.Sub] returned; one that
// leads out of it, or in circles, is [ErrLink]. A link in a submodule may lead to
// anywhere in the Snapshot. A submodule is an empty directory, and a file in large
// file storage is its pointer, unless [FetchOptions] asked for them. What Git
// attributes would make of a file on checkout is not done: it is what the
// repository holds.
type Snapshot struct {
	treeFS

	found  *resolved
	commit *Commit
	tag    *Tag // nil: none
	walked int
	// rawCommit and rawTag are what was signed.
	rawCommit, rawTag []byte
}

// newSnapshot begins a snapshot. It waits for the commit, but not for its files.
func newSnapshot(objects *store, found *resolved, lim Limits, dirs *directories) (*Snapshot, error) {
	s := &Snapshot{found: found}
	commit, tag, err := found.rev.ids()
	if err != nil {
		return nil, err
	}
	outer, raw, err := peel(objects, found.want, commit)
	if err != nil {
		return nil, err
	}
	if !tag.isZero() {
		s.tag, s.rawTag = outer, raw
	}
	if s.rawCommit, err = objects.read(commit, commitObject); err != nil {
		return nil, err
	}
	if s.commit, err = parseCommit(commit, s.rawCommit); err != nil {
		return nil, err
	}
	root, err := parseID(s.commit.Tree)
	if err != nil {
		return nil, err
	}
	s.treeFS = treeFS{tree: &treeStore{
		objects: objects, lim: lim, dirs: dirs,
		trees: map[id]*tree{}, time: s.commit.Committer.Time,
	}, base: "."}
	s.tree.root = node{entry: entry{name: ".", mode: fs.ModeDir | 0o755, hash: root}, path: ".", tree: s.tree, rel: "."}
	return s, nil
}

// peel follows a tag, and tags of tags, to a commit, and returns the outer one.
func peel(objects *store, at, commit id) (outer *Tag, raw []byte, err error) {
	const most = 8
	for range most + 1 {
		if at == commit {
			return outer, raw, nil
		}
		content, err := objects.read(at, tagObject)
		var missing *missingError
		if errors.Is(err, ErrMalformed) && !errors.As(err, &missing) {
			return nil, nil, fmt.Errorf("%w: %s does not lead to commit %s", ErrMalformed, at, commit)
		}
		if err != nil {
			return nil, nil, err
		}
		tag, kind, err := parseTag(at, content)
		if err != nil {
			return nil, nil, err
		}
		if kind != "commit" && kind != "tag" {
			return nil, nil, fmt.Errorf("%w: tag %q is of a %s, not of a commit", ErrMalformed, clip(tag.Name), clip(kind))
		}
		if outer == nil {
			outer, raw = tag, content
		}
		if at, err = parseID(tag.Target); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fmt.Errorf("%w: tags of tags, more than %d deep", ErrMalformed, most)
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

// Walked returns how deep the history of the repository was fetched to find the
// commit, because the server did not give it by its hash; 0 if it did.
func (s *Snapshot) Walked() int { return s.walked }

// LFSFiles returns the files of which the repository holds only a pointer into
// large file storage, in the order of [fs.WalkDir]; those in submodules are not
// among them. While files still arrive, in [FetchOptions.Stream], there are
// none yet.
func (s *Snapshot) LFSFiles() []LFSFile {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	return append([]LFSFile(nil), s.tree.pointers...)
}

// assemble makes the snapshot of a transfer that is under way, and makes sure
// that everything is there. What goes wrong with it ends the transfer.
func (f *fetching) assemble(ctx context.Context, cancel context.CancelCauseFunc, objects *store, found *resolved, bases []base, sparse bool) (*Snapshot, error) {
	s, err := newSnapshot(objects, found, f.remote.limits, f.dirs)
	if err != nil {
		return nil, err
	}
	s.tree.partial = sparse
	for _, b := range bases {
		s.tree.known = append(s.tree.known, b.trees)
	}
	streamed := make(chan error, 1)
	if f.streamed = f.opts.Stream != nil && !sparse && f.opts.Submodules == nil && !f.opts.LFS; f.streamed {
		go func() {
			err := f.opts.Stream(ctx, s)
			if objects.own.failure() != nil {
				err = nil // why the transfer failed is known better there
			}
			if err != nil {
				cancel(err)
			}
			streamed <- err
		}()
	} else {
		close(streamed)
	}
	if err = s.tree.load(ctx); err != nil {
		cancel(err)
	}
	if <-streamed != nil {
		err = context.Cause(ctx) // whichever came first
	}
	return s, err
}
