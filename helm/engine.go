package helm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
)

// Helm's own engine runs a template to its end, however long that takes and
// however much it writes. This one renders the same and can be stopped: every
// template and every round of a loop first asks whether it may go on, and what is
// written is counted.

// source is a template file and the values of its chart.
type source struct {
	text     string
	values   map[string]any
	basePath string
}

// sources collects the template files of a chart and its subcharts under their
// full names, each with what its templates see as ".".
func sources(c *chart.Chart, top map[string]any) map[string]source {
	all := map[string]source{}
	collect(c, top, all)
	return all
}

func collect(c *chart.Chart, parent map[string]any, all map[string]source) map[string]any {
	subcharts := map[string]any{}
	scope := map[string]any{
		"Chart": struct {
			chart.Metadata
			IsRoot bool
		}{*c.Metadata, c.IsRoot()},
		"Files":        newFiles(c.Files),
		"Release":      parent["Release"],
		"Capabilities": parent["Capabilities"],
		"Values":       chartutil.Values{},
		"Subcharts":    subcharts,
	}
	if c.IsRoot() {
		scope["Values"] = parent["Values"]
	} else if own, err := chartutil.Values(parent).Table("Values." + c.Name()); err == nil {
		scope["Values"] = own
	}
	for _, sub := range c.Dependencies() {
		subcharts[sub.Name()] = collect(sub, scope, all)
	}
	for _, t := range c.Templates {
		if strings.EqualFold(c.Metadata.Type, "library") && !isPartial(t.Name) {
			continue
		}
		all[path.Join(c.ChartFullPath(), t.Name)] = source{string(t.Data), scope, path.Join(c.ChartFullPath(), "templates")}
	}
	return scope
}

// isPartial reports whether a template file is there for others to include.
func isPartial(name string) bool { return strings.HasPrefix(path.Base(name), "_") }

// order sorts the names of template files as Helm does, deepest first, so that a
// parent's definition of a template wins over its subchart's.
func order(all map[string]source) []string {
	return slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")), cmp.Compare(b, a))
	})
}

// run is one rendering of a chart.
type run struct {
	ctx    context.Context //nolint:containedctx // a run lives as long as one call of Render
	chart  string
	limits Limits

	file    string // the file that is being rendered
	written int64
	nesting int
	stopped error // why the rendering had to end

	enter, leave, round string // functions with names that no chart can know
	marked              map[*parse.Tree]bool
}

// renderTemplates returns the output of every template file that is not a partial.
func renderTemplates(ctx context.Context, c *chart.Chart, top map[string]any, limits Limits) (map[string]string, error) {
	secret := rand.Text()
	r := &run{
		ctx: ctx, chart: c.Name(), limits: limits, marked: map[*parse.Tree]bool{},
		enter: "enter" + secret, leave: "leave" + secret, round: "round" + secret,
	}
	all := sources(c, top)
	set := template.New("chart").Option("missingkey=zero")
	set.Funcs(r.functions(set))
	names := order(all)
	for _, name := range names {
		if _, err := set.New(name).Parse(all[name].text); err != nil {
			return nil, &ChartError{Chart: r.chart, File: name, Err: withoutPrefix(err)}
		}
	}
	r.mark(set)
	output := map[string]string{}
	for _, name := range names {
		if isPartial(name) {
			continue
		}
		r.file = name
		all[name].values["Template"] = chartutil.Values{"Name": name, "BasePath": all[name].basePath}
		text, err := r.execute(set, name, all[name].values)
		if err != nil {
			return nil, r.explain(err)
		}
		output[name] = text
	}
	return output, nil
}

// execute runs a template within the limits. A missing value leaves nothing.
func (r *run) execute(set *template.Template, name string, data any) (string, error) {
	out := &output{run: r}
	err := set.ExecuteTemplate(out, name, data)
	return out.String(), err
}

// explain says why a template failed: its author's word, if that was the reason.
func (r *run) explain(err error) error {
	if r.stopped != nil {
		return r.stopped
	}
	var word refusal
	if errors.As(err, &word) {
		err = word
	}
	return &ChartError{Chart: r.chart, File: r.file, Err: withoutPrefix(err)}
}

