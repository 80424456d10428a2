package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/ignore"

	"github.com/gitopskit/gitopskit/internal/links"
)

// reader collects a chart's files within the limits.
type reader struct {
	fsys   fs.FS
	dir    string // where the chart is, for messages
	limits Limits
	links  *links.Resolver
	ignore *ignore.Rules

	files []*loader.BufferedFile
	used  *usage
}

// usage is what a chart has cost so far, those that it depends on included.
type usage struct {
	files, charts int
	bytes         int64
}

// readTree reads all files of the chart at dir, which is a directory or an archive;
// archives in charts/ are unpacked. Names are relative to the chart, in order.
func readTree(ctx context.Context, fsys fs.FS, dir string, limits Limits, used *usage) ([]*loader.BufferedFile, error) {
	r, root, err := newReader(fsys, dir, limits, used)
	if err != nil {
		return nil, err
	}
	if info, err := fs.Stat(fsys, root); err == nil && info.Mode().IsRegular() {
		data, err := r.read(root, "", "Bytes", limits.Bytes)
		if err != nil {
			return nil, err
		}
		err = r.unpack(ctx, "", "", data, 1)
		return r.files, err
	}
	if r.ignore, err = r.readIgnore(root); err != nil {
		return nil, err
	}
	if err := r.walk(ctx, root, "", nil); err != nil {
		return nil, err
	}
	return r.files, nil
}

// newReader returns a reader and where dir is without links.
func newReader(fsys fs.FS, dir string, limits Limits, used *usage) (*reader, string, error) {
	r := &reader{fsys: fsys, dir: dir, limits: limits, used: used}
	r.links = links.NewResolver(r.lookup)
	if !fs.ValidPath(dir) {
		return nil, "", r.fault("", fmt.Errorf("%q is not a path in the tree; write it without .. and without a leading slash", dir))
	}
	root, err := r.resolve(dir)
	return r, root, err
}

// readArchive is readTree for a packed chart in memory.
func readArchive(ctx context.Context, name string, archive []byte, limits Limits, used *usage) ([]*loader.BufferedFile, error) {
	r := &reader{dir: name, limits: limits, used: used}
	if int64(len(archive)) > limits.Bytes {
		return nil, r.limit("", "Bytes", limits.Bytes)
	}
	err := r.unpack(ctx, "", "", archive, 1)
	return r.files, err
}

func (r *reader) fault(file string, err error) error {
	return &ChartError{Chart: r.dir, File: file, Err: err}
}

func (r *reader) limit(file, name string, value any) error {
	return &LimitError{Chart: r.dir, File: file, Limit: name, Max: value}
}

// readIgnore reads the chart's .helmignore; Helm looks for it at the top only.
func (r *reader) readIgnore(root string) (*ignore.Rules, error) {
	rules := ignore.Empty()
	var data []byte
	real, err := r.resolve(path.Join(root, ignore.HelmIgnore))
	if err == nil {
		data, err = r.read(real, ignore.HelmIgnore, "FileBytes", r.limits.FileBytes)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return nil, r.fault(ignore.HelmIgnore, err)
		}
	}
	rules.AddDefaults()
	return rules, nil
}

// walk collects the files below real, which the chart knows as name. Parents are
// the real directories on the way there, so that a link to one of them ends.
func (r *reader) walk(ctx context.Context, real, name string, parents []string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if len(parents) > r.limits.Depth {
		return r.limit(name, "Depth", r.limits.Depth)
	}
	if slices.Contains(parents, real) {
		return r.fault(name, errors.New("a symbolic link leads back to a directory that holds it; remove the link"))
	}
	entries, err := fs.ReadDir(r.fsys, real)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := r.visit(ctx, path.Join(real, entry.Name()), path.Join(name, entry.Name()), append(parents[:len(parents):len(parents)], real)); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) visit(ctx context.Context, real, name string, parents []string) error {
	real, err := r.resolve(real)
	if err != nil {
		return err
	}
	info, err := fs.Stat(r.fsys, real)
	if err != nil {
		return err
	}
	switch {
	case r.ignore.Ignore(name, info):
		return nil
	case info.IsDir():
		return r.walk(ctx, real, name, parents)
	case !info.Mode().IsRegular():
		return r.fault(name, fmt.Errorf("it is neither a file nor a directory (%s); remove it", info.Mode().Type()))
	}
	data, err := r.read(real, name, "FileBytes", r.limits.FileBytes)
	if err != nil {
		return err
	}
	if isSubchartArchive(name) {
		return r.unpack(ctx, name, unpacked(name), data, 1)
	}
	return r.add(name, data)
}

// add takes a file into the chart.
func (r *reader) add(name string, data []byte) error {
	r.used.bytes += int64(len(data))
	if r.used.bytes > r.limits.Bytes {
		return r.limit(name, "Bytes", r.limits.Bytes)
	}
	if r.used.files++; r.used.files > r.limits.Files {
		return r.limit(name, "Files", r.limits.Files)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark
	r.files = append(r.files, &loader.BufferedFile{Name: name, Data: data})
	return nil
}

// read reads a file, at its place without links, as far as a limit goes.
func (r *reader) read(real, name, limit string, most int64) ([]byte, error) {
	f, err := r.fsys.Open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, r.limit(name, limit, most)
	}
	return data, nil
}

// resolve follows the symbolic links in a path by itself, because not every
// file system keeps them inside the tree.
func (r *reader) resolve(name string) (string, error) {
	real, err := r.links.Resolve(name)
	switch {
	case errors.Is(err, links.ErrAbsolute), errors.Is(err, links.ErrEscapes):
		return "", r.fault(name, errors.New("a symbolic link points out of the tree; make it relative and keep it inside"))
	case errors.Is(err, links.ErrLoop):
		return "", r.fault(name, errors.New("too many symbolic links; remove the loop"))
	}
	return real, err
}

// lookup is what links are followed with.
func (r *reader) lookup(name string) (string, bool, error) {
	info, err := fs.Lstat(r.fsys, name)
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return "", false, err
	}
	target, err := fs.ReadLink(r.fsys, name)
	if strings.Contains(target, `\`) { // a separator, to some systems
		return "", false, links.ErrEscapes
	}
	return target, true, err
}
