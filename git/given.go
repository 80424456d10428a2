package git

import (
	"bytes"
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pjbgf/sha1cd"
)

// fromGiven makes a base of the tree that the caller still has. If that fails, there
// is none: what is missing is fetched.
func (f *fetching) fromGiven(ctx context.Context) []base {
	commit, err := parseID(f.opts.Base.Commit)
	if err != nil || f.opts.Base.FS == nil {
		return nil
	}
	into := newSegment(&f.remote.disk)
	g := giver{
		fsys: f.opts.Base.FS, lim: f.remote.limits, buf: make([]byte, 64<<10),
		into: objectWriter{into: into, sum: sha1cd.New()},
	}
	if _, err := g.directory(ctx, ".", 0); err != nil {
		return nil
	}
	into.finish(nil)
	return []base{{commit: commit, segments: []*segment{into}}}
}

// giver makes Git objects of a file system.
type giver struct {
	fsys  fs.FS
	lim   Limits
	into  objectWriter
	buf   []byte
	files int
	bytes int64
}

// directory makes the tree of a directory, and everything in it.
func (g *giver) directory(ctx context.Context, dir string, depth int) (id, error) {
	if depth > g.lim.Depth {
		return id{}, &LimitError{"Depth", int64(g.lim.Depth)}
	}
	list, err := fs.ReadDir(g.fsys, dir)
	if err != nil {
		return id{}, err
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(treeKey(a), treeKey(b)) })
	var raw []byte
	for _, e := range list {
		if g.files++; g.files > g.lim.Files {
			return id{}, &LimitError{"Files", int64(g.lim.Files)}
		}
		mode, hash, err := g.entry(ctx, path.Join(dir, e.Name()), e, depth)
		if err != nil {
			return id{}, err
		}
		if mode != "" && !hash.isZero() {
			raw = append(append(raw, mode+" "+e.Name()+"\x00"...), hash[:]...)
		}
	}
	if len(raw) == 0 && dir != "." {
		return id{}, nil // Git has no empty directories; it may be of a submodule
	}
	return g.into.ingest(ctx, treeObject, int64(len(raw)), bytes.NewReader(raw), g.buf)
}

// treeKey is what Git sorts a directory by.
func treeKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

// entry makes the object of a file, link or directory; the mode is empty for
// what is none of them.
func (g *giver) entry(ctx context.Context, name string, e fs.DirEntry, depth int) (mode string, hash id, err error) {
	switch e.Type() {
	case fs.ModeDir:
		hash, err = g.directory(ctx, name, depth+1)
		return "40000", hash, err
	case fs.ModeSymlink:
		target, err := fs.ReadLink(g.fsys, name)
		if err != nil {
			return "", id{}, err
		}
		hash, err = g.into.ingest(ctx, blobObject, int64(len(target)), strings.NewReader(target), g.buf)
		return "120000", hash, err
	case 0:
	default:
		return "", id{}, nil
	}
	info, err := e.Info()
	if err != nil {
		return "", id{}, err
	}
	mode = "100644"
	if info.Mode()&0o111 != 0 {
		mode = "100755"
	}
	hash, err = g.file(ctx, name, info.Size())
	return mode, hash, err
}

func (g *giver) file(ctx context.Context, name string, size int64) (id, error) {
	if g.bytes += size; size > g.lim.ObjectSize || g.bytes > g.lim.Inflated {
		return id{}, &LimitError{"Inflated", g.lim.Inflated}
	}
	file, err := g.fsys.Open(name)
	if err != nil {
		return id{}, err
	}
	defer file.Close()
	return g.into.ingest(ctx, blobObject, size, file, g.buf)
}
