package kustomize

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// schema guards the one OpenAPI schema that kyaml has for the whole process. That
// schema is why there is a package-level variable with state here, the only one in
// this package: a gate of a build's own could not keep another build's schema out.
//
// As long as no build brings a schema, the schema is only read, and builds run
// side by side. A build with an openapi field changes it, so it runs alone, and
// the schema is put back after it. Reading it for the first time changes it too.
var schema = newGate()

// gate lets many readers of the schema in, or one writer. Unlike a lock of package
// sync, it gives up waiting when the context ends.
type gate struct {
	slots *semaphore.Weighted
	warm  atomic.Bool // the schema is loaded and is the built-in one
	specs *fieldSpecs // what goes with the built-in schema; set with it
	// restore puts the built-in schema back without parsing it again, which would
	// cost as much as fifty small builds. It is set by the first load.
	restore func()
}

const everyone = math.MaxInt32

func newGate() *gate { return &gate{slots: semaphore.NewWeighted(everyone)} }

// shared runs f beside others that do not change the schema.
func (g *gate) shared(ctx context.Context, f func() error) error {
	if err := g.load(ctx); err != nil {
		return err
	}
	if err := g.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer g.slots.Release(1)
	return f()
}

// exclusive runs f alone and then puts the schema back, whatever f did to it.
func (g *gate) exclusive(ctx context.Context, f func() error) error {
	if err := g.load(ctx); err != nil {
		return err
	}
	if err := g.slots.Acquire(ctx, everyone); err != nil {
		return err
	}
	defer g.slots.Release(everyone)
	// Should restore fail half way, the next build loads the schema afresh.
	g.warm.Store(false)
	defer func() {
		g.restore()
		g.warm.Store(true)
	}()
	return f()
}

// load reads the built-in schema, once.
func (g *gate) load(ctx context.Context) error {
	if g.warm.Load() {
		return nil
	}
	if err := g.slots.Acquire(ctx, everyone); err != nil {
		return err
	}
	defer g.slots.Release(everyone)
	if g.warm.Load() {
		return nil
	}
	openapi.ResetOpenAPI()
	builtin := openapi.Schema().Definitions
	g.restore = func() {
		openapi.ResetOpenAPI()
		openapi.SuppressBuiltInSchemaUse()
		openapi.AddDefinitions(builtin)
		openapi.Schema()
	}
	// Adding definitions overwrites the map that it adds to, so the one that is kept
	// must not be the one in use.
	g.restore()
	if err := checkSchema(); err != nil {
		return err
	}
	g.specs = parseFieldSpecs(fieldSpecText)
	g.warm.Store(true)
	return nil
}

// checkSchema looks for one merge key. Without merge keys patches replace lists
// instead of merging them, and some combinations of kube-openapi and Go have lost
// them all: an error is better than wrong objects.
func checkSchema() error {
	s := openapi.SchemaForResourceType(yaml.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"})
	if s != nil {
		if s = s.Lookup("spec", "template", "spec", "containers"); s != nil {
			if _, key := s.PatchStrategyAndKey(); key == "name" {
				return nil
			}
		}
	}
	return errors.New("kustomize's built-in schema has lost its merge keys: build with the versions of kustomize and kube-openapi that this module requires")
}
