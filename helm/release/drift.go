package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"helm.sh/helm/v3/pkg/releaseutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// DriftAnnotation with the value disabled on an object of the chart leaves changes
// of the live one alone.
const DriftAnnotation = "gitopskit.dev/drift-detection"

const (
	maxFields = 100 // of one object that are reported
	maxValue  = 200 // bytes of a value that is reported
	masked    = "***"
)

// findDrift looks for objects that are not what the release says. Those whose
// version is as it was are not looked at.
func (j *job) findDrift(ctx context.Context) (bool, error) {
	moved, err := j.moved(ctx)
	if err != nil || moved != nil && len(moved) == 0 {
		return false, err
	}
	rules, err := compileRules(j.spec.Drift.Ignore)
	if err != nil {
		return false, err
	}
	k, err := j.read(ctx)
	if err != nil {
		return false, err
	}
	objects, err := parse(k.Manifest)
	if err != nil {
		return false, err
	}
	var mu sync.Mutex
	known := map[Object]LiveObject{}
	for _, l := range j.state.Live {
		known[l.Object.same()] = l
	}
	j.result.Drift = nil
	err = j.each(ctx, objects, func(ctx context.Context, obj *unstructured.Unstructured) error {
		if _, err := j.target(ctx, obj); err != nil {
			return err
		}
		if moved != nil && !moved[objectOf(obj).same()] || j.optsOut(obj) {
			return nil
		}
		change, live, err := j.compare(ctx, obj, rules)
		switch {
		case ctx.Err() != nil || kube.Unreachable(err):
			return err
		case err != nil: // it does not keep the others from being corrected
			change = Change{Object: objectOf(obj), Op: Refused, Message: err.Error(), Err: err}
		}
		mu.Lock()
		defer mu.Unlock()
		if change.Op != "" {
			j.result.Drift = append(j.result.Drift, change)
		} else {
			known[objectOf(obj).same()] = live
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	j.remember(known)
	slices.SortFunc(j.result.Drift, func(a, b Change) int { return strings.Compare(a.Object.String(), b.Object.String()) })
	return len(j.result.Drift) > 0, nil
}

// remember keeps the versions at which objects matched the release.
func (j *job) remember(known map[Object]LiveObject) {
	j.state.Live = slices.SortedFunc(maps.Values(known), func(a, b LiveObject) int {
		return strings.Compare(a.Object.Group+a.Object.String(), b.Object.Group+b.Object.String())
	})
}

// moved lists the objects whose version is another than when they matched, in one
// request for each type and namespace. Without a state it is nil: any may have.
func (j *job) moved(ctx context.Context) (map[Object]bool, error) {
	if len(j.state.Live) == 0 {
		return nil, nil //nolint:nilnil // nil says that nothing is known
	}
	places := map[place]map[string]LiveObject{}
	for _, l := range j.state.Live {
		p := place{schema.GroupVersionResource{Group: l.Object.Group, Version: l.Object.Version, Resource: l.Resource}, l.Object.Namespace}
		if places[p] == nil {
			places[p] = map[string]LiveObject{}
		}
		places[p][l.Object.Name] = l
	}
	moved := map[Object]bool{}
	for p, expected := range places {
		if !j.watched(p, expected) {
			if err := j.listed(ctx, p, expected); err != nil {
				return nil, err
			}
		}
		for _, l := range expected {
			moved[l.Object.same()] = true
		}
	}
	return moved, nil
}

// watched drops the objects that are as expected, if there is a watch to believe.
func (j *job) watched(p place, expected map[string]LiveObject) bool {
	ws := j.watching.Load()
	if ws == nil {
		return false
	}
	w := ws.of(p)
	return w != nil && w.drop(expected)
}

// listed drops the objects that are as expected, by a list; one object is asked for
// by its name, because a list has those of all releases.
func (j *job) listed(ctx context.Context, p place, expected map[string]LiveObject) error {
	var err error
	if len(expected) == 1 {
		for name := range expected {
			var m *metav1.PartialObjectMetadata
			m, err = j.client.GetMetadata(ctx, kube.Target{GroupVersionResource: p.GroupVersionResource, Namespace: p.namespace, Name: name})
			if err == nil && expected[name].is(versionOf(m)) {
				delete(expected, name)
			}
		}
	} else {
		_, err = j.client.Scan(ctx, p.GroupVersionResource, p.namespace, managedByLabel+"="+managedBy, func(l *kube.Listed) error {
			if e, ok := expected[string(l.Name)]; ok && !l.Deleting && e.is(version{string(l.UID), string(l.ResourceVersion)}) {
				delete(expected, e.Object.Name)
			}
			return nil
		})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("look for drift of %s: %s: %w", p.Resource, kube.Explain(err), err)
	}
	return nil
}

func (l LiveObject) is(v version) bool { return v == version{l.UID, l.ResourceVersion} }

func (j *job) optsOut(obj *unstructured.Unstructured) bool {
	for _, key := range append([]string{DriftAnnotation}, j.spec.Drift.OptOut...) {
		if obj.GetAnnotations()[key] == "disabled" {
			return true
		}
	}
	return false
}

// compare compares a live object with what an apply would make of it.
func (j *job) compare(ctx context.Context, obj *unstructured.Unstructured, rules []rule) (Change, LiveObject, error) {
	t, err := j.target(ctx, obj)
	if err != nil {
		return Change{}, LiveObject{}, err
	}
	j.own(obj)
	o := objectOf(obj)
	live, err := j.client.Get(ctx, t)
	if apierrors.IsNotFound(err) {
		return Change{Object: o, Op: Missing, Message: "it does not exist"}, LiveObject{}, nil
	}
	if err != nil {
		return Change{}, LiveObject{}, j.fault(obj, "read", err)
	}
	as := LiveObject{Object: o, Resource: t.Resource, UID: string(live.GetUID()), ResourceVersion: live.GetResourceVersion()}
	for _, path := range ignored(rules, obj) {
		adopt(obj.Object, live.Object, path)
	}
	body, err := intentOf(obj)
	if err != nil {
		return Change{}, as, j.fault(obj, "write", err)
	}
	wanted, err := j.client.ApplyFull(ctx, t, body, kube.ApplyOptions{Manager: j.opts.Manager, Force: true, DryRun: true})
	if err != nil {
		if isImmutable(err) {
			return Change{Object: o, Op: Differs, Message: "a field that cannot be changed is another"}, as, nil
		}
		return Change{}, as, j.fault(obj, "compare", err)
	}
	d := differ{secret: o.secret()}
	d.compare("", withoutNoise(live), withoutNoise(wanted.Object))
	if len(d.fields) == 0 {
		return Change{}, as, nil
	}
	return Change{Object: o, Op: Differs, Fields: d.fields}, as, nil
}

// withoutNoise is an object without what changes by itself.
func withoutNoise(u *unstructured.Unstructured) map[string]any {
	out := maps.Clone(u.Object)
	delete(out, "status")
	if md, ok := out["metadata"].(map[string]any); ok {
		md = maps.Clone(md)
		for _, field := range []string{"managedFields", "resourceVersion", "generation", "creationTimestamp"} {
			delete(md, field)
		}
		out["metadata"] = md
	}
	return out
}

// differ collects the fields in which two objects differ.
type differ struct {
	secret bool
	fields []FieldChange
}

func (d *differ) compare(path string, live, want any) {
	if len(d.fields) >= maxFields {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		if l, ok := live.(map[string]any); ok {
			d.maps(path, l, w)
			return
		}
	case []any:
		if l, ok := live.([]any); ok && len(l) == len(w) {
			for i := range w {
				d.compare(path+"/"+strconv.Itoa(i), l[i], w[i])
			}
			return
		}
	}
	if a, b := text(live), text(want); a != b {
		d.add(path, a, b)
	}
}

func (d *differ) maps(path string, live, want map[string]any) {
	keys := map[string]bool{}
	for key := range live {
		keys[key] = true
	}
	for key := range want {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		below := path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		l, inLive := live[key]
		w, inWant := want[key]
		switch {
		case inLive && inWant:
			d.compare(below, l, w)
		case inLive:
			d.add(below, text(l), "")
		default:
			d.add(below, "", text(w))
		}
	}
}

func (d *differ) add(path, live, want string) {
	if d.secret {
		live, want = mask(live), mask(want)
	}
	if len(d.fields) < maxFields {
		d.fields = append(d.fields, FieldChange{clip.Quote(path, maxMessage), clip.Quote(live, maxValue), clip.Quote(want, maxValue)})
	}
}

func mask(text string) string {
	if text == "" {
		return ""
	}
	return masked
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// correctDrift applies what differs. One object that cannot be corrected does not
// keep the others.
func (j *job) correctDrift(ctx context.Context, step *Step) error {
	k, err := j.read(ctx)
	if err != nil {
		return err
	}
	step.Version = k.Version
	objects, err := parse(k.Manifest)
	if err != nil {
		return err
	}
	rules, err := compileRules(j.spec.Drift.Ignore)
	if err != nil {
		return err
	}
	drifted := map[Object]bool{}
	for _, c := range j.result.Drift {
		drifted[c.Object.same()] = true
	}
	a := &applying{step: step, recreate: j.spec.Upgrade.Recreate}
	var errs []error
	for _, group := range inOrder(objects, releaseutil.InstallOrder) {
		errs = append(errs, j.each(ctx, group, func(ctx context.Context, obj *unstructured.Unstructured) error {
			t, err := j.target(ctx, obj)
			if err != nil || !drifted[objectOf(obj).same()] {
				return err
			}
			if paths := ignored(rules, obj); len(paths) > 0 {
				live, err := j.client.Get(ctx, t)
				if err != nil && !apierrors.IsNotFound(err) {
					return j.fault(obj, "read", err)
				}
				if err == nil {
					for _, path := range paths {
						adopt(obj.Object, live.Object, path)
					}
				}
			}
			return j.applyOne(ctx, a, obj)
		}))
	}
	known := map[Object]LiveObject{}
	for _, l := range append(j.state.Live, a.live...) {
		known[l.Object.same()] = l
	}
	j.remember(known)
	return errors.Join(errs...)
}
