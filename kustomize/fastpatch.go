package kustomize

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/filters/patchjson6902"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/kio/kioutil"
	"sigs.k8s.io/yaml"
)

// patches applies the field of this name.
func (e *engine) patches(dir string, k *types.Kustomization, items []*item) ([]*item, error) {
	for _, p := range k.Patches {
		text, err := e.patchText(dir, p)
		if err != nil {
			return nil, err
		}
		merges, err := e.resources.SliceFromBytes([]byte(text))
		_, isList := operations([]byte(text))
		switch {
		case err == nil && len(merges) > 0 && !isList:
			items, err = e.merge(items, p, merges)
		case err != nil && isList && p.Target != nil:
			err = e.operate(items, *p.Target, text, true)
		default:
			return nil, errUnsure
		}
		if err != nil {
			return nil, err
		}
	}
	return items, nil
}

// patchText is a patch, from the field or from the file that it names.
func (e *engine) patchText(dir string, p types.Patch) (string, error) {
	inline := strings.TrimSpace(p.Patch)
	if (inline == "") == (p.Path == "") {
		return "", errUnsure
	}
	if inline != "" {
		return inline, nil
	}
	data, err := e.ReadFile(path.Join(dir, p.Path))
	return string(data), err
}

// merge applies strategic merge patches, to the target or to what they name.
func (e *engine) merge(items []*item, p types.Patch, merges []*resource.Resource) ([]*item, error) {
	for _, m := range merges {
		if p.Options != nil && p.Options.AllowNameChange {
			m.AllowNameChange()
		}
		if p.Options != nil && p.Options.AllowKindChange {
			m.AllowKindChange()
		}
	}
	if p.Target != nil {
		if len(merges) > 1 {
			return nil, errUnsure
		}
		selected, err := selected(items, *p.Target)
		if err != nil {
			return nil, err
		}
		return e.mergeInto(items, selected, merges[0])
	}
	for _, m := range merges {
		target, err := named(items, m)
		if err != nil {
			return nil, err
		}
		if err := e.mergeOne(target, m); err != nil {
			return nil, err
		}
	}
	return dropEmpty(items), nil
}

// mergeInto applies a patch to all that were selected. kustomize knows them by
// their ids, and compares the ids of all objects afterwards.
func (e *engine) mergeInto(items, selected []*item, patch *resource.Resource) ([]*item, error) {
	if err := e.compare(items); err != nil {
		return nil, err
	}
	for _, it := range selected {
		own := patch.DeepCopy()
		if err := own.CopyMergeMetaDataFieldsFrom(patch); err != nil {
			return nil, err
		}
		own.SetGvk(it.res.GetGvk())
		own.SetKind(patch.GetKind())
		if err := e.mergeOne(it, own); err != nil {
			return nil, err
		}
	}
	items = dropEmpty(items)
	return items, e.compare(items)
}

// compare holds that ids which have changed are still those of one object each.
func (e *engine) compare(items []*item) error {
	if e.moved && !unique(items) {
		return errUnsure
	}
	e.moved = false
	return nil
}

func (e *engine) mergeOne(it *item, patch *resource.Resource) error {
	before := it.id
	it.value = nil
	if err := it.res.ApplySmPatch(patch); err != nil {
		return err
	}
	if !it.res.IsNilOrEmpty() {
		it.refresh()
	}
	e.moved = e.moved || it.id != before
	return nil
}

// dropEmpty drops what patches deleted.
func dropEmpty(items []*item) []*item {
	return slices.DeleteFunc(items, func(it *item) bool { return it.value == nil && it.res.IsNilOrEmpty() })
}

// named finds the one object that a patch names.
func named(items []*item, patch *resource.Resource) (*item, error) {
	id := patch.OrgId()
	var found *item
	for _, it := range items {
		if !it.had(id) || it.value == nil && it.res.IsNilOrEmpty() {
			continue
		}
		if found != nil {
			return nil, errUnsure
		}
		found = it
	}
	if found == nil {
		return nil, errUnsure
	}
	return found, nil
}

// selected finds all objects that a target means.
func selected(items []*item, target types.Selector) ([]*item, error) {
	expressions, err := types.NewSelectorRegex(&target)
	if err != nil {
		return nil, err
	}
	var found []*item
	for _, it := range items {
		org := it.original()
		switch {
		case !expressions.MatchNamespace(org.EffectiveNamespace()) && !expressions.MatchNamespace(it.id.EffectiveNamespace()),
			!expressions.MatchName(org.Name) && !expressions.MatchName(it.id.Name),
			!expressions.MatchGvk(it.id.Gvk):
			continue
		}
		ok, err := it.matches(target)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, it)
		}
	}
	return found, nil
}

// matches compares labels and annotations with those that a target wants.
func (it *item) matches(target types.Selector) (bool, error) {
	if target.LabelSelector != "" {
		if ok, err := it.res.MatchesLabelSelector(target.LabelSelector); !ok || err != nil {
			return false, err
		}
	}
	if target.AnnotationSelector != "" {
		return it.res.MatchesAnnotationSelector(target.AnnotationSelector)
	}
	return true, nil
}

// operate applies a JSON patch to what the target means. kustomize notes that the
// id may change, except for the older field.
func (e *engine) operate(items []*item, target types.Selector, text string, note bool) error {
	selected, err := selected(items, target)
	if err != nil {
		return err
	}
	for _, it := range selected {
		if note {
			it.res.StorePreviousId()
		}
		kept := kioutil.GetInternalAnnotations(&it.res.RNode)
		if err := it.apply(patchjson6902.Filter{Patch: text}); err != nil {
			return err
		}
		all := it.res.GetAnnotations()
		for key, value := range kept {
			all[key] = value
		}
		if err := it.res.SetAnnotations(all); err != nil {
			return err
		}
		it.refresh()
		e.moved = true
	}
	return nil
}

// oldMerges applies the field patchesStrategicMerge.
func (e *engine) oldMerges(dir string, k *types.Kustomization, items []*item) ([]*item, error) {
	for _, p := range k.PatchesStrategicMerge {
		merges, err := e.resources.SliceFromBytes([]byte(p))
		if err != nil {
			data, err := e.ReadFile(path.Join(dir, string(p)))
			if err != nil {
				return nil, err
			}
			if merges, err = e.resources.SliceFromBytes(data); err != nil {
				return nil, err
			}
		}
		if len(merges) == 0 {
			return nil, errUnsure
		}
		for _, m := range merges {
			target, err := named(items, m)
			if err != nil {
				return nil, err
			}
			if items, err = e.mergeInto(items, []*item{target}, m); err != nil {
				return nil, err
			}
		}
	}
	return items, nil
}

// oldOperations applies the field patchesJson6902.
func (e *engine) oldOperations(dir string, k *types.Kustomization, items []*item) ([]*item, error) {
	for _, p := range k.PatchesJson6902 {
		text := p.Patch
		if p.Target == nil || p.Target.Name == "" || (text == "") == (p.Path == "") {
			return nil, errUnsure
		}
		if p.Path != "" {
			data, err := e.ReadFile(path.Join(dir, p.Path))
			if err != nil {
				return nil, err
			}
			text = string(data)
		}
		if !strings.HasPrefix(text, "[") {
			asJSON, err := yaml.YAMLToJSON([]byte(text))
			if err != nil {
				return nil, err
			}
			text = string(asJSON)
		}
		if ops, ok := operations([]byte(text)); !ok || len(ops) == 0 {
			return nil, errUnsure
		}
		if err := e.operate(items, *p.Target, text, false); err != nil {
			return nil, err
		}
	}
	return items, nil
}
