package helm

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/klauspost/compress/gzip"
	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Strategy says what a packed chart's version follows.
type Strategy string

const (
	// ChartVersion keeps the version of Chart.yaml: who wants a new package changes
	// it. It is the default.
	ChartVersion Strategy = "ChartVersion"
	// Revision adds the revision of the source to the version, so that each has its
	// own package.
	Revision Strategy = "Revision"
)

// PackOptions say how to pack a chart. The zero value packs it as it is.
type PackOptions struct {
	Strategy Strategy
	// Revision of the source, such as main@sha1:<hex>, for the strategy Revision. The
	// first twelve digits of its hash become build metadata of the version.
	Revision string
	// ValuesFiles are merged, in order, and take the place of the chart's
	// values.yaml. They are paths relative to the chart, and inside of it.
	ValuesFiles []string
	// IgnoreMissingValuesFiles leaves out those that are not there. If none is, the
	// chart keeps its values.yaml.
	IgnoreMissingValuesFiles bool
	// Generation of what names the values files. If it is not zero and there are
	// values files, it becomes build metadata of the version, so that other files
	// make another version.
	Generation int64
	// Previous is the version of the last package, if there is one. If this one would
	// have it too, it is not made.
	Previous string
	// Resolver and Limits are those of [LoadOptions].
	Resolver Resolver
	Limits   Limits
}

// Package is a packed chart.
type Package struct {
	Name    string
	Version string // with build metadata
	// Unchanged says that Version is the previous one. There is no archive then.
	Unchanged bool
	// Archive is a gzipped tar archive, the same bytes for the same chart.
	Archive []byte
	// Digest of the archive, sha256:<hex>.
	Digest string
	// ValuesFiles are those that were merged.
	ValuesFiles []string
}

// Pack makes a package of the chart at dir, as [Load] reads it, with what it
// depends on. Nothing is written to the tree.
//
// Errors are those of Load.
func Pack(ctx context.Context, fsys fs.FS, dir string, opts PackOptions) (*Package, error) {
	p := newPacking(fsys, opts)
	r, root, err := newReader(fsys, dir, p.limits, p.used)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	md, err := p.chartFile(r, root)
	if err != nil {
		return nil, err
	}
	out, err := p.version(dir, md)
	if err != nil || out.Unchanged {
		return out, err
	}
	c, err := p.tree(ctx, dir)
	if err != nil {
		return nil, err
	}
	return p.finish(c, out, func(name string) ([]byte, error) { return p.valuesFile(r, root, name) })
}

// PackArchive makes a package of one that there is already, such as one from a
// repository, with other values. It is [Pack] but for file:// dependencies.
func PackArchive(ctx context.Context, archive []byte, opts PackOptions) (*Package, error) {
	p := newPacking(nil, opts)
	c, err := p.archive(ctx, "archive", archive)
	if err != nil {
		return nil, err
	}
	out, err := p.version(c.Name(), c.Metadata)
	if err != nil || out.Unchanged {
		return out, err
	}
	if err := p.dependencies(ctx, "", c); err != nil {
		return nil, err
	}
	return p.finish(c, out, func(name string) ([]byte, error) {
		for _, f := range c.Raw {
			if f.Name == name {
				return f.Data, nil
			}
		}
		return nil, fs.ErrNotExist
	})
}

func newPacking(fsys fs.FS, opts PackOptions) *packing {
	return &packing{loading: newLoading(fsys, LoadOptions{Resolver: opts.Resolver, Limits: opts.Limits}), opts: opts}
}

type packing struct {
	*loading
	opts PackOptions
}

// finish packs a chart whose version is known.
func (p *packing) finish(c *chart.Chart, out *Package, file func(string) ([]byte, error)) (*Package, error) {
	values, err := p.values(c.Name(), out, file)
	if err != nil {
		return nil, err
	}
	if out.Archive, err = pack(c, out.Version, values); err != nil {
		return nil, &ChartError{Chart: c.Name(), Err: err}
	}
	out.Digest = lockDigest(out.Archive)
	return out, nil
}

// chartFile reads no more than Chart.yaml.
func (p *packing) chartFile(r *reader, root string) (*chart.Metadata, error) {
	const file = "Chart.yaml"
	real, err := r.resolve(path.Join(root, file))
	var data []byte
	if err == nil {
		data, err = r.read(real, file, "FileBytes", p.limits.FileBytes)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, r.fault("", ErrNotChart)
	case err != nil:
		return nil, err
	}
	md := &chart.Metadata{}
	if err := guard(func() error { return yaml.Unmarshal(data, md) }); err != nil {
		return nil, r.fault(file, errors.New("it cannot be read as YAML"))
	}
	return md, nil
}

// version finds out which version the package has, and whether there is one
// already.
func (p *packing) version(dir string, md *chart.Metadata) (*Package, error) {
	fault := func(err error) error { return &ChartError{Chart: dir, File: "Chart.yaml", Err: err} }
	out := &Package{Name: clip.Text(md.Name, 200), Version: md.Version}
	version, err := semver.NewVersion(md.Version)
	if err != nil {
		return nil, fault(fmt.Errorf("its version %q is not a SemVer; write it as 1.2.3", clip.Quote(md.Version, 100)))
	}
	about, err := p.metadata(dir)
	if err != nil {
		return nil, err
	}
	if about != "" {
		if own := version.Metadata(); own != "" {
			about = own + "." + about
		}
		next, err := version.SetMetadata(about)
		if err != nil {
			return nil, fault(fmt.Errorf("its version cannot have the build metadata %q", clip.Quote(about, 100)))
		}
		out.Version = next.String()
	}
	out.Unchanged = out.Version == p.opts.Previous
	return out, nil
}

