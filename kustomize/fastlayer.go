package kustomize

import (
	"errors"
	"path"
	"reflect"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// kustomization reads the one of a directory.
func (e *engine) kustomization(dir string) (*types.Kustomization, error) {
	var k *types.Kustomization
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(dir, name)
		data, err := e.ReadFile(file)
		switch {
		case missing(err):
			continue
		case err != nil:
			return nil, err
		case k != nil:
			return nil, errUnsure // there are two
		}
		if k = e.kustomizations[file]; k == nil {
			k = &types.Kustomization{}
			if err := k.Unmarshal(data); err != nil {
				return nil, err
			}
		}
	}
	if k == nil {
		return nil, errUnsure
	}
	k.FixKustomization()
	if k.CheckEmpty() != nil || len(k.EnforceFields()) > 0 || !simple(k) {
		return nil, errUnsure
	}
	return k, nil
}

func isComponent(k *types.Kustomization) bool { return k.Kind == types.ComponentKind }

// simple reports whether a kustomization has no fields but those that this engine
// knows. kustomize hands all but the names of files to its transformers as YAML
// text, so what such text would change is not simple.
func simple(k *types.Kustomization) bool {
	rest := *k
	rest.TypeMeta, rest.MetaData = types.TypeMeta{}, nil
	rest.Resources, rest.Components = nil, nil
	if reflect.DeepEqual(rest, types.Kustomization{}) {
		return true
	}
	text, err := yaml.Marshal(rest)
	if err != nil {
		return false
	}
	var again types.Kustomization
	if yaml.UnmarshalStrict(text, &again) != nil || !reflect.DeepEqual(rest, again) {
		return false
	}
	for key := range k.CommonAnnotations {
		if isReserved(key) || key == konfig.IgnoredByKustomizeAnnotation {
			return false
		}
	}
	rest.Namespace, rest.NamePrefix, rest.NameSuffix = "", "", ""
	rest.Labels, rest.CommonLabels, rest.CommonAnnotations = nil, nil, nil
	rest.Patches, rest.PatchesStrategicMerge, rest.PatchesJson6902 = nil, nil, nil
	rest.Images, rest.Replicas = nil, nil
	rest.ConfigMapGenerator, rest.SecretGenerator, rest.GeneratorOptions = nil, nil, nil
	return reflect.DeepEqual(rest, types.Kustomization{})
}

// layer adds to the items what a kustomization brings, and transforms all of them.
func (e *engine) layer(dir string, k *types.Kustomization, items []*item) ([]*item, error) {
	for _, name := range k.Resources {
		more, err := e.resource(dir, name)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	if !unique(items) {
		return nil, errUnsure
	}
	items, err := e.generate(dir, k, items)
	if err != nil {
		return nil, err
	}
	for _, name := range k.Components {
		if items, err = e.directory(dir, name, items, true); err != nil {
			return nil, err
		}
		if !unique(items) {
			return nil, errUnsure
		}
	}
	e.moved = false
	return e.transform(dir, k, items)
}

// resource gives the objects of an entry of resources, a file or a directory.
func (e *engine) resource(dir, name string) ([]*item, error) {
	file := path.Join(dir, name)
	data, err := e.ReadFile(file)
	if errors.Is(err, errIsDir) {
		return e.directory(dir, name, nil, false)
	}
	if err != nil {
		return nil, err
	}
	return e.file(file, data)
}

// file gives the objects of a file.
func (e *engine) file(file string, data []byte) ([]*item, error) {
	name, err := inTree(file)
	if err != nil {
		return nil, err
	}
	docs, ok := e.documents[name]
	if !ok {
		if docs, err = e.check(name, data); err != nil {
			return nil, err
		}
	}
	delete(e.documents, name) // the next to use the file must not share them
	items := make([]*item, 0, len(docs))
	for _, doc := range docs {
		if doc.value != nil && len(doc.value) == 0 {
			continue
		}
		it, err := newItem(doc)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

// directory builds a base, or lets a component work on the items.
func (e *engine) directory(dir, name string, items []*item, component bool) ([]*item, error) {
	real, file, err := e.CleanedAbs(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	base := real.String()
	if file != "" || ambiguous(name) || e.contains(base) {
		return nil, errUnsure
	}
	k, err := e.kustomization(base)
	if err != nil {
		return nil, err
	}
	if isComponent(k) != component {
		return nil, errUnsure
	}
	e.building = append(e.building, base)
	defer func() { e.building = e.building[:len(e.building)-1] }()
	return e.layer(base, k, items)
}

// contains reports whether a directory is being built, or has one below it that
// is: a circle.
func (e *engine) contains(dir string) bool {
	for _, inner := range e.building {
		if inner == dir || dir == "/" || strings.HasPrefix(inner, dir+"/") {
			return true
		}
	}
	return false
}

// ambiguous reports whether kustomize refuses the name of a directory, for dots
// that are likely a mistake.
func ambiguous(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part != ".." && strings.Contains(part, "..") {
			return true
		}
	}
	return name == ""
}
