package kustomize

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// InputKind is what a build learned from a name.
type InputKind byte

// The kinds of inputs.
const (
	File      InputKind = 'f' // what the file holds
	Link      InputKind = 'l' // where the symbolic link leads
	Directory InputKind = 'd' // which manifests and directories it has
	Missing   InputKind = 'm' // that there is nothing of that name
)

// Input is something that a build depends on.
type Input struct {
	Name string // in the tree, with all links followed
	Kind InputKind
}

// Inputs are what a build depends on: what it was asked for, and all that it learned
// of the tree. They do not change, and hold no content. Their JSON form is small
// enough for a status: a program that keeps it can tell after a restart that
// there is nothing to build.
//
// The zero value is of no build.
type Inputs struct {
	version string
	dir     string
	options sum
	list    []Input // sorted by name
	digest  sum
	// What trees with ids of their own say: of all inputs, and of the directory that
	// has them all. Zero if the tree has none.
	ids, within sum
}

type sum [sha256.Size]byte

// version changes whenever the same inputs may give other objects: it is that of
// kustomize, and a count of our own changes.
const version = "kustomize v0.21.2, 1"

// All lists the inputs, sorted by name.
func (in Inputs) All() []Input { return slices.Clone(in.list) }

// Files lists the names of the files that were read and of the links that were
// followed.
func (in Inputs) Files() []string {
	var names []string
	for _, i := range in.list {
		if i.Kind == File || i.Kind == Link {
			names = append(names, i.Name)
		}
	}
	return names
}

// Digest returns "sha256:" and a hash, in hexadecimal digits, of the options, the
// names and contents of the inputs, and the version of kustomize: builds with the
// same digest give the same objects. It is empty if the inputs are of no build.
func (in Inputs) Digest() string {
	if in.version == "" {
		return ""
	}
	return "sha256:" + hex.EncodeToString(in.digest[:])
}

// Unchanged reports whether a build of the directory would give the same objects
// again, because nothing has changed that these inputs consist of. It builds
// nothing. What it cannot be sure of has changed.
//
// A tree may offer
//
//	ContentID(name string) (string, error)
//	TreeHash(dir string) (string, error)
//
// as a Git snapshot does: equal ids mean equal content, of files and of whole
// directories. If both trees did, no file is read. Otherwise all files are read
// and hashed: times of change are not trusted. Ids are only as good as the trees:
// compare those that were fetched in the same way, with or without submodules
// and large files.
//
// Errors are those of the context and of reading the tree.
func (in Inputs) Unchanged(ctx context.Context, fsys fs.FS, dir string, opts Options) (bool, error) {
	if in.version != version || in.dir != cleanDir(dir) || in.options != opts.digest() {
		return false, nil
	}
	return in.same(newProbe(ctx, fsys, opts.Limits.withDefaults()))
}

func cleanDir(dir string) string { return path.Clean(cmp.Or(dir, ".")) }

// same is Unchanged for the same directory and options.
func (in Inputs) same(p *probe) (bool, error) {
	if in.within != (sum{}) {
		if now, ok := p.within(in.list); ok && now == in.within {
			return true, nil
		}
	}
	if in.ids != (sum{}) && p.ids != nil {
		h := newHasher(in)
		ok, err := p.each(in.list, func(i Input) (ok bool, err error) {
			id, ok, err := p.id(i)
			h.add(i, id)
			return ok, err
		})
		return ok && h.sum() == in.ids, err
	}
	h := newHasher(in)
	ok, err := p.each(in.list, func(i Input) (bool, error) {
		content, ok, err := p.content(i)
		h.add(i, content)
		return ok, err
	})
	return ok && h.sum() == in.digest, err
}

// inputs sums up what the build depended on.
func (s *source) inputs(dir string, opts *Options) (Inputs, error) {
	in := Inputs{version: version, dir: cleanDir(dir), options: opts.digest()}
	for name, kind := range s.used {
		in.list = append(in.list, Input{name, kind})
	}
	slices.SortFunc(in.list, func(a, b Input) int { return strings.Compare(a.Name, b.Name) })
	// The probe knows what the build has read, and reads nothing again.
	p := newProbe(s.ctx, s.fsys, s.lim)
	p.infos, p.files, p.lists = s.infos, s.files, s.lists
	contents, ids := newHasher(in), newHasher(in)
	hasIDs := p.ids != nil
	for _, i := range in.list {
		content, _, err := p.content(i)
		if err != nil {
			return Inputs{}, err
		}
		contents.add(i, content)
		if hasIDs {
			id, ok, err := p.id(i)
			if hasIDs = ok && err == nil; hasIDs {
				ids.add(i, id)
			}
		}
	}
	in.digest = contents.sum()
	if hasIDs {
		in.ids = ids.sum()
	}
	if now, ok := p.within(in.list); ok {
		in.within = now
	}
	return in, nil
}
