package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/gitopskit/gitopskit/internal/links"
)

// source reads the tree for one build: through links but never out of the tree,
// each file once, within the limits, and it remembers what was asked for.
type source struct {
	ctx    context.Context //nolint:containedctx // of the build; kustomize passes none to its file system
	fsys   fs.FS
	lim    Limits
	links  *links.Resolver
	unseal *unsealer
	infos  map[string]fs.FileInfo // by name, links not followed
	files  map[string][]byte
	lists  map[string][]fs.DirEntry
	used   map[string]InputKind // all that the build depends on, by name
	reads  int
	bytes  int64
}

var errIsDir = errors.New("is a directory")

func newSource(ctx context.Context, fsys fs.FS, lim Limits) *source {
	s := &source{
		ctx: ctx, fsys: fsys, lim: lim,
		infos: map[string]fs.FileInfo{}, files: map[string][]byte{}, lists: map[string][]fs.DirEntry{}, used: map[string]InputKind{},
	}
	s.links = links.NewResolver(s.lookup)
	return s
}

// stat follows all links of a name and says what is there.
func (s *source) stat(name string) (real string, info fs.FileInfo, err error) {
	if err := s.count(name); err != nil {
		return "", nil, err
	}
	real, err = s.links.Resolve(name)
	switch {
	case errors.Is(err, links.ErrAbsolute), errors.Is(err, links.ErrEscapes), errors.Is(err, links.ErrLoop):
		return "", nil, &RefusedError{File: name, Value: name, Reason: "a link on this path cannot be followed: " + err.Error()}
	case err != nil:
		return "", nil, err
	}
	info, err = s.lstat(real)
	return real, info, err
}

// count is called for all that kustomize asks for, found or not.
func (s *source) count(name string) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.reads++; s.reads > s.lim.Reads {
		return &LimitError{Limit: "Reads", Max: int64(s.lim.Reads), File: name}
	}
	return nil
}

func (s *source) lstat(name string) (fs.FileInfo, error) {
	if info := s.infos[name]; info != nil {
		return info, nil
	}
	info, err := fs.Lstat(s.fsys, name)
	switch {
	case err == nil:
		s.infos[name] = info
	case missing(err):
		s.used[name] = Missing
	}
	return info, err
}

// lookup is what links are followed with. It is asked for parents first, so what it
// does not find is the first part of a path that is missing.
func (s *source) lookup(name string) (string, bool, error) {
	info, err := s.lstat(name)
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return "", false, err
	}
	s.used[name] = Link
	target, err := fs.ReadLink(s.fsys, name)
	return target, true, err
}

// read returns the content of a file.
func (s *source) read(name string) ([]byte, error) {
	real, info, err := s.stat(name)
	if err != nil {
		return nil, err
	}
	if data, ok := s.files[real]; ok {
		return s.unseal.file(real, data)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s %w", name, errIsDir)
	}
	if !info.Mode().IsRegular() {
		return nil, &InputError{File: name, Err: fmt.Errorf("it is not a file (%v)", info.Mode().Type())}
	}
	data, err := s.load(real)
	if err != nil {
		return nil, err
	}
	s.files[real] = data
	s.used[real] = File
	return s.unseal.file(real, data)
}

func (s *source) load(name string) ([]byte, error) {
	f, err := s.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, s.lim.FileBytes+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > s.lim.FileBytes {
		return nil, &LimitError{Limit: "FileBytes", Max: s.lim.FileBytes, File: name}
	}
	if s.bytes += int64(len(data)); s.bytes > s.lim.Bytes {
		return nil, &LimitError{Limit: "Bytes", Max: s.lim.Bytes, File: name}
	}
	return data, nil
}

// list returns those entries of a directory that may be built.
func (s *source) list(dir string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.fsys, dir)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(d fs.DirEntry) bool { return !isManifest(d) })
	s.lists[dir] = entries
	s.used[dir] = Directory
	return entries, nil
}

// isManifest reports whether an entry of a directory without a kustomization has
// anything to do with what is built from it.
func isManifest(d fs.DirEntry) bool {
	name := d.Name()
	return !strings.HasPrefix(name, ".") &&
		(d.IsDir() || isYAML(name) || slices.Contains(konfig.RecognizedKustomizationFileNames(), name))
}

func isYAML(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" }
