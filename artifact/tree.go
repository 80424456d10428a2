package artifact

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/gitopskit/gitopskit/internal/links"
)

// tree is a file system in memory, but for what was spilled. It does not change
// once it is finished.
type tree struct {
	nodes map[string]*node
	spill *spill // nil if there is none
}

// closingTree is a tree that holds a file open.
type closingTree struct{ *tree }

// Close gives the spilled content back. Files that are open fail to be read.
func (t closingTree) Close() error { return t.spill.close() }

// node is a file, a directory or a link.
type node struct {
	path    string
	mode    fs.FileMode
	size    int64
	data    []byte        // of a file; the target of a link
	spilled io.ReaderAt   // of a file whose data is elsewhere
	entries []fs.DirEntry // of a directory, by name
}

func newTree() *tree {
	return &tree{nodes: map[string]*node{".": {path: ".", mode: modeDir}}}
}

// mkdir returns the directory of that name, which is made if it is not there.
func (t *tree) mkdir(name string) *node {
	if n := t.nodes[name]; n != nil {
		return n
	}
	n := &node{path: name, mode: modeDir}
	t.add(n)
	return n
}

func (t *tree) add(n *node) {
	parent := t.mkdir(path.Dir(n.path))
	parent.entries = append(parent.entries, fs.FileInfoToDirEntry(n.info(n.path)))
	t.nodes[n.path] = n
}

func (t *tree) finish() error {
	for _, n := range t.nodes {
		slices.SortFunc(n.entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return t.spill.flush()
}

// find returns the node of a name; follow says whether a link at its end is
// followed. Links before the end always are.
func (t *tree) find(op, name string, follow bool) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := t.nodes[name]
	if n == nil || n.mode == modeLink && follow {
		var err error
		if n, err = t.resolve(name, follow); err != nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return n, nil
}

func (t *tree) resolve(name string, follow bool) (*node, error) {
	last := ""
	if !follow {
		name, last = path.Split(name)
	}
	real, err := links.NewResolver(t.lookup).Resolve(name)
	if err != nil {
		return nil, err
	}
	if n := t.nodes[path.Join(real, last)]; n != nil {
		return n, nil
	}
	return nil, fs.ErrNotExist
}

func (t *tree) lookup(name string) (string, bool, error) {
	n := t.nodes[name]
	switch {
	case n == nil:
		return "", false, fs.ErrNotExist
	case n.mode == modeLink:
		return string(n.data), true, nil
	}
	return "", false, nil
}

// errIsDir and errNotDir are what a disk would answer.
var (
	errIsDir  = errors.New("is a directory")
	errNotDir = errors.New("not a directory")
)

// Open implements [fs.FS]. Links are followed.
func (t *tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return &openDir{info: n.info(name)}, nil
	}
	return &openFile{info: n.info(name), content: n.content()}, nil
}

// Stat implements [fs.StatFS]. Links are followed.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return n.info(name), nil
}

// Lstat implements [fs.ReadLinkFS].
func (t *tree) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return n.info(name), nil
}

// ReadLink implements [fs.ReadLinkFS].
func (t *tree) ReadLink(name string) (string, error) {
	n, err := t.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode != modeLink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(n.data), nil
}

// ReadFile implements [fs.ReadFileFS]. The caller may keep and change the bytes.
func (t *tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	if n.spilled == nil {
		return bytes.Clone(n.data), nil
	}
	data := make([]byte, n.size)
	if _, err := n.spilled.ReadAt(data, 0); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

// ReadDir implements [fs.ReadDirFS].
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	return slices.Clone(n.entries), nil
}

// info describes a node under the name that it was asked for.
type info struct {
	*node
	name string
}

func (n *node) info(name string) info { return info{n, path.Base(name)} }

func (i info) Name() string       { return i.name }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) Sys() any           { return nil }
func (i info) Size() int64        { return i.size }

// content is what files can do beside what they must.
type content interface {
	io.ReadSeeker
	io.ReaderAt
}

func (n *node) content() content {
	if n.spilled != nil {
		return io.NewSectionReader(n.spilled, 0, n.size)
	}
	return bytes.NewReader(n.data)
}

type openFile struct {
	info info
	content
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info info
	read int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.path, Err: errIsDir}
}

// ReadDir implements [fs.ReadDirFile].
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	left := d.info.entries[d.read:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	d.read += len(left)
	return slices.Clone(left), nil
}
