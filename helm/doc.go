// Package helm turns a Helm chart in a source tree into Kubernetes objects, in
// memory: from an [io/fs.FS] and values to a list that any applier can take. No
// cluster, no helm command, and none of Helm's types in the API.
//
//	chart, err := helm.Load(ctx, tree, "charts/shop", helm.LoadOptions{})
//	if err != nil {
//		return err
//	}
//	rendered, err := chart.Render(ctx, helm.RenderOptions{ReleaseName: "corner", Values: values})
//	if err != nil {
//		return err
//	}
//	return apply(ctx, append(rendered.CRDs, rendered.Objects...))
//
// A chart is a directory or a packed one in a tree ([Load]), or in memory
// ([LoadArchive]): package repository fetches those of Helm repositories, package
// registry those of OCI registries. What it depends on is in its charts directory,
// elsewhere in the tree, or where a [Resolver] finds it. [MergeValues] makes values
// of files, objects and what is written inline; [ValuesDigest] tells whether they
// have changed. [Pack] makes a package of a chart.
//
// # Guarantees
//
//   - The objects are those that Helm 3 sends when it installs the chart, in its
//     order: subcharts, aliases, conditions, tags, imported values, globals,
//     library charts, tpl, include and .Files included. Tests hold this package
//     against Helm's own engine.
//   - The same chart and options give the same result, in the same order, unless
//     a template asks for the time, for random values or for new keys.
//   - Nothing outside of the tree is read, and nothing is written. Nothing is
//     downloaded but what a [Resolver] downloads; without one a dependency that is
//     not in the tree is an error. Where Chart.lock has to be asked, it has to belong
//     to Chart.yaml, and its versions are those that are used.
//   - Values have one precedence: files, references in their order, inline values,
//     and then what references set at a path, which wins over all.
//   - The package of a chart is the same bytes for the same tree, on every machine
//     and with every version of Go.
//   - A [Chart] does not change and may be rendered concurrently; neither do the
//     values that it is given.
//   - Every error names the chart and the file, or the source of values, and those
//     that another attempt cannot cure have Terminal() bool.
//   - The context ends loading and rendering, endless loops in templates included.
//
// # Limits
//
// [Limits] bound files, bytes, archives, dependencies, nesting, output, objects and
// time; each has a default. What is not here: releases and their history, which are
// in the sub-package release. Hooks are returned, not run; tests are hooks.
// .Release.Revision is 1 unless told otherwise.
//
// Objects keep the namespace that their template gives them, and that is often
// none. Helm leaves it to its client to fill in the release's, because only the
// cluster knows which kinds are namespaced; so does this package: let the applier
// do it.
//
// Helm's code for merging values, which this package uses, writes warnings about
// values of a wrong type to the standard logger of package log, default values of
// the chart included.
//
// # Threat model
//
// A chart, its archives, its schema and its values may be hostile. They cannot
// read files outside of the tree (through paths, links or archives), the
// environment, the cluster or the network; schema references to files and URLs are
// refused; loops, recursion, floods of output and archives that unpack to too much
// end with a [LimitError]. So may be what a Resolver returns: it has to be the chart
// and version that was asked for, and counts towards the limits. Paths of
// dependencies and values files that lead elsewhere are refused, and paths in values
// that ask for long lists. Errors about values hold no values, except for what a
// template's author prints with fail or required, or what Go's template package
// says about an argument of a wrong type.
//
// Templates run in the caller's process, and a template language cannot be held to
// a number of bytes there: one that builds structures without end, or one that
// contains itself and is then printed, can take the process down with it, as it
// does with Helm. A schema whose check does not end is left behind when the time is
// up, and goes on using a processor. Render charts of strangers in a process of
// their own.
package helm
