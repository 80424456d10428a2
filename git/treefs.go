package git

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// treeFS is a directory of a snapshot as a file system.
type treeFS struct {
	tree *treeStore
	base string // the directory, "." for the root
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
	path string     // in the snapshot, links resolved but for the last element
	tree *treeStore // that it is in: the snapshot's, or that of a submodule
	rel  string     // the path in this tree
}

// in returns the node of an entry of a directory of this tree.
func (s *treeStore) in(dir node, rel string, e entry) node {
	n := node{entry: e, path: join(dir.path, e.name), tree: s}
	if n.rel = n.path; dir.path != rel {
		n.rel = join(rel, e.name)
	}
	return n
}

// join joins the path of a directory, which is clean, and a name.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// lookup walks to a path. Links on the way are followed, and the last element
// too if follow is set.
func (f treeFS) lookup(op, name string, follow bool) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := f.tree.walk(path.Join(f.base, name), follow)
	if err != nil {
		return node{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// walk resolves a path from the root. It keeps the rest of the way as text and
// puts the target of a link in front of it, as a kernel does.
func (s *treeStore) walk(name string, follow bool) (node, error) {
	const mostLinks = 40
	at := []node{s.root} // the directories from the root to here
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
		next, err := here.child(element)
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
		target, err := next.target()
		if err != nil {
			return node{}, err
		}
		rest = strings.TrimSuffix(target+"/"+rest, "/")
	}
	return at[len(at)-1], nil
}

// child returns an entry of a directory.
func (n node) child(name string) (node, error) {
	in, rel, t, err := n.inside()
	if err != nil {
		return node{}, err
	}
	if t == nil {
		return node{}, fs.ErrNotExist
	}
	e, ok := t.find(name)
	child := in.in(n, rel, e)
	if !ok || !in.dirs.reaches(child.rel) {
		return node{}, fs.ErrNotExist
	}
	return child, nil
}

// inside returns the content of a directory, the tree that it is in, and where:
// of a submodule, that of another repository; nothing if it was not fetched.
func (n node) inside() (in *treeStore, rel string, t *tree, err error) {
	in, rel = n.tree, n.rel
	hash := n.hash
	if n.submodule {
		if in = n.tree.mounted[n.rel]; in == nil {
			return nil, "", nil, nil
		}
		rel, hash = ".", in.root.hash
	}
	t, err = in.treeOf(hash)
	return in, rel, t, err
}

// place returns where the content of a file is. A link is one also if it has
// the text of a pointer.
func (n node) place() (place, error) {
	if p, ok := n.tree.large[n.hash]; ok && n.mode.IsRegular() {
		return p, nil
	}
	return n.tree.place(n.hash)
}

// target reads a link that may be followed: relative, and not long.
func (n node) target() (string, error) {
	const longest = 4096
	p, err := n.place()
	if err != nil {
		return "", err
	}
	if p.size == 0 || p.size > longest {
		return "", fmt.Errorf("%w: its target is malformed", ErrLink)
	}
	raw, err := p.content()
	target := string(raw)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(target, "/"):
		return "", fmt.Errorf("%w: it leads out of the tree", ErrLink)
	case strings.ContainsRune(target, 0):
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
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	info, err := n.info(path.Base(name))
	if err != nil {
		return fail(err)
	}
	if !n.mode.IsDir() {
		p, err := n.place()
		if err != nil {
			return fail(err)
		}
		return &file{p.reader(), info}, nil
	}
	entries, err := n.list()
	if err != nil {
		return fail(err)
	}
	return &dir{info: info, path: name, entries: entries}, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.lookup("readdir", name, true)
	if err != nil {
		return nil, err
	}
	entries, err := n.list()
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
	return n.content("read", name)
}

func (n node) content(op, name string) ([]byte, error) {
	p, err := n.place()
	if err == nil {
		var raw []byte
		if raw, err = p.content(); err == nil {
			return raw, nil
		}
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: err}
}

// Stat implements [fs.StatFS]. It follows links.
func (f treeFS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat implements [fs.ReadLinkFS]: of a link, it describes the link.
func (f treeFS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f treeFS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	n, err := f.lookup(op, name, follow)
	if err != nil {
		return nil, err
	}
	info, err := n.info(path.Base(name))
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return info, nil
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
	target, err := n.content("readlink", name)
	return string(target), err
}

// Sub implements [fs.SubFS]. Links in the directory may lead out of it, to
// elsewhere in the snapshot. What it returns has ContentID and TreeHash too.
func (f treeFS) Sub(name string) (fs.FS, error) {
	n, err := f.lookup("sub", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "sub", Path: name, Err: errNotDir}
	}
	return treeFS{f.tree, n.path}, nil
}

// TreeHash returns the hash of a directory; "." is the root. Two directories of
// equal hash have equal content, of this repository or another, whatever
// commits they are in. That of a submodule is the commit that it is at. With
// [FetchOptions.Dirs] it covers also what was left out.
func (f treeFS) TreeHash(dir string) (string, error) {
	n, err := f.lookup("treehash", dir, true)
	if err != nil {
		return "", err
	}
	if !n.mode.IsDir() {
		return "", &fs.PathError{Op: "treehash", Path: dir, Err: errNotDir}
	}
	return n.hash.String(), nil
}

// ContentID returns the id of a file's content, without reading it: the hash of
// Git's blob. Two files of equal id have equal content. Links are followed. Of a
// file that was brought from large file storage it is lfs: and the hash of the
// pointer, of one that was not that of the pointer alone.
func (f treeFS) ContentID(name string) (string, error) {
	n, err := f.lookup("contentid", name, true)
	if err != nil {
		return "", err
	}
	if n.mode.IsDir() {
		return "", &fs.PathError{Op: "contentid", Path: name, Err: errors.New("is a directory")}
	}
	if _, brought := n.tree.large[n.hash]; brought && n.mode.IsRegular() {
		return "lfs:" + n.hash.String(), nil
	}
	return n.hash.String(), nil
}

func (n node) list() ([]fs.DirEntry, error) {
	if !n.mode.IsDir() {
		return nil, errNotDir
	}
	in, rel, t, err := n.inside()
	if err != nil || t == nil {
		return nil, err
	}
	list := make([]fs.DirEntry, 0, len(t.entries))
	for _, e := range t.entries {
		if child := in.in(n, rel, e); in.dirs.reaches(child.rel) {
			list = append(list, dirEntry{child})
		}
	}
	return list, nil
}

// dirEntry is a line of a directory. Its size is looked up when it is asked
// for: the file may not have arrived yet.
type dirEntry struct{ n node }

func (d dirEntry) Name() string               { return d.n.name }
func (d dirEntry) IsDir() bool                { return d.n.mode.IsDir() }
func (d dirEntry) Type() fs.FileMode          { return d.n.mode.Type() }
func (d dirEntry) Info() (fs.FileInfo, error) { return d.n.info(d.n.name) }
func (d dirEntry) String() string             { return fs.FormatDirEntry(d) }

func (n node) info(name string) (fs.FileInfo, error) {
	info := fileInfo{name: name, mode: n.mode, time: n.tree.time}
	if !n.mode.IsDir() {
		p, err := n.place()
		if err != nil {
			return nil, err
		}
		info.size = p.size
	}
	return info, nil
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
	*io.SectionReader
	info fs.FileInfo
}

// WriteTo implements [io.WriterTo], in pieces that suit a disk.
func (f *file) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{f.SectionReader}, make([]byte, min(f.Size()+1, 128<<10)))
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type dir struct {
	info    fs.FileInfo
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
