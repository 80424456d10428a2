package fluxssa

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/object"
	flux "github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// UnmappedError names objects whose types the server does not serve (any more), so
// that they cannot be addressed.
type UnmappedError struct {
	Objects []gc.Key // never empty
	Err     error    // why the first of them could not be mapped
}

func (e *UnmappedError) Error() string {
	const most = 3
	var names []string
	for _, k := range e.Objects[:min(most, len(e.Objects))] {
		names = append(names, k.String())
	}
	if n := len(e.Objects) - most; n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	return fmt.Sprintf("the API server does not tell how it serves %s: %v; install the definitions, or leave the objects out",
		strings.Join(names, ", "), e.Err)
}

// Unwrap returns why the first could not be mapped.
func (e *UnmappedError) Unwrap() error { return e.Err }

// Inventory makes an inventory of Flux's identifiers, which have no version and no
// resource: those come from mapper, in the version that the server prefers. The
// error is an *[UnmappedError], and the inventory then holds the others.
func Inventory(set object.ObjMetadataSet, mapper meta.RESTMapper) (gc.Inventory, error) {
	m := mapping{mapper: mapper}
	for _, id := range set {
		m.add(id, "")
	}
	return m.result()
}

// ObjMetadataSet returns Flux's identifiers of an inventory's objects, in the
// order of the inventory.
func ObjMetadataSet(inv gc.Inventory) object.ObjMetadataSet {
	out := make(object.ObjMetadataSet, 0, len(inv))
	for _, e := range inv {
		out = append(out, object.ObjMetadata{GroupKind: e.GVK().GroupKind(), Namespace: e.Namespace, Name: e.Name})
	}
	return out
}

// Result says in package ssa's words what a ChangeSet says, in its order. What was
// deleted is left out. An object of unknown fate is Failed with [ErrUntold], and
// stays in the inventory. The error is an *[UnmappedError]; the result is complete
// but for the inventory, which then holds the others.
func Result(changes *flux.ChangeSet, mapper meta.RESTMapper) (*ssa.Result, error) {
	res := &ssa.Result{}
	m := mapping{mapper: mapper}
	for _, c := range changes.Entries {
		if c.Action == flux.DeletedAction {
			continue
		}
		res.Changes = append(res.Changes, change(c))
		m.add(c.ObjMetadata, c.GroupVersion)
	}
	var err error
	res.Entries, err = m.result()
	return res, err
}

// mapping makes entries of identifiers.
type mapping struct {
	mapper   meta.RESTMapper
	entries  []gc.Entry
	unmapped UnmappedError
}

func (m *mapping) add(id object.ObjMetadata, version string) {
	var versions []string
	if version != "" {
		versions = append(versions, version)
	}
	mapped, err := m.mapper.RESTMapping(id.GroupKind, versions...)
	if err != nil {
		if m.unmapped.Err == nil {
			m.unmapped.Err = err
		}
		m.unmapped.Objects = append(m.unmapped.Objects, keyOf(id))
		return
	}
	m.entries = append(m.entries, gc.Entry{Key: keyOf(id), Version: mapped.GroupVersionKind.Version, Resource: mapped.Resource.Resource})
}

func (m *mapping) result() (gc.Inventory, error) {
	inv := gc.NewInventory(m.entries...)
	if len(m.unmapped.Objects) > 0 {
		return inv, &m.unmapped
	}
	return inv, nil
}

func keyOf(id object.ObjMetadata) gc.Key {
	return gc.Key{Group: id.GroupKind.Group, Kind: id.GroupKind.Kind, Namespace: id.Namespace, Name: id.Name}
}

// ErrUntold says that the engine does not tell what became of an object: it may
// have been applied.
var ErrUntold = errors.New("the engine does not tell whether it was applied")

// change is what happened to one object.
func change(c flux.ChangeSetEntry) ssa.Change {
	out := ssa.Change{Key: keyOf(c.ObjMetadata)}
	switch c.Action {
	case flux.CreatedAction:
		out.Action = ssa.Created
	case flux.ConfiguredAction:
		out.Action = ssa.Configured
	case flux.UnchangedAction:
		out.Action = ssa.Unchanged
	case flux.SkippedAction:
		out.Action = ssa.Skipped
	default:
		out.Action = ssa.Failed
		out.Err = &ssa.ObjectError{Key: out.Key, Op: "apply", Reason: ErrUntold.Error(), Err: ErrUntold}
	}
	return out
}
