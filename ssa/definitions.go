package ssa

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// A definition that changes may take fields from its custom resources without a
// write, or give them new ones. So each of them is recorded with the definition that
// it was applied under, and asked for when there is another.

var crdResource = schema.GroupVersionResource{Group: crdKind.Group, Version: "v1", Resource: "customresourcedefinitions"}

// definition is what defines a type of custom resources.
type definition struct {
	name       string
	item       *item // if it is in the set
	known      bool  // the rest is
	uid        types.UID
	generation int64
}

// builtIn are the groups of Kubernetes itself, without ".k8s.io". Others with this
// end are defined like anybody's.
var builtIn = [...]string{
	"admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates",
	"coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver", "networking", "node",
	"rbac.authorization", "resource", "scheduling", "storage", "storagemigration",
}

// mayBeDefined tells groups that may have definitions.
func mayBeDefined(group string) bool {
	name, official := strings.CutSuffix(group, ".k8s.io")
	return strings.Contains(group, ".") && !(official && slices.Contains(builtIn[:], name))
}

// define gives the custom resources of a set their definitions, and returns those
// that are not in the set.
func (s *set) define() map[string]*definition {
	all, last := map[string]*definition{}, (*item)(nil)
	for _, it := range s.items {
		switch {
		case it.entry.Resource == "" || !mayBeDefined(it.entry.Group):
			continue
		case last != nil && last.entry.Group == it.entry.Group && last.entry.Resource == it.entry.Resource:
			it.definition = last.definition
			continue
		}
		name := it.entry.Resource + "." + it.entry.Group
		if all[name] == nil {
			all[name] = &definition{name: name}
		}
		it.definition, last = all[name], it
	}
	if len(all) == 0 {
		return nil
	}
	for _, it := range s.items {
		if d := all[it.entry.Name]; d != nil && it.entry.GVK().GroupKind() == crdKind {
			d.item = it
			delete(all, d.name)
		}
	}
	return all
}

// lookUp begins to find definitions in the cluster: one metadata request for all,
// or none where there is a watch. The function that it returns waits for the end.
func (a *Applier) lookUp(ctx context.Context, s *set, definitions map[string]*definition) (wait func()) {
	if len(definitions) == 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if a.definitionsWatched(ctx, s, definitions) {
			return
		}
		if len(definitions) > 1 {
			_, err := a.client.Scan(ctx, crdResource, "", "", func(l *kube.Listed) error {
				if d := definitions[string(l.Name)]; d != nil {
					d.is(types.UID(l.UID), l.Generation)
				}
				return nil
			})
			if err == nil {
				complete(definitions)
				return
			}
			if !apierrors.IsForbidden(err) {
				return // what is wrong shows elsewhere
			}
			s.note(&FallbackError{Resource: crdResource, Verb: "list", Err: err})
		}
		a.lookUpEach(ctx, s, definitions)
	}()
	return func() { <-done }
}

func (a *Applier) lookUpEach(ctx context.Context, s *set, definitions map[string]*definition) {
	var g errgroup.Group
	g.SetLimit(a.concurrency)
	for _, d := range definitions {
		g.Go(func() error {
			m, err := a.client.GetMetadata(ctx, kube.Target{GroupVersionResource: crdResource, Name: d.name})
			switch {
			case err == nil:
				d.is(m.UID, m.Generation)
			case apierrors.IsNotFound(err):
				d.is("", 0)
			case apierrors.IsForbidden(err):
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		s.note(&FallbackError{Resource: crdResource, Verb: "get", Err: err})
	}
}

// definitionsWatched finds the definitions by a watch for all, if there is one that
// can be believed.
func (a *Applier) definitionsWatched(ctx context.Context, s *set, definitions map[string]*definition) bool {
	ws := a.watching.Load()
	if ws == nil {
		return false
	}
	w, err := ws.of(watchKey{place: place{gvr: crdResource}}, crdKind.Kind, true)
	if err != nil {
		s.note(&FallbackError{Resource: crdResource, Verb: "watch", Err: err})
	}
	if w == nil || !w.ready(ctx) {
		return false
	}
	if refused := w.refusal(); refused != nil {
		s.note(refused)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.believed() {
		return false
	}
	for name, d := range definitions {
		if sight, ok := w.objects[name]; ok {
			d.is(sight.uid, sight.generation)
		}
	}
	complete(definitions)
	return true
}

// complete takes those that were not found for absent: what serves their types is
// no definition.
func complete(definitions map[string]*definition) {
	for _, d := range definitions {
		d.known = true
	}
}

func (d *definition) is(uid types.UID, generation int64) {
	d.known, d.uid, d.generation = true, uid, generation
}

// defineInSet learns of definitions that are in the set what was found of them.
func (s *set) defineInSet() {
	for _, it := range s.items {
		d := it.definition
		switch {
		case d == nil || d.item == nil:
		case !slices.Contains(it.needs, d.item): // it bears the name, and defines something else
			it.definition = nil
		case d.item.asLeft:
			d.is(d.item.prev.UID, d.item.prev.Generation)
		case d.item.found != nil:
			d.is(d.item.found.meta.UID, d.item.found.meta.Generation)
		}
	}
}

// applied is the definition after what the set did to it. Objects that need it come
// later.
func (d *definition) applied() *definition {
	if d == nil || d.item == nil || d.item.entry.UID == "" {
		return d
	}
	return &definition{known: true, uid: d.item.entry.UID, generation: d.item.entry.Generation}
}

// digest identifies a definition and its generation, in 48 bits. It is empty where
// nothing is known, and for types that have none.
func (d *definition) digest() string {
	if d == nil || !d.known {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", d.uid, d.generation))
	return base64.RawStdEncoding.EncodeToString(sum[:6])
}

// An Entry's Owned is the digest of our entry in managedFields, and for custom
// resources that of the definition after it. Both are whole groups of base64.
const (
	ownedLength = 16
	ownsNothing = "AAAAAAAAAAAAAAAA" // in place of none, where a definition follows
)

func owned(entry string, d *definition) string {
	digest := d.digest()
	if entry == "" && digest != "" {
		entry = ownsNothing
	}
	return entry + digest
}

// ownedOf takes both apart.
func ownedOf(owned string) (entry, definition string) {
	n := min(len(owned), ownedLength)
	return owned[:n], owned[n:]
}

// redefinedOutside reports that an object's definition is not the one that the
// object was applied under, as far as that is known.
func (it *item) redefinedOutside() bool {
	d := it.definition
	if d == nil || !d.known {
		return false
	}
	_, recorded := ownedOf(it.prev.Owned)
	return recorded != d.digest()
}