// metadata is what the version tells of its source.
func (p *packing) metadata(dir string) (string, error) {
	var parts []string
	switch p.opts.Strategy {
	case "", ChartVersion:
	case Revision:
		hash, err := shortHash(dir, p.opts.Revision)
		if err != nil {
			return "", err
		}
		parts = append(parts, hash)
	default:
		return "", &ChartError{Chart: dir, Err: fmt.Errorf("there is no strategy %q; use %s or %s", p.opts.Strategy, ChartVersion, Revision)}
	}
	if len(p.opts.ValuesFiles) > 0 && p.opts.Generation != 0 {
		parts = append(parts, strconv.FormatInt(p.opts.Generation, 10))
	}
	return strings.Join(parts, "."), nil
}

// shortHash returns the first digits of a revision's hash.
func shortHash(dir, revision string) (string, error) {
	const digits = 12
	hash := strings.ToLower(revision[strings.LastIndexAny(revision, ":@/")+1:])
	if len(hash) < digits || strings.Trim(hash, "0123456789abcdef") != "" {
		return "", &ChartError{Chart: dir, Err: fmt.Errorf("PackOptions.Revision %q ends with no hash; give one like main@sha1:<hex>", clip.Quote(revision, 200))}
	}
	return hash[:digits], nil
}

// values merges the values files; nil if the chart keeps its own.
func (p *packing) values(chart string, out *Package, file func(string) ([]byte, error)) ([]byte, error) {
	merged := map[string]any{}
	for _, name := range p.opts.ValuesFiles {
		if !fs.ValidPath(name) || strings.ContainsAny(name, `\:`) {
			return nil, &ChartError{Chart: chart, File: name, Err: errOutside}
		}
		data, err := file(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && p.opts.IgnoreMissingValuesFiles:
			continue
		case errors.Is(err, fs.ErrNotExist):
			return nil, &ChartError{Chart: chart, File: name, Err: fs.ErrNotExist}
		case err != nil:
			return nil, err
		}
		values, err := readValues(data)
		if err != nil {
			return nil, &ChartError{Chart: chart, File: name, Err: err}
		}
		merged = mergeValues(merged, values)
		out.ValuesFiles = append(out.ValuesFiles, name)
	}
	if len(out.ValuesFiles) == 0 {
		return nil, nil
	}
	return yaml.Marshal(merged)
}

func (p *packing) valuesFile(r *reader, root, name string) ([]byte, error) {
	real, err := r.resolve(path.Join(root, name))
	if err != nil {
		return nil, err
	}
	if root != "." && !strings.HasPrefix(real, root+"/") {
		return nil, r.fault(name, errOutside)
	}
	return r.read(real, name, "FileBytes", p.limits.FileBytes)
}

var errOutside = errors.New("a values file is inside the chart; give its path there, without .. and links out of it")

// pack packs a chart with another version and other values, in one order and
// without times.
func pack(c *chart.Chart, version string, values []byte) ([]byte, error) {
	var out bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&out, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zipped)
	changed := map[string][]byte{}
	if values != nil {
		changed["values.yaml"] = values
	}
	if version != c.Metadata.Version {
		if changed["Chart.yaml"], err = withVersion(c.Metadata, version); err != nil {
			return nil, err
		}
	}
	if err := packChart(w, c.Name(), c, changed); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// withVersion is Chart.yaml with another version. In charts of Helm 2 the
// dependencies are in a file of their own.
func withVersion(md *chart.Metadata, version string) ([]byte, error) {
	changed := *md
	changed.Version = version
	if changed.APIVersion == chart.APIVersionV1 {
		changed.Dependencies = nil
	}
	return yaml.Marshal(&changed)
}

// packChart writes a chart and then its subcharts. Chart.yaml comes first, so that
// readers find it soon.
func packChart(w *tar.Writer, dir string, c *chart.Chart, changed map[string][]byte) error {
	files := map[string][]byte{}
	for _, f := range c.Raw {
		if !strings.HasPrefix(f.Name, "charts/") {
			files[f.Name] = f.Data
		}
	}
	for name, data := range changed {
		files[name] = data
	}
	first := slices.DeleteFunc(sortedNames(files), func(name string) bool { return name != "Chart.yaml" })
	others := slices.DeleteFunc(sortedNames(files), func(name string) bool { return name == "Chart.yaml" })
	for _, name := range append(first, others...) {
		if err := packFile(w, path.Join(dir, name), files[name]); err != nil {
			return err
		}
	}
	taken := map[string]bool{}
	for _, sub := range c.Dependencies() {
		name := sub.Name()
		if taken[name] {
			name += "-" + sub.Metadata.Version
		}
		if taken[name] {
			return fmt.Errorf("charts/ holds %s %s twice; remove one", sub.Name(), sub.Metadata.Version)
		}
		taken[name] = true
		if err := packChart(w, path.Join(dir, "charts", name), sub, nil); err != nil {
			return err
		}
	}
	return nil
}

func packFile(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
