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
	p := &packing{loading: newLoading(fsys, LoadOptions{Resolver: opts.Resolver, Limits: opts.Limits}), opts: opts}
	r, root, err := newReader(fsys, dir, p.limits, p.used)
	if err != nil {
		return nil, err
	}
	version, err := p.version(ctx, r, root)
	if err != nil {
		return nil, err
	}
	if version != "" && version == opts.Previous {
		return &Package{Name: p.name, Version: version, Unchanged: true}, nil
	}
	c, err := p.tree(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := &Package{Name: c.Name(), Version: version}
	values, err := p.values(r, root, out)
	if err != nil {
		return nil, err
	}
	if out.Archive, err = pack(c, version, values); err != nil {
		return nil, &ChartError{Chart: c.Name(), Err: err}
	}
	out.Digest = lockDigest(out.Archive)
	return out, nil
}

type packing struct {
	*loading
	opts PackOptions
	name string
}

// version reads no more than Chart.yaml to find out which version the package has.
func (p *packing) version(ctx context.Context, r *reader, root string) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	const file = "Chart.yaml"
	real, err := r.resolve(path.Join(root, file))
	var data []byte
	if err == nil {
		data, err = r.read(real, file, "FileBytes", p.limits.FileBytes)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", r.fault("", ErrNotChart)
	case err != nil:
		return "", err
	}
	var md chart.Metadata
	if err := guard(func() error { return yaml.Unmarshal(data, &md) }); err != nil {
		return "", r.fault(file, errors.New("it cannot be read as YAML"))
	}
	version, err := semver.NewVersion(md.Version)
	if err != nil {
		return "", r.fault(file, fmt.Errorf("its version %q is not a SemVer; write it as 1.2.3", clip.Quote(md.Version, 100)))
	}
	p.name = clip.Text(md.Name, 200)
	about, err := p.metadata()
	if err != nil || about == "" {
		return md.Version, err
	}
	if own := version.Metadata(); own != "" {
		about = own + "." + about
	}
	next, err := version.SetMetadata(about)
	if err != nil {
		return "", r.fault(file, fmt.Errorf("its version cannot have the build metadata %q", clip.Quote(about, 100)))
	}
	return next.String(), nil
}

// metadata is what the version tells of its source.
func (p *packing) metadata() (string, error) {
	var parts []string
	switch p.opts.Strategy {
	case "", ChartVersion:
	case Revision:
		hash, err := shortHash(p.opts.Revision)
		if err != nil {
			return "", err
		}
		parts = append(parts, hash)
	default:
		return "", &ChartError{Chart: p.name, Err: fmt.Errorf("there is no strategy %q; use %s or %s", p.opts.Strategy, ChartVersion, Revision)}
	}
	if len(p.opts.ValuesFiles) > 0 && p.opts.Generation != 0 {
		parts = append(parts, strconv.FormatInt(p.opts.Generation, 10))
	}
	return strings.Join(parts, "."), nil
}

// shortHash returns the first digits of a revision's hash.
func shortHash(revision string) (string, error) {
	const digits = 12
	hash := strings.ToLower(revision[strings.LastIndexAny(revision, ":@/")+1:])
	if len(hash) < digits || strings.Trim(hash, "0123456789abcdef") != "" {
		return "", &ChartError{Chart: "package", Err: fmt.Errorf("PackOptions.Revision %q ends with no hash; give one like main@sha1:<hex>", clip.Quote(revision, 200))}
	}
	return hash[:digits], nil
}

// values merges the values files; nil if the chart keeps its own.
func (p *packing) values(r *reader, root string, out *Package) ([]byte, error) {
	merged := map[string]any{}
	for _, name := range p.opts.ValuesFiles {
		data, err := p.valuesFile(r, root, name)
		if errors.Is(err, fs.ErrNotExist) && p.opts.IgnoreMissingValuesFiles {
			continue
		} else if err != nil {
			return nil, err
		}
		values, err := readValues(data)
		if err != nil {
			return nil, r.fault(name, err)
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
	outside := r.fault(name, errors.New("a values file is inside the chart; give its path there, without .. and links out of it"))
	if !fs.ValidPath(name) || strings.ContainsAny(name, `\:`) {
		return nil, outside
	}
	real, err := r.resolve(path.Join(root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &ChartError{Chart: r.dir, File: name, Err: fs.ErrNotExist}
	} else if err != nil {
		return nil, err
	}
	if root != "." && !strings.HasPrefix(real, root+"/") {
		return nil, outside
	}
	data, err := r.read(real, name, "FileBytes", p.limits.FileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &ChartError{Chart: r.dir, File: name, Err: fs.ErrNotExist}
	}
	return data, err
}

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
