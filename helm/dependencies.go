package helm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Resolver fetches charts that others depend on. Who implements it decides what
// repositories and registries may be asked, and with which credentials.
type Resolver interface {
	// Resolve returns the packed chart of a dependency. Version is one version if a
	// Chart.lock names it, and the range of Chart.yaml otherwise.
	Resolve(ctx context.Context, d Dependency) ([]byte, error)
}

// ResolverFunc is a [Resolver] that is a function.
type ResolverFunc func(ctx context.Context, d Dependency) ([]byte, error)

// Resolve calls the function.
func (f ResolverFunc) Resolve(ctx context.Context, d Dependency) ([]byte, error) { return f(ctx, d) }

// loading is one chart on its way into memory, with what it depends on.
type loading struct {
	fsys     fs.FS // nil for an archive
	resolver Resolver
	limits   Limits
	used     *usage
	within   []string // directories of the charts that are waiting for this one
}

func newLoading(fsys fs.FS, opts LoadOptions) *loading {
	return &loading{fsys: fsys, resolver: opts.Resolver, limits: opts.Limits.withDefaults(), used: &usage{}}
}

func (l *loading) tree(ctx context.Context, dir string) (*chart.Chart, error) {
	files, err := readTree(ctx, l.fsys, dir, l.limits, l.used)
	if err != nil {
		return nil, err
	}
	c, err := build(dir, files)
	if err != nil {
		return nil, err
	}
	l.within = append(l.within, dir)
	defer func() { l.within = l.within[:len(l.within)-1] }()
	return c, l.dependencies(ctx, dir, c)
}

func (l *loading) archive(ctx context.Context, name string, data []byte) (*chart.Chart, error) {
	files, err := readArchive(ctx, name, data, l.limits, l.used)
	if err != nil {
		return nil, err
	}
	return build(name, files)
}

