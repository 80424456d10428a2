package kustomize

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// fixer gives objects the new names of those that they refer to.
type fixer struct {
	specs   *fieldSpecs
	byName  map[string][]*item            // by each name that an object had
	byFirst map[string][]*item            // by the namespace that it had first
	byNow   map[string][]*item            // by the namespace that it has
	fields  map[[2]resid.Gvk][]*reference // by the kind of a referrer, first and now

	// Of the object that is being looked at:
	from     *item
	accounts map[string]bool // namespaces of the service accounts that it binds
}

// fixReferences follows all fields that can hold a name. Even where no name has
// changed kustomize does so, and fails if it cannot, so this engine gives up there.
func fixReferences(specs *fieldSpecs, items []*item) error {
	f := &fixer{specs: specs, fields: map[[2]resid.Gvk][]*reference{}}
	f.index(items)
	for _, it := range items {
		if err := f.fix(it); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixer) index(items []*item) {
	f.byName, f.byFirst, f.byNow = map[string][]*item{}, map[string][]*item{}, map[string][]*item{}
	for _, it := range items {
		for i, was := range it.was {
			before := it.was[:i]
			if !slices.ContainsFunc(before, func(id resid.ResId) bool { return id.Name == was.Name }) {
				f.byName[was.Name] = append(f.byName[was.Name], it)
			}
		}
		first, now := it.original().EffectiveNamespace(), it.id.EffectiveNamespace()
		f.byFirst[first] = append(f.byFirst[first], it)
		f.byNow[now] = append(f.byNow[now], it)
	}
}

func (f *fixer) fix(it *item) error {
	f.from, f.accounts = it, nil
	if it.id.Kind == "RoleBinding" {
		if err := f.bind(it); err != nil {
			return err
		}
	}
	for _, ref := range f.of(it) {
		if it.value != nil && !reaches(it.value, ref.path) {
			continue
		}
		if err := f.walk(it.res.YNode(), ref, ref.path); err != nil {
			return err
		}
	}
	return nil
}

// of lists the fields that an object may have.
func (f *fixer) of(it *item) []*reference {
	key := [2]resid.Gvk{it.original().Gvk, it.id.Gvk}
	list, ok := f.fields[key]
	if !ok {
		for i, ref := range f.specs.references {
			if key[0].IsSelected(&ref.referrer) {
				list = append(list, &f.specs.references[i])
			}
		}
		f.fields[key] = list
	}
	return list
}

// bind notes the namespaces of the service accounts that a role binding names,
// which it can refer to although they are not its own.
func (f *fixer) bind(it *item) error {
	subjects := field(it.res.YNode(), "subjects")
	if subjects == nil || subjects.Kind != yaml.SequenceNode {
		return nil
	}
	f.accounts = map[string]bool{}
	for _, s := range subjects.Content {
		ns, kind := field(s, "namespace"), field(s, "kind")
		if s.Kind != yaml.MappingNode || ns != nil && !isString(ns) || kind != nil && !isString(kind) {
			return errUnsure
		}
		if ns != nil && kind != nil && kind.Value == "ServiceAccount" {
			f.accounts[ns.Value] = true
		}
	}
	return nil
}

func isString(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagString
}

// reaches reports whether there may be something at a path.
func reaches(value any, path []string) bool {
	if len(path) == 0 {
		return value != nil
	}
	switch value := value.(type) {
	case nil:
		return false
	case map[string]any:
		next, ok := value[path[0]]
		return ok && reaches(next, path[1:])
	case []any:
		return slices.ContainsFunc(value, func(v any) bool { return reaches(v, path) })
	default:
		return true // a surprise, which is for walk
	}
}

func (f *fixer) walk(n *yaml.Node, ref *reference, path []string) error {
	switch {
	case n.Tag == yaml.NodeTagNull:
		return nil
	case len(path) == 0:
		return f.set(n, ref)
	case n.Kind == yaml.MappingNode:
		if next := field(n, path[0]); next != nil {
			return f.walk(next, ref, path[1:])
		}
		return nil
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if err := f.walk(item, ref, path); err != nil {
				return err
			}
		}
		return nil
	default:
		return errUnsure
	}
}

// set updates what is at the end of a path: a name, an object with a name and
// perhaps a namespace, or a list of such.
func (f *fixer) set(n *yaml.Node, ref *reference) error {
	switch n.Kind {
	case yaml.ScalarNode:
		return f.setName(n, ref)
	case yaml.MappingNode:
		return f.setObject(n, ref)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind == yaml.SequenceNode {
				return errUnsure
			}
			if item.Tag == yaml.NodeTagNull {
				continue
			}
			if err := f.set(item, ref); err != nil {
				return err
			}
		}
		return nil
	default:
		return errUnsure
	}
}

