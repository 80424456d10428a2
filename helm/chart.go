package helm

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// Chart is a chart with its subcharts, held in memory. It does not change, and
// may be rendered from any number of goroutines at once.
type Chart struct {
	chart  *chart.Chart
	limits Limits

	once   sync.Once
	digest string
}

// LoadOptions say how to load a chart. The zero value is ready to use.
type LoadOptions struct {
	// Resolver fetches the dependencies that are in a repository or a registry. If it
	// is nil they have to be in the charts directory.
	Resolver Resolver
	// Limits of the chart, and of everything that is rendered from it.
	Limits Limits
}

// Load reads the chart whose Chart.yaml is in dir, a slash-separated path in
// fsys ("." is its root), with the subcharts in its charts directory, which may
// be directories or .tgz archives. If dir is a file, it is a packed chart.
//
// Files that the chart's .helmignore names are left out. A symbolic link is
// followed when it stays inside fsys, and is an error when it does not; for links
// to be seen, fsys has to be an [fs.ReadLinkFS], as those of [os.Root.FS] and
// [os.DirFS] are.
//
// A dependency that Chart.yaml names is taken from the charts directory, as it is
// there. If it is not there, and its repository is a file:// path relative to the
// chart and inside fsys, it is taken from that; otherwise the Resolver is asked
// for it. What is not in the charts directory has the version that Chart.lock
// names, if there is one, and Chart.lock has to belong to Chart.yaml. Nothing is
// written.
//
// Errors are a [ChartError], a [LimitError], a [DependencyError], a
// [ResolveError], the context's, or what fsys returns.
func Load(ctx context.Context, fsys fs.FS, dir string, opts LoadOptions) (*Chart, error) {
	l := newLoading(fsys, opts)
	c, err := l.tree(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &Chart{chart: c, limits: l.limits}, nil
}

// LoadArchive reads a packed chart, as repositories and registries have them. It
// is [Load] but for file:// dependencies, which an archive cannot have.
func LoadArchive(ctx context.Context, archive []byte, opts LoadOptions) (*Chart, error) {
	l := newLoading(nil, opts)
	c, err := l.archive(ctx, "archive", archive)
	if err != nil {
		return nil, err
	}
	if err := l.dependencies(ctx, "", c); err != nil {
		return nil, err
	}
	return &Chart{chart: c, limits: l.limits}, nil
}

// build makes a chart of files whose names are relative to it.
func build(dir string, files []*loader.BufferedFile) (*chart.Chart, error) {
	if !slices.ContainsFunc(files, func(f *loader.BufferedFile) bool { return f.Name == "Chart.yaml" }) {
		return nil, &ChartError{Chart: dir, Err: ErrNotChart}
	}
	var c *chart.Chart
	err := guard(func() (err error) {
		c, err = loader.LoadFiles(files)
		return err
	})
	if err != nil {
		return nil, &ChartError{Chart: dir, Err: err}
	}
	if err := checkNames(c); err != nil {
		return nil, &ChartError{Chart: dir, Err: err}
	}
	sortSubcharts(c)
	return c, nil
}

// checkNames refuses names that would mean another directory; Helm lets "/" pass.
func checkNames(c *chart.Chart) error {
	if strings.ContainsAny(c.Name(), `/\`) {
		return fmt.Errorf("chart.metadata.name %q is not allowed; use letters, digits and dashes", c.Name())
	}
	for _, sub := range c.Dependencies() {
		if err := checkNames(sub); err != nil {
			return err
		}
	}
	return nil
}

// sortSubcharts gives the subcharts one order; the loader has none.
func sortSubcharts(c *chart.Chart) {
	subcharts := slices.SortedFunc(slices.Values(c.Dependencies()), func(a, b *chart.Chart) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), cmp.Compare(a.Metadata.Version, b.Metadata.Version))
	})
	c.SetDependencies(subcharts...)
	for _, sub := range subcharts {
		sortSubcharts(sub)
	}
}

// Name of the chart.
func (c *Chart) Name() string { return c.chart.Name() }

// Version of the chart, a SemVer.
func (c *Chart) Version() string { return c.chart.Metadata.Version }

// AppVersion of what the chart installs; free text, may be empty.
func (c *Chart) AppVersion() string { return c.chart.AppVersion() }

// Dependency is what a Chart.yaml asks for.
type Dependency struct {
	Name       string
	Alias      string // the name that its values and templates go by, if not Name
	Version    string // a SemVer constraint
	Repository string // where it came from; never contacted
}

// Dependencies lists what Chart.yaml asks for, in its order.
func (c *Chart) Dependencies() []Dependency {
	var list []Dependency
	for _, d := range c.chart.Metadata.Dependencies {
		list = append(list, Dependency{Name: d.Name, Alias: d.Alias, Version: d.Version, Repository: d.Repository})
	}
	return list
}

// clone copies what Helm changes while it works out which subcharts are enabled
// and what they import: the tree of charts and their dependency lists.
func clone(c *chart.Chart) *chart.Chart {
	md := *c.Metadata
	md.Dependencies = slices.Clone(md.Dependencies)
	for i, d := range md.Dependencies {
		copied := *d
		md.Dependencies[i] = &copied
	}
	out := &chart.Chart{Metadata: &md, Lock: c.Lock, Templates: c.Templates, Values: c.Values, Schema: c.Schema, Files: c.Files}
	for _, sub := range c.Dependencies() {
		out.AddDependency(clone(sub))
	}
	return out
}
