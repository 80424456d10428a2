package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// treeFS is a directory of a snapshot as a file system.
type treeFS struct {
	store *treeStore
	root  id     // of the whole tree, which links stay inside
	base  string // the directory, "." for the root
}

var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
	fs.SubFS
} = treeFS{}

var errNotDir = errors.New("not a directory")

// node is what a path leads to. The root has no name in a tree.
type node struct {
	entry
	path string // in the whole tree, links resolved but for the last element
}

// lookup walks to a path. Links on the way are followed, and the last element
// too if follow is set.
func (f treeFS) lookup(op, name string, follow bool) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := f.store.walk(f.root, path.Join(f.base, name), follow)
	if err != nil {
		return node{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// walk resolves a path from the root. It keeps the rest of the way as text and
// puts the target of a link in front of it, as a kernel does.
func (s *treeStore) walk(root id, name string, follow bool) (node, error) {
	const mostLinks = 40
	top := node{entry: entry{name: ".", mode: fs.ModeDir | 0o755, hash: root}, path: "."}
	at := []node{top} // the directories from the root to here
	rest := name
	for links := 0; rest != ""; {
		var element string
		element, rest, _ = strings.Cut(rest, "/")
		here := at[len(at)-1]
		if !here.mode.IsDir() {
			return node{}, errNotDir
		}
		if element == "." || element == "" {
			continue
		}
		if element == ".." {
			if len(at) == 1 {
				return node{}, fmt.Errorf("%w: it leads out of the tree", ErrLink)
			}
			at = at[:len(at)-1]
			continue
		}
		next, err := s.child(here, element)
		if err != nil {
			return node{}, err
		}
		if next.mode.Type() != fs.ModeSymlink || rest == "" && !follow {
			at = append(at, next)
			continue
		}
		if links++; links > mostLinks {
			return node{}, fmt.Errorf("%w: more than %d links on the way", ErrLink, mostLinks)
		}
		target, err := s.target(next.hash)
		if err != nil {
			return node{}, err
		}
		rest = strings.TrimSuffix(target+"/"+rest, "/")
	}
	return at[len(at)-1], nil
}

func (s *treeStore) child(dir node, name string) (node, error) {
	if dir.submodule {
		return node{}, fs.ErrNotExist
	}
	t, err := s.loaded(dir.hash)
	if err != nil {
		return node{}, err
	}
	e, ok := t.find(name)
	if !ok {
		return node{}, fs.ErrNotExist
	}
	return node{e, path.Join(dir.path, name)}, nil
}

// loaded returns a tree that load has found good.
func (s *treeStore) loaded(hash id) (*tree, error) {
	t := s.trees[hash]
	if t == nil {
		return nil, fs.ErrNotExist
	}
	return t, nil
}

// target reads a link that may be followed: relative, and not long.
func (s *treeStore) target(hash id) (string, error) {
	const longest = 4096
	target := string(s.objects[hash].raw)
	switch {
	case strings.HasPrefix(target, "/"):
		return "", fmt.Errorf("%w: it leads out of the tree", ErrLink)
	case target == "" || len(target) > longest || strings.ContainsRune(target, 0):
		return "", fmt.Errorf("%w: its target is malformed", ErrLink)
	}
	return target, nil
}

// Open implements [fs.FS]. What it returns for a file is also an [io.Seeker],
// [io.ReaderAt] and [io.WriterTo].
func (f treeFS) Open(name string) (fs.File, error) {
	n, err := f.lookup("open", name, true)
	if err != nil {
		return nil, err
	}
	info := f.store.info(path.Base(name), n.entry)
	if !n.mode.IsDir() {
		return &file{bytes.NewReader(f.store.objects[n.hash].raw), info}, nil
	}
	entries, err := f.store.list(n)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &dir{info: info, path: name, entries: entries}, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.lookup("readdir", name, true)
	if err != nil {
		return nil, err
	}
	entries, err := f.store.list(n)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return entries, nil
}

// ReadFile implements [fs.ReadFileFS].
func (f treeFS) ReadFile(name string) ([]byte, error) {
	n, err := f.lookup("read", name, true)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	return slices.Clone(f.store.objects[n.hash].raw), nil
}

// Stat implements [fs.StatFS]. It follows links.
func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.lookup("stat", name, true)
	if err != nil {
		return nil, err
	}
	return f.store.info(path.Base(name), n.entry), nil
}

// Lstat implements [fs.ReadLinkFS]: of a link, it describes the link.
func (f treeFS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.lookup("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return f.store.info(path.Base(name), n.entry), nil
}

// ReadLink implements [fs.ReadLinkFS]. The target is what the repository holds,
// wherever it may lead.
func (f treeFS) ReadLink(name string) (string, error) {
	n, err := f.lookup("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(f.store.objects[n.hash].raw), nil
}

// Sub implements [fs.SubFS]. Links in the directory may lead out of it, to
// elsewhere in the snapshot.
func (f treeFS) Sub(name string) (fs.FS, error) {
	n, err := f.lookup("sub", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "sub", Path: name, Err: errNotDir}
	}
	return treeFS{f.store, f.root, n.path}, nil
}

func (s *treeStore) list(n node) ([]fs.DirEntry, error) {
	if !n.mode.IsDir() {
		return nil, errNotDir
	}
	if n.submodule {
		return nil, nil
	}
	t, err := s.loaded(n.hash)
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, len(t.entries))
	for i, e := range t.entries {
		list[i] = fs.FileInfoToDirEntry(s.info(e.name, e))
	}
	return list, nil
}

func (s *treeStore) info(name string, e entry) fileInfo {
	size := 0
	if !e.mode.IsDir() {
		size = len(s.objects[e.hash].raw)
	}
	return fileInfo{name, e.mode, int64(size), s.time}
}

type fileInfo struct {
	name string
	mode fs.FileMode
	size int64
	time time.Time
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return i.time }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

type file struct {
	*bytes.Reader
	info fileInfo
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type dir struct {
	info    fileInfo
	path    string
	entries []fs.DirEntry // those that were not read yet
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errors.New("is a directory")}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	list := d.entries[:n:n]
	d.entries = d.entries[n:]
	return list, nil
}