func (f *fixer) setName(n *yaml.Node, ref *reference) error {
	to, err := f.choose(n.Value, ref, func(*item) bool { return true }, false)
	if to == nil || err != nil || to.id.Name == n.Value {
		return err
	}
	f.from.value = nil
	return yaml.NewRNode(n).PipeE(yaml.FieldSetter{StringValue: to.id.Name})
}

func (f *fixer) setObject(n *yaml.Node, ref *reference) error {
	name := field(n, "name")
	if name == nil || name.Kind != yaml.ScalarNode || name.Tag == yaml.NodeTagNull {
		return errUnsure
	}
	in, err := f.namespaced(n)
	if err != nil {
		return err
	}
	to, err := f.choose(name.Value, ref, in, true)
	if to == nil || err != nil || to.id.Name == name.Value && to.id.Namespace == "" {
		return err
	}
	f.from.value = nil
	object := yaml.NewRNode(n)
	if err := object.PipeE(yaml.FieldSetter{Name: "name", StringValue: to.id.Name}); err != nil || to.id.Namespace == "" {
		return err
	}
	return object.PipeE(yaml.FieldSetter{Name: "namespace", StringValue: to.id.Namespace})
}

// namespaced selects the objects of the namespace that a reference names. That is
// the one that objects had first, if there are any; only else the one they have.
func (f *fixer) namespaced(n *yaml.Node) (func(*item) bool, error) {
	ns := field(n, "namespace")
	switch {
	case ns == nil:
		return func(*item) bool { return true }, nil
	case !isString(ns) || ns.Value == resid.TotallyNotANamespace:
		return nil, errUnsure
	case slices.ContainsFunc(f.byFirst[ns.Value], f.canRefer):
		return func(it *item) bool { return it.original().EffectiveNamespace() == ns.Value }, nil
	default:
		return func(it *item) bool { return it.id.EffectiveNamespace() == ns.Value }, nil
	}
}

// canRefer reports whether the object that is being looked at can refer to
// another at all: both in one namespace, or one in none, or a role binding and
// what is in the namespace of an account.
func (f *fixer) canRefer(to *item) bool {
	return f.from.id.IsClusterScoped() || to.id.IsClusterScoped() ||
		to.id.IsNsEquals(f.from.id) || f.accounts[to.id.Namespace]
}

// choose finds the object that a name stands for, or none. More than one is for
// kustomize to complain about.
func (f *fixer) choose(name string, ref *reference, in func(*item) bool, withNamespace bool) (*item, error) {
	var found []*item
	for _, it := range f.byName[name] {
		if in(it) && f.canRefer(it) && wasOf(it, &ref.target) {
			found = append(found, it)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	if ref.role {
		kind, err := f.roleKind()
		if err != nil {
			return nil, err
		}
		found = slices.DeleteFunc(found, func(it *item) bool { return !wasOf(it, kind) })
	}
	found = slices.DeleteFunc(found, func(it *item) bool { return !f.inSight(it) })
	if len(found) == 1 {
		return found[0], nil
	}
	found = f.closest(found)
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) == 1 || identical(found, withNamespace):
		return found[0], nil
	}
	return nil, errUnsure
}

// wasOf reports whether an object was of a kind before it was transformed.
func wasOf(it *item, kind *resid.Gvk) bool {
	return slices.ContainsFunc(it.was, func(id resid.ResId) bool { return id.IsSelected(kind) })
}

// roleKind is the kind that a role binding says that its role has. Without one
// kustomize looks no further, and here it is unusual enough to give up.
func (f *fixer) roleKind() (*resid.Gvk, error) {
	ref := field(f.from.res.YNode(), "roleRef")
	if ref == nil {
		return nil, errUnsure
	}
	group, kind := field(ref, "apiGroup"), field(ref, "kind")
	if group == nil || kind == nil || !isString(group) || !isString(kind) {
		return nil, errUnsure
	}
	return &resid.Gvk{Group: group.Value, Kind: kind.Value}, nil
}

// inSight reports whether an object is in the namespace of the referrer, or is one
// that need not be.
func (f *fixer) inSight(to *item) bool {
	return f.from.id.IsClusterScoped() || to.id.IsClusterScoped() ||
		to.id.Kind == "ServiceAccount" || f.from.id.IsNsEquals(to.id)
}

// closest keeps the objects that got the same prefixes and suffixes as the
// referrer, in the same layers; if there is but one in doubt, an object that got
// none is as good.
func (f *fixer) closest(found []*item) []*item {
	same := func(allowEmpty bool) []*item {
		var kept []*item
		for _, it := range found {
			if it.res.PrefixesSuffixesEquals(f.from.res, allowEmpty) {
				kept = append(kept, it)
			}
		}
		return kept
	}
	if found = same(true); len(found) > 1 {
		found = same(false)
	}
	return found
}

// identical reports whether it makes no difference which object is meant.
func identical(found []*item, withNamespace bool) bool {
	for _, it := range found[1:] {
		if it.id.Name != found[0].id.Name || withNamespace && it.id.Namespace != found[0].id.Namespace {
			return false
		}
	}
	return true
}