// withoutPrefix drops what text/template puts before each message.
func withoutPrefix(err error) error {
	text, found := strings.CutPrefix(err.Error(), "template: ")
	if !found {
		return err
	}
	return errors.New(text)
}

// output is what a template has written.
type output struct {
	run *run
	strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	if err := o.run.count(int64(len(p))); err != nil {
		return 0, err
	}
	return o.Builder.Write(p)
}

func (o *output) String() string {
	return strings.ReplaceAll(o.Builder.String(), "<no value>", "")
}

// count adds to what was written, and stops what writes too much.
func (r *run) count(n int64) error {
	if r.written += n; r.written > r.limits.Output {
		return r.stop(&LimitError{Chart: r.chart, File: r.file, Limit: "Output", Max: r.limits.Output})
	}
	return nil
}

// stop ends the rendering with err.
func (r *run) stop(err error) error {
	if r.stopped == nil {
		r.stopped = err
	}
	return r.stopped
}

// mayGoOn fails when the rendering has to end.
func (r *run) mayGoOn() (string, error) {
	if r.stopped != nil {
		return "", r.stopped
	}
	if r.ctx.Err() != nil {
		return "", r.stop(context.Cause(r.ctx))
	}
	return "", nil
}

// guards are the functions behind the marks.
func (r *run) guards() template.FuncMap {
	return template.FuncMap{
		r.round: r.mayGoOn,
		r.enter: func() (string, error) {
			if r.nesting++; r.nesting > r.limits.Nesting {
				return "", r.stop(&LimitError{Chart: r.chart, File: r.file, Limit: "Nesting", Max: r.limits.Nesting})
			}
			return r.mayGoOn()
		},
		r.leave: func() string {
			r.nesting--
			return ""
		},
	}
}

// mark puts the guards into every template of a set that does not have them.
func (r *run) mark(set *template.Template) {
	for _, t := range set.Templates() {
		if t.Tree == nil || t.Tree.Root == nil || r.marked[t.Tree] {
			continue
		}
		r.marked[t.Tree] = true
		r.markLoops(t.Tree, t.Tree.Root)
		t.Tree.Root.Nodes = slices.Concat([]parse.Node{r.call(t.Tree, r.enter)}, t.Tree.Root.Nodes, []parse.Node{r.call(t.Tree, r.leave)})
	}
}

// markLoops puts a guard at the start of every round of a range.
func (r *run) markLoops(tree *parse.Tree, list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.IfNode:
			r.markLoops(tree, n.List)
			r.markLoops(tree, n.ElseList)
		case *parse.WithNode:
			r.markLoops(tree, n.List)
			r.markLoops(tree, n.ElseList)
		case *parse.RangeNode:
			r.markLoops(tree, n.List)
			r.markLoops(tree, n.ElseList)
			n.List.Nodes = slices.Concat([]parse.Node{r.call(tree, r.round)}, n.List.Nodes)
		}
	}
}

// call makes the node of a call without arguments: {{name}}.
func (r *run) call(tree *parse.Tree, name string) parse.Node {
	word := parse.NewIdentifier(name).SetTree(tree)
	command := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{word}}
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{command}}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pipe: pipe}
}

// refusal is what a chart's author says with fail and required.
type refusal string

func (r refusal) Error() string { return string(r) }

// include runs a template of the set and returns its output.
func (r *run) include(set *template.Template) func(string, any) (string, error) {
	return func(name string, data any) (string, error) { return r.execute(set, name, data) }
}

// tpl runs a text as a template that knows those of the set.
func (r *run) tpl(set *template.Template) func(string, any) (string, error) {
	return func(text string, data any) (string, error) {
		clone, err := set.Clone()
		if err != nil {
			return "", err
		}
		clone.Option("missingkey=zero")
		clone.Funcs(template.FuncMap{"include": r.include(clone), "tpl": r.tpl(clone)})
		t, err := clone.New(set.Name()).Parse(text)
		if err != nil {
			return "", fmt.Errorf("a text that is given to tpl is no template: %w", withoutPrefix(err))
		}
		r.mark(t)
		out := &output{run: r}
		err = t.Execute(out, data)
		return out.String(), err
	}
}
