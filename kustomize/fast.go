package kustomize

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/hasher"
	"sigs.k8s.io/kustomize/api/resource"
)

// There are two engines. kustomize's own is the reference: it can do everything,
// and whatever it says is right. But it compares each object with all others, in
// many places, so its time is in the square of the number of objects, and it
// parses each file again that the guard has parsed to check it.
//
// The engine in these files does what nearly all kustomizations ask for, with
// kustomize's own filters for what happens to an object, and with loops of its own
// around them. It knows when it must not: a field that is not on its list, an
// object that is unusual, an id that is there twice, a name that could mean two
// objects, any error. Then it gives up, and kustomize builds from the start. So
// all errors are kustomize's, and so is each result about which there is doubt.

// errUnsure says that kustomize has to decide.
var errUnsure = errors.New("this is for kustomize to decide")

// engine is the fast one, for one build.
type engine struct {
	*guard
	specs     *fieldSpecs
	resources *resource.Factory
	building  []string // directories, outermost first
	moved     bool     // ids have changed since they were last compared
}

// fast builds a target, or says that it cannot.
func fast(g *guard, target string, specs *fieldSpecs) (objects []*unstructured.Unstructured, err error) {
	defer func() {
		if p := recover(); p != nil {
			objects, err = nil, fmt.Errorf("%w: it panicked: %v", errUnsure, p)
		}
	}()
	e := &engine{guard: g, specs: specs, resources: resource.NewFactory(&hasher.Hasher{})}
	k, err := e.kustomization(target)
	if err != nil {
		return nil, err
	}
	if isComponent(k) {
		return nil, errUnsure
	}
	e.building = []string{target}
	items, err := e.layer(target, k, nil)
	if err != nil {
		return nil, err
	}
	if err := e.hashNames(items); err != nil {
		return nil, err
	}
	if err := fixReferences(specs, items); err != nil {
		return nil, err
	}
	return finish(items)
}

// hashNames appends hashes of their content to the names of generated objects.
func (e *engine) hashNames(items []*item) error {
	for _, it := range items {
		if !it.generated || !it.res.NeedHashSuffix() {
			continue
		}
		hash, err := it.res.Hash(e.resources.Hasher())
		if err != nil {
			return err
		}
		it.res.StorePreviousId()
		if err := it.res.SetName(it.res.GetName() + "-" + hash); err != nil {
			return err
		}
		it.refresh()
	}
	return nil
}

// finish turns what was built into what is returned.
func finish(items []*item) ([]*unstructured.Unstructured, error) {
	if !unique(items) {
		return nil, errUnsure
	}
	objects := make([]*unstructured.Unstructured, 0, len(items))
	for _, it := range items {
		object, err := it.final()
		if err != nil {
			return nil, err
		}
		if object != nil {
			objects = append(objects, &unstructured.Unstructured{Object: object})
		}
	}
	return objects, nil
}
