package kustomize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
)

// Options say how to build. The zero value builds what the directory says, under
// the default limits.
type Options struct {
	// TargetNamespace is the namespace that all namespaced objects are moved to after
	// the build, as if an overlay with nothing but this namespace lay over the
	// directory. Empty leaves namespaces as they are.
	TargetNamespace string
	// Limits bound what the build may read.
	Limits Limits
}

// Result is what a build gives.
type Result struct {
	// Objects in the order in which the kustomization lists them. Numbers are int64
	// or float64, as in objects decoded from JSON.
	Objects []*unstructured.Unstructured
	// Inputs are the files that were read and the links that were followed, as paths
	// in the tree, sorted.
	Inputs []string
}

// Build builds the kustomization in a directory of the tree, "." or empty for its
// root. If the directory has no kustomization file, all YAML files in it and below
// it are taken, and directories below it that have one are built; names that start
// with a dot are left out. A directory with nothing to build gives no objects.
//
// The objects are those of `kustomize build`, in the order of its output without
// sorting. Nothing is read but the tree, nothing is run and no network is used:
// whatever would need it is a [*RefusedError]. Files that cannot be used are an
// [*InputError], too much of something is a [*LimitError], and what kustomize has
// to object is a [*BuildError]. The end of ctx is noticed whenever a file is read.
func Build(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	res, err := build(ctx, fsys, dir, opts)
	if err != nil {
		return nil, fmt.Errorf("kustomize: %w", err)
	}
	return res, nil
}

func build(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	return buildWith(ctx, fsys, dir, opts, anyEngine)
}

func buildWith(ctx context.Context, fsys fs.FS, dir string, opts Options, use engines) (*Result, error) {
	b := &builder{engines: use, src: newSource(ctx, fsys, opts.Limits.withDefaults()), virtual: map[string][]byte{}}
	if err := b.prepare(dir, opts); err != nil {
		return nil, err
	}
	if b.target == "" {
		return &Result{Inputs: b.src.sorted()}, nil
	}
	var res *Result
	run := func(exclusive bool) func() error {
		return func() (err error) {
			res, err = b.run(exclusive)
			return err
		}
	}
	// Whether a build brings a schema shows when its last kustomization was read, so
	// it is first tried without.
	err := schema.shared(ctx, run(false))
	if errors.Is(err, errExclusive) {
		err = schema.exclusive(ctx, run(true))
	}
	return res, err
}

// builder is one build.
type builder struct {
	src     *source
	dir     string // in the tree
	target  string // what kustomize is told to build; empty if there is nothing
	virtual map[string][]byte
	sorts   bool // the kustomization sets an order itself
	engines engines
}

// engines are those that may be used for a build.
type engines int

const (
	anyEngine engines = iota
	fastOnly
	kustomizeOnly
)

// errNoDir is fs.ErrNotExist, for those who asked for the directory.
var errNoDir = fmt.Errorf("the tree has no such directory; check the path: %w", fs.ErrNotExist)

// prepare finds the directory and provides the kustomizations that it lacks.
func (b *builder) prepare(dir string, opts Options) error {
	if ns := opts.TargetNamespace; ns != "" {
		if faults := validation.IsDNS1123Label(ns); len(faults) > 0 {
			return fmt.Errorf("target namespace %q: %s", ns, strings.Join(faults, ", "))
		}
	}
	b.dir = path.Clean(cmp.Or(dir, "."))
	if !fs.ValidPath(b.dir) {
		return &RefusedError{File: dir, Value: dir, Reason: "the directory to build must be a relative path inside of the tree"}
	}
	real, info, err := b.src.stat(b.dir)
	if missing(err) {
		return &InputError{File: b.dir, Err: errNoDir}
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &InputError{File: b.dir, Err: errors.New("a build needs a directory, and this is a file")}
	}
	b.dir = real
	b.target = path.Join(mount, b.dir)
	has, err := b.src.hasKustomization(b.dir)
	if err != nil {
		return err
	}
	if !has {
		return b.generate(opts)
	}
	return b.overlay(opts)
}

// run builds the target: with the fast engine, and where that gives up with
// kustomize. With a schema of the build's own it is kustomize at once.
func (b *builder) run(exclusive bool) (res *Result, err error) {
	if exclusive || b.engines == kustomizeOnly {
		return b.runKustomize(exclusive)
	}
	reads := b.src.reads
	g := newGuard(b.src, b.virtual, false)
	g.keep = true
	objects, err := fast(g, b.target, schema.specs)
	if err == nil {
		return &Result{Objects: objects, Inputs: b.src.sorted()}, nil
	}
	if b.engines == fastOnly {
		return nil, err
	}
	b.src.reads = reads // it starts again, with the same limits
	return b.runKustomize(false)
}

// runKustomize has kustomize itself build the target.
func (b *builder) runKustomize(exclusive bool) (res *Result, err error) {
	g := newGuard(b.src, b.virtual, exclusive)
	m, err := run(g, b.target, b.sorts)
	switch {
	case g.wantsExclusive:
		return nil, errExclusive
	case g.err != nil:
		return nil, g.err
	case err != nil:
		return nil, &BuildError{Dir: b.dir, File: g.last, Err: err}
	}
	objects, err := convert(m)
	if err != nil {
		return nil, &BuildError{Dir: b.dir, Err: err}
	}
	return &Result{Objects: objects, Inputs: b.src.sorted()}, nil
}

// run is kustomize. Some content makes it panic; that ends here.
func run(g *guard, target string, sorts bool) (m resmap.ResMap, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("kustomize gave up on this content (it panicked: %v)", p)
		}
	}()
	order := krusty.ReorderOptionNone
	if sorts {
		order = krusty.ReorderOptionUnspecified // or kustomize logs that there are two orders
	}
	return krusty.MakeKustomizer(&krusty.Options{
		Reorder: order,
		// What may be read is what the guard hands out.
		LoadRestrictions: types.LoadRestrictionsNone,
		PluginConfig:     types.DisabledPluginConfig(),
	}).Run(g, target)
}