// dependencies gets what the chart at dir depends on and does not have.
func (l *loading) dependencies(ctx context.Context, dir string, c *chart.Chart) error {
	has := func(name string) bool {
		return slices.ContainsFunc(c.Dependencies(), func(sub *chart.Chart) bool { return sub.Name() == name })
	}
	vendored := map[string]bool{}
	var missing []int
	for i, d := range c.Metadata.Dependencies {
		if vendored[d.Name] = has(d.Name); !vendored[d.Name] {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := l.refuse(c, missing); err != nil {
		return err
	}
	locked, err := lockedVersions(c)
	if err != nil {
		return &ChartError{Chart: c.Name(), File: "Chart.lock", Err: err}
	}
	for _, i := range missing {
		d := dependency(c.Metadata.Dependencies[i])
		if locked != nil {
			d.Version = locked[i]
		}
		if err := l.add(ctx, dir, c, d); err != nil {
			return err
		}
	}
	sortSubcharts(c)
	return nil
}

// refuse names all dependencies that nothing can be asked for, before anything
// else is.
func (l *loading) refuse(c *chart.Chart, missing []int) error {
	var unknown []Dependency
	for _, i := range missing {
		d := dependency(c.Metadata.Dependencies[i])
		local := strings.HasPrefix(d.Repository, "file:")
		if d.Repository == "" || local && l.fsys == nil || !local && l.resolver == nil {
			unknown = append(unknown, d)
		}
	}
	if len(unknown) > 0 {
		return &DependencyError{Chart: c.Name(), Missing: unknown}
	}
	return nil
}

func (l *loading) add(ctx context.Context, dir string, c *chart.Chart, d Dependency) error {
	fault := func(err error) error { return &ResolveError{Chart: c.Name(), Dependency: d, Err: err} }
	wanted, err := semver.NewConstraint(cmp.Or(d.Version, "*"))
	if err != nil {
		return fault(final("its version is not a SemVer range"))
	}
	fits := func(sub *chart.Chart) bool {
		version, err := semver.NewVersion(sub.Metadata.Version)
		return err == nil && sub.Name() == d.Name && wanted.Check(version)
	}
	if slices.ContainsFunc(c.Dependencies(), fits) {
		return nil // it was added for another alias
	}
	if l.used.charts++; l.used.charts > l.limits.Dependencies {
		return &LimitError{Chart: c.Name(), Limit: "Dependencies", Max: l.limits.Dependencies}
	}
	sub, err := l.get(ctx, dir, d)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fault(err)
	case !fits(sub):
		return fault(final(fmt.Sprintf("%s has %s %s, which is not that; correct the version, or run helm dependency update",
			clip.Quote(d.Repository, 200), sub.Name(), sub.Metadata.Version)))
	}
	c.AddDependency(sub)
	return nil
}

func (l *loading) get(ctx context.Context, dir string, d Dependency) (*chart.Chart, error) {
	if strings.HasPrefix(d.Repository, "file:") {
		at, err := localPath(dir, d.Repository)
		if err != nil {
			return nil, err
		}
		if slices.Contains(l.within, at) {
			return nil, final("it depends on the chart that depends on it; remove one of the dependencies")
		}
		sub, err := l.tree(ctx, at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, final("the tree has no chart at " + clip.Quote(at, 200) + "; correct the repository, or add the chart")
		}
		return sub, err
	}
	data, err := l.resolver.Resolve(ctx, d)
	if err != nil {
		return nil, err
	}
	return l.archive(ctx, d.Name, data)
}

// localPath is where a file:// repository of a chart at dir is in the tree.
func localPath(dir, repository string) (string, error) {
	rel, ok := strings.CutPrefix(repository, "file://")
	switch at := path.Join(dir, rel); {
	case !ok, rel == "", strings.HasPrefix(rel, "/"), strings.ContainsAny(rel, "\\\x00"):
		return "", final("its repository is not a path relative to the chart; write it as file://../NAME")
	case !fs.ValidPath(at):
		return "", final("its repository leads out of the tree; move the chart into it")
	default:
		return at, nil
	}
}

// final is an error that another attempt does not cure.
type final string

func (f final) Error() string { return string(f) }

// Terminal reports that trying again does not help.
func (f final) Terminal() bool { return true }

func dependency(d *chart.Dependency) Dependency {
	return Dependency{Name: d.Name, Alias: d.Alias, Version: d.Version, Repository: d.Repository}
}

// lockedVersions are the versions that Chart.lock names for the dependencies of
// Chart.yaml, in its order; nil if there is no lock. Only the versions are taken of
// it: where a chart comes from is for Chart.yaml to say.
func lockedVersions(c *chart.Chart) ([]string, error) {
	if c.Lock == nil {
		return nil, nil
	}
	asked, locked := c.Metadata.Dependencies, c.Lock.Dependencies
	if len(asked) != len(locked) || !lockBelongs(c) {
		return nil, ErrLock
	}
	versions := make([]string, len(asked))
	for i, d := range locked {
		if d == nil || d.Name != asked[i].Name {
			return nil, ErrLock
		}
		wanted, err := semver.NewConstraint(cmp.Or(asked[i].Version, "*"))
		if err != nil {
			return nil, errors.New("a version in Chart.yaml is not a SemVer range")
		}
		version, err := semver.NewVersion(d.Version)
		if err == nil && !wanted.Check(version) {
			return nil, ErrLock
		}
		versions[i] = d.Version
	}
	return versions, nil
}

// lockBelongs compares the digest in Chart.lock, which is of the dependencies of
// both files, or, in charts of Helm 2, of the first.
func lockBelongs(c *chart.Chart) bool {
	asked := c.Metadata.Dependencies
	both, err := json.Marshal([2][]*chart.Dependency{asked, c.Lock.Dependencies})
	if err != nil {
		return false
	}
	if lockDigest(both) == c.Lock.Digest {
		return true
	}
	old, err := json.Marshal(map[string][]*chart.Dependency{"dependencies": asked})
	return err == nil && c.Metadata.APIVersion == chart.APIVersionV1 && lockDigest(old) == c.Lock.Digest
}

func lockDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
