package ssa

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// maker makes the intents of a set: what is sent for each object.
type maker struct {
	owner, manager string
	byDefault      treatment
	rules          []ignoreRule
}

func (a *Applier) newMaker(opts ApplyOptions) (*maker, error) {
	byDefault, err := a.byDefault(opts)
	if err != nil {
		return nil, err
	}
	rules, err := parseIgnoreRules(opts.Ignore)
	return &maker{owner: opts.Owner, manager: a.manager, byDefault: byDefault, rules: rules}, err
}

// treatKeys are the annotations that treatmentOf reads, some of them also as labels.
var treatKeys = [...]string{PolicyAnnotation, ConflictAnnotation, FluxPolicyAnnotation, FluxForceAnnotation, FluxReconcileAnnotation}

func (m *maker) treatment(obj *unstructured.Unstructured) (treatment, error) {
	if !slices.ContainsFunc(treatKeys[:], func(key string) bool { return has(obj, "annotations", key) || has(obj, "labels", key) }) {
		return m.byDefault, nil
	}
	return treatmentOf(obj, m.byDefault)
}

// has reports whether an object has an annotation or label.
func has(obj *unstructured.Unstructured, field, key string) bool {
	md, _ := obj.Object["metadata"].(map[string]any)
	values, _ := md[field].(map[string]any)
	_, ok := values[key]
	return ok
}

// make returns an object as it is sent, and the fields that stay as they are in
// the cluster. It may be made in the scratch.
func (m *maker) make(obj *unstructured.Unstructured, key gc.Key, sc *scratch) (*unstructured.Unstructured, [][]string, error) {
	intent, err := normalize(obj, key, m.owner, sc)
	if err != nil || len(m.rules) == 0 {
		return intent, nil, err
	}
	intent, adopt := ignoreFields(m.rules, key, intent)
	return intent, adopt, nil
}

// digest finds out whether the object is intended as it was applied the last time.
// The intent is not kept: for most objects it is not needed again.
func (it *item) digest(sc *scratch) error {
	intent, adopt, err := it.maker.make(it.object, it.entry.Key, sc)
	if err != nil {
		return it.wrong(err.Error())
	}
	it.adopt = adopt
	digest := sc.hash.intentDigest(intent.Object, it.maker.manager, it.treat.conflicts, adopt)
	if it.entry.Intent = it.prev.Intent; string(digest) != it.entry.Intent {
		it.entry.Intent = string(digest)
	}
	return nil
}

// want returns the object as it is sent.
func (it *item) want() *unstructured.Unstructured {
	if it.intent == nil {
		// It was made before, without an error.
		it.intent, _, _ = it.maker.make(it.object, it.entry.Key, nil)
	}
	return it.intent
}

// intend finds out what is to be done with the objects of a set: in what order,
// and which of them need nothing, but for a full check. What is in the cluster is
// looked up meanwhile.
// gone says why nothing can be done.
func (a *Applier) intend(ctx context.Context, s *set, owner string, full bool) (gone, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := func() error { return nil }
	if !full {
		looked = a.look(ctx, s, owner, func(it *item) bool { return it.entry.Resource != "" && !it.done })
	}
	lookedUp := a.lookUp(ctx, s, s.define())
	wrong := &faults{}
	s.each(wrong, func() func(int, *item) error {
		sc := &scratch{}
		return func(_ int, it *item) error { return it.digest(sc) }
	})
	if err = wrong.err(); err == nil {
		err = s.link()
	}
	if err != nil {
		cancel()
		_ = looked() // nothing is found out any more
		lookedUp()
		return nil, err
	}
	if full { // most objects are sent in any case
		looked = a.look(ctx, s, owner, func(it *item) bool {
			return it.entry.Resource != "" && !it.done && (!it.same() || it.treat.policy == IfNotPresent)
		})
	}
	gone = looked()
	lookedUp()
	s.defineInSet()
	s.each(wrong, func() func(int, *item) error {
		return func(_ int, it *item) error {
			a.decide(it, full)
			return nil
		}
	})
	return gone, nil
}
