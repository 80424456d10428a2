package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
)

// Result is what a build gives.
type Result struct {
	// Objects in the order in which the kustomization lists them. Numbers are int64
	// or float64, as in objects decoded from JSON.
	Objects []*unstructured.Unstructured
	// Inputs are what the objects depend on.
	Inputs Inputs
	// Cached reports that a [Cache] had them.
	Cached bool
}

// Build builds the kustomization in a directory of the tree, "." or empty for its
// root. If the directory has no kustomization file, all YAML files in it and below
// it are taken, and directories below it that have one are built; names that start
// with a dot are left out. A directory with nothing to build gives no objects.
//
// The objects are those of `kustomize build`, in the order of its output without
// sorting. Nothing is read but the tree, nothing is run and no network is used:
// whatever would need it is a [*RefusedError]. Options that no build can obey are
// an [*OptionError], files that cannot be used are an [*InputError], too much of something is a [*LimitError], and what kustomize has
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
	res, saw, err := attempt(ctx, fsys, dir, opts, use)
	if err == nil {
		err = checkDecrypted(res.Objects)
	}
	switch {
	case err == nil:
		return res, nil
	case !saw || ctx.Err() != nil || errors.As(err, new(*DecryptError)) || errors.As(err, new(*LimitError)) || errors.As(err, new(*EncryptedError)):
		return nil, err
	}
	// The message may show what was decrypted. That of a build which decrypts nothing
	// cannot, and mostly says the same.
	opts.Decrypter = nil
	if _, _, err := attempt(ctx, fsys, dir, opts, use); err != nil {
		return nil, err
	}
	return nil, &BuildError{Dir: dir, Err: errWithheld}
}

var errWithheld = errors.New("kustomize has an objection to what was decrypted; its message might show that, so it is held back: build the directory with the decrypted files by hand to see it")

// attempt builds once, and says whether plain text of encrypted files was seen.
func attempt(ctx context.Context, fsys fs.FS, dir string, opts Options, use engines) (res *Result, saw bool, err error) {
	b := &builder{engines: use, src: newSource(ctx, fsys, opts.Limits.withDefaults()), virtual: map[string][]byte{}}
	b.src.unseal = newUnsealer(ctx, opts.Decrypter)
	if err := b.prepare(dir, &opts); err != nil {
		return nil, b.src.unseal.used(), err
	}
	if b.target == "" {
		res, err = b.finish(&Result{}, dir, &opts)
		return res, false, err
	}
	run := func(exclusive bool) func() error {
		return func() (err error) {
			res, err = b.run(exclusive)
			return err
		}
	}
	// Whether a build brings a schema shows when its last kustomization was read, so
	// it is first tried without.
	err = schema.shared(ctx, run(false))
	if errors.Is(err, errExclusive) {
		err = schema.exclusive(ctx, run(true))
	}
	if err == nil {
		res, err = b.finish(res, dir, &opts)
	}
	return res, b.src.unseal.used(), err
}

// finish adds what kustomize has no part in.
func (b *builder) finish(res *Result, dir string, opts *Options) (*Result, error) {
	opts.CommonMetadata.set(res.Objects)
	var err error
	res.Inputs, err = b.src.inputs(dir, opts)
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
		return &Result{Objects: objects}, nil
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
		return nil, &BuildError{Dir: b.dir, File: g.last, Err: plainError(err)}
	}
	objects, err := convert(m)
	if err != nil {
		return nil, &BuildError{Dir: b.dir, Err: plainError(err)}
	}
	return &Result{Objects: objects}, nil
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
