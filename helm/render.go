package helm

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// DefaultKubeVersion is the Kubernetes version that templates see when
// [RenderOptions] names none.
const DefaultKubeVersion = "1.37.0"

// RenderOptions say what a chart is rendered for. The zero value renders an
// installation named like the chart, in the namespace default.
type RenderOptions struct {
	// ReleaseName is .Release.Name; the chart's name by default. At most 53
	// characters of a DNS subdomain.
	ReleaseName string
	// Namespace is .Release.Namespace; "default" by default.
	Namespace string
	// Values are merged over the chart's; a null takes a value of the chart away.
	// They are not changed.
	Values map[string]any
	// Revision is .Release.Revision; 1 by default.
	Revision int
	// SkipSchema renders values that the chart's values.schema.json refuses.
	SkipSchema bool
	// IsUpgrade makes .Release.IsUpgrade true instead of .Release.IsInstall.
	IsUpgrade bool
	// KubeVersion of the cluster, for example 1.37.2; [DefaultKubeVersion] by default.
	KubeVersion string
	// APIVersions that the cluster serves besides those of Kubernetes itself, as
	// group/version or group/version/Kind.
	APIVersions []string
}

// Rendered is a chart as objects. Each list has one order, whatever the machine.
type Rendered struct {
	// Objects to apply, in the order in which Helm installs them. They are as the
	// templates wrote them: an object without a namespace belongs into the
	// release's if its kind is namespaced, which only the cluster knows.
	Objects []*unstructured.Unstructured
	// CRDs of the crds directories, to be there before everything else. They are
	// not templates, and Helm neither upgrades nor deletes them.
	CRDs []*unstructured.Unstructured
	// Hooks are objects with the annotation helm.sh/hook, tests included, by
	// weight. They are not part of what is applied. An object whose annotation
	// names a hook that Helm 3 does not have is left out, as Helm does.
	Hooks []*unstructured.Unstructured
	// Notes for the reader: the chart's NOTES.txt.
	Notes string

	sources map[*unstructured.Unstructured]string
}

// Source is the template file that one of these objects comes from, such as
// shop/templates/service.yaml. It is empty for an object that is a copy.
func (r *Rendered) Source(obj *unstructured.Unstructured) string { return r.sources[obj] }

var errTime = errors.New("time limit")

// Render renders the chart. It needs no cluster, and templates reach none: lookup
// and getHostByName find nothing, env and expandenv do not exist. The same chart
// and options give the same result, unless its templates ask for the time, for
// random values or for new keys.
//
// Errors are a [ChartError] that names the template, a [LimitError], a
// [ValuesError], or the context's.
func (c *Chart) Render(ctx context.Context, opts RenderOptions) (*Rendered, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	timed, cancel := context.WithTimeoutCause(ctx, c.limits.Time, errTime)
	defer cancel()
	rendered, err := c.render(timed, opts)
	if errors.Is(err, errTime) {
		err = &LimitError{Chart: c.Name(), Limit: "Time", Max: c.limits.Time}
	}
	return rendered, err
}

func (c *Chart) render(ctx context.Context, opts RenderOptions) (*Rendered, error) {
	release, err := c.release(opts)
	if err != nil {
		return nil, c.fault(err)
	}
	capabilities, err := c.capabilities(opts)
	if err != nil {
		return nil, c.fault(err)
	}
	enabled := clone(c.chart)
	values, err := c.values(enabled, opts.Values)
	if err != nil {
		return nil, c.fault(err)
	}
	if !opts.SkipSchema {
		if err := validate(ctx, enabled, values); err != nil {
			return nil, err
		}
	}
	output, err := renderTemplates(ctx, enabled, map[string]any{"Release": release, "Capabilities": capabilities, "Values": chartutil.Values(values)}, c.limits)
	if err != nil {
		return nil, err
	}
	s := &sorter{chart: c.Name(), max: c.limits.Objects}
	if err := errors.Join(s.crds(enabled), s.manifests(output)); err != nil {
		return nil, err
	}
	s.result.Notes = output[path.Join(enabled.ChartFullPath(), "templates", notesFile)]
	return &s.result, nil
}

func (c *Chart) fault(err error) error { return &ChartError{Chart: c.Name(), Err: err} }

// release is what templates see as .Release.
func (c *Chart) release(opts RenderOptions) (map[string]any, error) {
	name, namespace := opts.ReleaseName, opts.Namespace
	if name == "" {
		name = c.Name()
	}
	if namespace == "" {
		namespace = "default"
	}
	if err := chartutil.ValidateReleaseName(name); err != nil {
		return nil, fmt.Errorf("release name %q: %w", name, err)
	}
	return map[string]any{
		"Name":      name,
		"Namespace": namespace,
		"IsUpgrade": opts.IsUpgrade,
		"IsInstall": !opts.IsUpgrade,
		"Revision":  max(opts.Revision, 1),
		"Service":   "Helm",
	}, nil
}

// capabilities is what templates see as .Capabilities.
func (c *Chart) capabilities(opts RenderOptions) (*chartutil.Capabilities, error) {
	version := opts.KubeVersion
	if version == "" {
		version = DefaultKubeVersion
	}
	kube, err := chartutil.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("the Kubernetes version %q: %w; write it as 1.37.2", version, err)
	}
	if wanted := c.chart.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, kube.Version) {
		return nil, fmt.Errorf("it needs Kubernetes %s, and this is %s; use a version of the chart that fits the cluster", wanted, kube.Version)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *kube
	capabilities.APIVersions = slices.Concat(capabilities.APIVersions, opts.APIVersions)
	return capabilities, nil
}

// values merges the caller's values over the chart's, and takes the subcharts
// that they disable out of the chart.
func (c *Chart) values(enabled *chart.Chart, given map[string]any) (map[string]any, error) {
	var values chartutil.Values
	err := guard(func() (err error) {
		if given == nil {
			given = map[string]any{}
		}
		if err = chartutil.ProcessDependenciesWithMerge(enabled, given); err != nil {
			return err
		}
		values, err = chartutil.CoalesceValues(enabled, given)
		return err
	})
	return values, err
}
