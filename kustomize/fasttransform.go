package kustomize

import (
	"sigs.k8s.io/kustomize/api/filters/annotations"
	"sigs.k8s.io/kustomize/api/filters/labels"
	"sigs.k8s.io/kustomize/api/filters/namespace"
	"sigs.k8s.io/kustomize/api/filters/prefix"
	"sigs.k8s.io/kustomize/api/filters/replicacount"
	"sigs.k8s.io/kustomize/api/filters/suffix"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// transform applies what a kustomization says to the items, in the order of
// kustomize.
func (e *engine) transform(dir string, k *types.Kustomization, items []*item) ([]*item, error) {
	steps := []func(string, *types.Kustomization, []*item) ([]*item, error){
		e.oldMerges, e.patches,
		each(e.setNamespace), each(addPrefix), each(addSuffix),
		each(e.addLabels), each(e.addAnnotations),
		e.oldOperations,
		each(e.setReplicas), each(e.setImages),
	}
	for _, step := range steps {
		if err := e.src.ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if items, err = step(dir, k, items); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// each makes a step of a transformation that keeps the list as it is.
func each(f func(*types.Kustomization, []*item) error) func(string, *types.Kustomization, []*item) ([]*item, error) {
	return func(_ string, k *types.Kustomization, items []*item) ([]*item, error) {
		return items, f(k, items)
	}
}

func (e *engine) setNamespace(k *types.Kustomization, items []*item) error {
	if k.Namespace == "" {
		return nil
	}
	filter := namespace.Filter{
		Namespace:              k.Namespace,
		FsSlice:                e.specs.of["namespace"],
		SetRoleBindingSubjects: namespace.DefaultSubjectsOnly,
	}
	for _, it := range items {
		it.res.StorePreviousId()
		if err := it.apply(filter); err != nil {
			return err
		}
		it.refresh()
	}
	if !unique(items) {
		return errUnsure
	}
	e.moved = false
	return nil
}

func addPrefix(k *types.Kustomization, items []*item) error {
	if k.NamePrefix == "" {
		return nil
	}
	filter := prefix.Filter{Prefix: k.NamePrefix, FieldSpec: types.FieldSpec{Path: types.MetadataNamePath}}
	return rename(items, filter, func(it *item) { it.res.AddNamePrefix(k.NamePrefix) })
}

func addSuffix(k *types.Kustomization, items []*item) error {
	if k.NameSuffix == "" {
		return nil
	}
	filter := suffix.Filter{Suffix: k.NameSuffix, FieldSpec: types.FieldSpec{Path: types.MetadataNamePath}}
	return rename(items, filter, func(it *item) { it.res.AddNameSuffix(k.NameSuffix) })
}

func rename(items []*item, filter kio.Filter, note func(*item)) error {
	for _, it := range items {
		if keepsName(it.original()) {
			continue
		}
		note(it)
		it.res.StorePreviousId()
		if err := it.apply(filter); err != nil {
			return err
		}
		it.refresh()
	}
	return nil
}

// keepsName reports whether a prefix or suffix leaves an object alone, because its
// name means something.
func keepsName(id resid.ResId) bool {
	return id.Kind == "CustomResourceDefinition" || id.Kind == "Namespace" ||
		id.Kind == "APIService" && id.Group == "apiregistration.k8s.io"
}

func (e *engine) addLabels(k *types.Kustomization, items []*item) error {
	for _, label := range k.Labels {
		fields, err := e.labelFields(label)
		if err != nil {
			return err
		}
		if err := setLabels(label.Pairs, fields, items); err != nil {
			return err
		}
		if len(label.FieldSpecs) > 0 { // which can be any fields
			refreshAll(items)
			e.moved = true
		}
	}
	return setLabels(k.CommonLabels, e.specs.of["commonLabels"], items)
}

// labelFields are the fields in which a label is set.
func (e *engine) labelFields(label types.Label) (types.FsSlice, error) {
	fields := append(types.FsSlice{}, label.FieldSpecs...)
	if label.IncludeSelectors {
		return fields.MergeAll(e.specs.of["commonLabels"])
	}
	var err error
	if label.IncludeTemplates {
		if fields, err = fields.MergeAll(e.specs.of["templateLabels"]); err != nil {
			return nil, err
		}
	}
	if label.IncludeVolumeClaimTemplates {
		if fields, err = fields.MergeAll(e.specs.of["volumeClaimTemplateLabels"]); err != nil {
			return nil, err
		}
	}
	return fields.MergeOne(types.FieldSpec{Path: "metadata/labels", CreateIfNotPresent: true})
}

func setLabels(pairs map[string]string, fields types.FsSlice, items []*item) error {
	if len(pairs) == 0 {
		return nil
	}
	applicable := selection{fields: fields}
	for _, it := range items {
		if err := it.apply(labels.Filter{Labels: pairs, FsSlice: applicable.to(it.id.Gvk)}); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) addAnnotations(k *types.Kustomization, items []*item) error {
	if len(k.CommonAnnotations) == 0 {
		return nil
	}
	applicable := selection{fields: e.specs.of["commonAnnotations"]}
	for _, it := range items {
		filter := annotations.Filter{Annotations: k.CommonAnnotations, FsSlice: applicable.to(it.id.Gvk)}
		if err := it.apply(filter); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) setReplicas(k *types.Kustomization, items []*item) error {
	for _, replica := range k.Replicas {
		found := false
		for _, spec := range e.specs.of["replicas"] {
			for _, it := range items {
				if !it.isNamed(replica.Name, &spec.Gvk) {
					continue
				}
				found = true
				if err := it.apply(replicacount.Filter{Replica: replica, FieldSpec: spec}); err != nil {
					return err
				}
			}
		}
		if !found {
			return errUnsure
		}
	}
	return nil
}

// isNamed reports whether the object is of a kind and has a name, or was and had.
func (it *item) isNamed(name string, kind *resid.Gvk) bool {
	if it.id.Name == name && it.id.Gvk.IsSelected(kind) {
		return true
	}
	for _, was := range it.was {
		if was.Name == name && was.Gvk.IsSelected(kind) {
			return true
		}
	}
	return false
}

// apply runs one of kustomize's filters on the object.
func (it *item) apply(filter kio.Filter) error {
	it.value = nil
	return it.res.ApplyFilter(filter)
}

func refreshAll(items []*item) {
	for _, it := range items {
		it.refresh()
	}
}

// selection remembers which fields a kind of object has at all.
type selection struct {
	fields types.FsSlice
	byKind map[resid.Gvk]types.FsSlice
}

func (s *selection) to(kind resid.Gvk) types.FsSlice {
	if list, ok := s.byKind[kind]; ok {
		return list
	}
	var list types.FsSlice
	for _, field := range s.fields {
		if kind.IsSelected(&field.Gvk) {
			list = append(list, field)
		}
	}
	if s.byKind == nil {
		s.byKind = map[resid.Gvk]types.FsSlice{}
	}
	s.byKind[kind] = list
	return list
}
