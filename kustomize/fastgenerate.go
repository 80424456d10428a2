package kustomize

import (
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/ifc"
	"sigs.k8s.io/kustomize/api/kv"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
)

// generate adds what the generators of a kustomization make.
func (e *engine) generate(dir string, k *types.Kustomization, items []*item) ([]*item, error) {
	if len(k.ConfigMapGenerator) == 0 && len(k.SecretGenerator) == 0 {
		return items, nil
	}
	files := kv.NewLoader(loader{e.guard, dir}, provider.NewDefaultDepProvider().GetFieldValidator())
	for _, args := range k.ConfigMapGenerator {
		args.Options = types.MergeGlobalOptionsIntoLocal(args.Options, k.GeneratorOptions)
		res, err := e.resources.MakeConfigMap(files, &args)
		if err != nil {
			return nil, err
		}
		if items, err = absorb(items, res); err != nil {
			return nil, err
		}
	}
	for _, args := range k.SecretGenerator {
		args.Options = types.MergeGlobalOptionsIntoLocal(args.Options, k.GeneratorOptions)
		res, err := e.resources.MakeSecret(files, &args)
		if err != nil {
			return nil, err
		}
		if items, err = absorb(items, res); err != nil {
			return nil, err
		}
	}
	if !unique(items) {
		return nil, errUnsure
	}
	return items, nil
}

// absorb adds a generated object, or merges it with the one that it is meant for.
func absorb(items []*item, res *resource.Resource) ([]*item, error) {
	made := &item{res: res, generated: true}
	made.refresh()
	at := slices.IndexFunc(items, func(it *item) bool { return it.had(made.id) })
	behavior := res.Behavior()
	if at < 0 {
		if behavior == types.BehaviorMerge || behavior == types.BehaviorReplace {
			return nil, errUnsure
		}
		return append(items, made), nil
	}
	if slices.ContainsFunc(items[at+1:], func(it *item) bool { return it.had(made.id) }) {
		return nil, errUnsure
	}
	old := items[at]
	switch behavior {
	case types.BehaviorReplace:
	case types.BehaviorMerge:
		if field(old.res.YNode(), "stringData") != nil {
			return nil, errUnsure
		}
	default:
		return nil, errUnsure
	}
	if err := res.CopyMergeMetaDataFieldsFrom(old.res); err != nil {
		return nil, err
	}
	if behavior == types.BehaviorMerge {
		res.MergeDataMapFrom(old.res)
		res.MergeBinaryDataMapFrom(old.res)
	}
	made.refresh()
	if !made.id.Equals(old.id) {
		return nil, errUnsure
	}
	items[at] = made
	return items, nil
}

// loader reads the files of generators. The interface asks for more than they use.
type loader struct {
	g   *guard
	dir string
}

func (l loader) Load(name string) ([]byte, error)    { return l.g.ReadFile(path.Join(l.dir, name)) }
func (l loader) Root() string                        { return l.dir }
func (l loader) Repo() string                        { return "" }
func (l loader) New(name string) (ifc.Loader, error) { return nil, unsupported("new", name) }
func (l loader) Cleanup() error                      { return nil }
