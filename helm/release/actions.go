package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

var errTimeout = errors.New("the time for it is up")

// act does one action, and notes what it did.
func (j *job) act(ctx context.Context, action Action, why string, timeout time.Duration, do func(context.Context, *Step) error) error {
	step := &Step{Action: action, Why: why, Started: time.Now()}
	j.doing = action
	j.tell(action, false, "%s", why)
	timed, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w after %s", errTimeout, timeout))
	defer cancel()
	step.Err = do(timed, step)
	step.Took = time.Since(step.Started)
	j.result.Steps = append(j.result.Steps, *step)
	message := "done"
	if step.Err != nil {
		message = step.Err.Error()
	}
	j.tell(action, true, "%s", clip.Quote(message, maxMessage))
	return step.Err
}

// An action has two contexts: outer is the caller's, for what has to be written
// although the time of the action is up.

// version makes the record of the next version.
func (j *job) version(number int, status Status, description string, from *kept) *kept {
	r := &record{Name: j.spec.Name, Namespace: j.spec.Namespace, Version: number,
		Info: recordInfo{FirstDeployed: now(), LastDeployed: now(), Status: status, Description: description}}
	k := &kept{record: r, labels: map[string]string{}}
	if from != nil {
		r.Info.FirstDeployed, k.labels = from.Info.FirstDeployed, userLabels(from.labels)
	}
	return k
}

// fill puts what was rendered into a record.
func (j *job) fill(k *kept, r *rendered) (err error) {
	k.Manifest, k.Hooks, k.Info.Notes = r.manifest, r.hooks, r.notes
	if k.Chart, err = j.spec.Chart.MarshalJSON(); err != nil {
		return err
	}
	if k.Config, err = j.spec.config(); err != nil {
		return err
	}
	k.labels[markLabel] = j.mark(k)
	return nil
}

// mark is how a version is known as one that this engine made of an intent.
func (j *job) mark(k *kept) string {
	return sum(j.intent, fmt.Sprint(k.Version), k.Manifest)[:40]
}

// install makes the first version, or the first after an uninstallation.
func (j *job) install(outer, ctx context.Context, step *Step) error {
	o := j.spec.Install
	if o.CreateNamespace {
		if err := j.createNamespaces(ctx); err != nil {
			return err
		}
	}
	var last *kept
	step.Version = 1
	if latest := j.latest(); latest != nil {
		step.Version = latest.version + 1
		last, _ = j.read(ctx) // only for its labels
	}
	k := j.version(step.Version, PendingInstall, "Initial install underway", nil)
	if last != nil {
		k.labels = userLabels(last.labels)
	}
	objects, err := j.prepare(ctx, step, k, prepare{crds: o.CRDs, skipSchema: o.SkipSchema, takeOwnership: o.TakeOwnership})
	if err != nil {
		return err
	}
	if err := j.begin(ctx, k); err != nil {
		return err
	}
	a := &applying{step: step}
	return j.finish(outer, k, "Install complete", fmt.Sprintf("Release %q failed: ", k.Name), j.roll(ctx, k, a, rollOut{
		objects: objects, before: preInstall, after: postInstall,
		hooks: !o.DisableHooks, wait: !o.DisableWait, jobs: !o.DisableJobs,
	}))
}

// upgrade makes the next version.
func (j *job) upgrade(outer, ctx context.Context, step *Step) error {
	o := j.spec.Upgrade
	last, previous, err := j.previous(ctx, step)
	if err != nil {
		return err
	}
	if o.PreserveValues && last != nil {
		if j.spec.Values, err = preserved(last, j.spec.Values); err != nil {
			return err
		}
	}
	step.Version = j.latest().version + 1
	k := j.version(step.Version, PendingUpgrade, "Preparing upgrade", last)
	objects, err := j.prepare(ctx, step, k, prepare{crds: o.CRDs, skipSchema: o.SkipSchema, upgrade: true, takeOwnership: o.TakeOwnership, previous: previous})
	if err != nil {
		return err
	}
	if err := j.begin(ctx, k); err != nil {
		return err
	}
	a := &applying{step: step, recreate: o.Recreate}
	err = j.roll(ctx, k, a, rollOut{
		objects: objects, previous: previous, before: preUpgrade, after: postUpgrade,
		hooks: !o.DisableHooks, wait: !o.DisableWait, jobs: !o.DisableJobs,
	})
	if err != nil && o.CleanupOnFail {
		err = errors.Join(err, j.deleteCreated(outer, step, objects))
	}
	return j.finish(outer, k, "Upgrade complete", fmt.Sprintf("Upgrade %q failed: ", k.Name), err)
}

// preserved merges values over those of the last version.
func preserved(last *kept, values map[string]any) (map[string]any, error) {
	old := map[string]any{}
	if len(last.Config) > 0 {
		if err := json.Unmarshal(last.Config, &old); err != nil {
			return nil, fmt.Errorf("the values of version %d: %w", last.Version, errNotRecord)
		}
	}
	overlay(old, values)
	return old, nil
}

// overlay merges b over a.
func overlay(a, b map[string]any) {
	for key, value := range b {
		below, ok := a[key].(map[string]any)
		if over, both := value.(map[string]any); ok && both {
			overlay(below, over)
			continue
		}
		a[key] = value
	}
}

// rollback makes an earlier version the next one.
func (j *job) rollback(outer, ctx context.Context, step *Step, target *kept) error {
	o := j.spec.Rollback
	last, previous, err := j.previous(ctx, step)
	if err != nil {
		return err
	}
	step.Version = j.latest().version + 1
	k := j.version(step.Version, PendingRollback, fmt.Sprintf("Rollback to %d", target.Version), last)
	k.Manifest, k.Hooks, k.Chart, k.Config, k.Info.Notes = target.Manifest, target.Hooks, target.Chart, target.Config, target.Info.Notes
	k.labels = userLabels(target.labels)
	objects, err := parse(k.Manifest)
	if err != nil {
		return err
	}
	if err := j.checkOwners(ctx, &applying{step: step}, objects, previous); err != nil {
		return err
	}
	if err := j.begin(ctx, k); err != nil {
		return err
	}
	intent := ""
	if snap := j.state.snapshot(target.Version); snap != nil {
		intent = snap.Intent
	}
	a := &applying{step: step, recreate: o.Recreate}
	err = j.roll(ctx, k, a, rollOut{
		objects: objects, previous: previous, before: preRollback, after: postRollback,
		hooks: !o.DisableHooks, wait: !o.DisableWait, jobs: !o.DisableJobs,
	})
	if err != nil && o.CleanupOnFail {
		err = errors.Join(err, j.deleteCreated(outer, step, objects))
	}
	wanted := j.intent
	j.intent = intent // what was rolled back to is another intent
	defer func() { j.intent = wanted }()
	return j.finish(outer, k, k.Info.Description, fmt.Sprintf("Rollback %q failed: ", k.Name), err)
}

// prepare says how a version is prepared.
type prepare struct {
	crds          CRDPolicy
	upgrade       bool
	skipSchema    bool
	takeOwnership bool
	previous      []*unstructured.Unstructured
}

// prepare renders a version, and makes sure that its objects may be written.
func (j *job) prepare(ctx context.Context, step *Step, k *kept, p prepare) ([]*unstructured.Unstructured, error) {
	r, err := j.render(ctx, k.Version, p.upgrade, p.skipSchema)
	if err != nil {
		return nil, err
	}
	created, err := j.definitions(ctx, step, r.crds, p.crds)
	if err != nil {
		return nil, err
	}
	if created { // templates ask what the server serves
		if r, err = j.render(ctx, k.Version, p.upgrade, p.skipSchema); err != nil {
			return nil, err
		}
	}
	if err := j.fill(k, r); err != nil {
		return nil, err
	}
	j.result.Notes = r.notes
	objects, err := parse(k.Manifest)
	if err != nil {
		return nil, err
	}
	step.logf("rendered %d objects and %d hooks as version %d", len(objects), len(k.Hooks), k.Version)
	a := &applying{step: step, takeOwnership: p.takeOwnership, awaitTypes: slices.ContainsFunc(objects, isDefinition)}
	return objects, j.checkOwners(ctx, a, objects, p.previous)
}

// begin stores a version that is about to be made, which locks the release for
// everybody else.
func (j *job) begin(ctx context.Context, k *kept) error {
	if j.spec.MaxHistory > 0 {
		if err := j.store.prune(ctx, j.history, j.spec.MaxHistory-1); err != nil {
			return err
		}
	}
	if err := j.store.create(ctx, k); err != nil {
		return err
	}
	j.written = true
	return nil
}

// rollOut is what is done for a version once it is stored.
type rollOut struct {
	objects, previous []*unstructured.Unstructured
	before, after     string
	hooks, wait, jobs bool
}

// roll brings a version to the cluster.
func (j *job) roll(ctx context.Context, k *kept, a *applying, r rollOut) error {
	if r.hooks {
		if err := j.hooks(ctx, a.step, k, r.before, nil); err != nil {
			return err
		}
	}
	err := j.apply(ctx, a, r.objects, r.previous)
	j.state.Live = a.live
	a.step.logf("applied %d objects", len(a.live))
	if err != nil {
		return err
	}
	if r.wait && !j.spec.Wait.Disable {
		a.step.logf("waiting for the objects to be ready")
		if err := j.awaitReady(ctx, r.objects, r.jobs); err != nil {
			return err
		}
	}
	if r.hooks {
		return j.hooks(ctx, a.step, k, r.after, nil)
	}
	return nil
}

// finish stores what has become of a version.
func (j *job) finish(ctx context.Context, k *kept, success, failure string, err error) error {
	if ctx.Err() != nil { // nothing can be written: the next Reconcile unlocks it
		return errors.Join(err, context.Cause(ctx))
	}
	k.Info.Status, k.Info.Description = Deployed, success
	if err != nil {
		k.Info.Status, k.Info.Description = Failed, failure+clip.Quote(err.Error(), maxMessage)
	} else if superseded := j.supersede(ctx, k); superseded != nil {
		return superseded
	}
	if stored := j.store.update(ctx, k); stored != nil {
		return errors.Join(err, stored)
	}
	j.current = k
	j.observe(k)
	return errors.Join(err, j.refresh(ctx))
}

// supersede marks the versions that are deployed no more.
func (j *job) supersede(ctx context.Context, k *kept) error {
	for _, v := range j.history {
		if v.version == k.Version || v.status != Deployed && v.status != Uninstalled {
			continue
		}
		old, err := j.store.get(ctx, v.version)
		var corrupt *RecordError
		switch {
		case apierrors.IsNotFound(err):
			continue // somebody deleted it, or it had to make room
		case errors.As(err, &corrupt):
			if err := j.store.remove(ctx, v.version); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		old.Info.Status = Superseded
		if err := j.store.update(ctx, old); err != nil {
			return err
		}
		if snap := j.state.snapshot(v.version); snap != nil {
			snap.Status, snap.Digest, snap.ResourceVersion = Superseded, old.digest, old.resourceVersion
		}
	}
	return nil
}

// observe takes a version into the state.
func (j *job) observe(k *kept) {
	chart := k.chartInfo().Metadata
	j.state.observe(Snapshot{
		Version: k.Version, ResourceVersion: k.resourceVersion, Digest: k.digest, Intent: j.intent, Status: k.Info.Status,
		Action: j.doing, Content: k.content(),
		ChartName: chart.Name, ChartVersion: chart.Version, AppVersion: chart.AppVersion,
		ConfigDigest:  "sha256:" + sum(string(k.Config)),
		FirstDeployed: k.Info.FirstDeployed.Time, LastDeployed: k.Info.LastDeployed.Time,
	}, j.spec.MaxHistory)
}

// previous returns the latest version, and the objects that the release may have:
// those of the version that is deployed, and of the one that failed after it.
func (j *job) previous(ctx context.Context, step *Step) (*kept, []*unstructured.Unstructured, error) {
	versions := []int{j.latest().version}
	for _, v := range j.history {
		if v.status == Deployed && v.version != versions[0] {
			versions = append(versions, v.version)
		}
	}
	var last *kept
	seen := map[Object]bool{}
	var objects []*unstructured.Unstructured
	for _, version := range versions {
		k, err := j.store.get(ctx, version)
		var corrupt *RecordError
		if errors.As(err, &corrupt) {
			step.logf("version %d cannot be read: what only it had is left behind", version)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if last == nil {
			last = k
		}
		list, err := parse(k.Manifest)
		if err != nil {
			step.logf("the objects of version %d cannot be read: what only it had is left behind", version)
		}
		for _, obj := range list {
			if key := objectOf(obj).same(); !seen[key] {
				seen[key] = true
				objects = append(objects, obj)
			}
		}
	}
	return last, objects, nil
}

// uninstall deletes the objects and the history.
func (j *job) uninstall(outer, ctx context.Context, step *Step) error {
	o := j.spec.Uninstall
	last, objects, err := j.previous(ctx, step)
	if err != nil {
		return err
	}
	step.Version = j.latest().version
	if last != nil && last.Info.Status != Uninstalling {
		last.Info.Status, last.Info.Deleted, last.Info.Description = Uninstalling, now(), "Deletion in progress (or silently failed)"
		if err := j.store.update(ctx, last); err != nil {
			return err
		}
	}
	if last != nil && !o.DisableHooks {
		if err := j.hooks(ctx, step, last, preDelete, nil); err != nil {
			return err
		}
	}
	policy := map[string]metav1.DeletionPropagation{"foreground": metav1.DeletePropagationForeground,
		"orphan": metav1.DeletePropagationOrphan}[o.Propagation]
	or(&policy, metav1.DeletePropagationBackground)
	gone, err := j.delete(ctx, step, objects, policy)
	if err != nil {
		return err
	}
	step.logf("deleted %d objects", len(gone))
	if !o.DisableWait {
		if err := j.awaitGone(ctx, gone); err != nil {
			return err
		}
	}
	if last != nil && !o.DisableHooks {
		if err := j.hooks(ctx, step, last, postDelete, nil); err != nil {
			return err
		}
	}
	return j.forget(outer, last)
}

// forget ends the history of a release that is uninstalled.
func (j *job) forget(ctx context.Context, last *kept) error {
	j.state.History, j.state.Live, j.current = nil, nil, nil
	if last != nil && j.spec.Uninstall.KeepHistory {
		last.Info.Status, last.Info.Description = Uninstalled, "Uninstallation complete"
		if err := j.store.update(ctx, last); err != nil {
			return err
		}
		return j.refresh(ctx)
	}
	if err := j.refresh(ctx); err != nil {
		return err
	}
	for _, v := range j.history {
		if err := j.store.remove(ctx, v.version); err != nil {
			return err
		}
	}
	j.history = nil
	return nil
}

// unlock ends an action that nobody works on any more.
func (j *job) unlock(ctx context.Context, step *Step) error {
	k, err := j.read(ctx)
	if err != nil {
		return err
	}
	step.Version = k.Version
	step.logf("version %d is %s since %s", k.Version, k.Info.Status, k.Info.LastDeployed.Format(time.RFC3339))
	k.Info.Description = fmt.Sprintf("Release unlocked from stale %q state", k.Info.Status)
	k.Info.Status = Failed
	if err := j.store.update(ctx, k); err != nil {
		return err
	}
	return j.refresh(ctx)
}

// test runs the tests of the version that is deployed.
func (j *job) test(outer, ctx context.Context, step *Step) error {
	k, err := j.read(ctx)
	if err != nil {
		return err
	}
	step.Version = k.Version
	err = j.hooks(ctx, step, k, testEvent, j.wantsTest)
	if outer.Err() != nil {
		return errors.Join(err, context.Cause(outer))
	}
	if stored := j.store.update(outer, k); stored != nil {
		return errors.Join(err, stored)
	}
	snap := j.state.latest()
	if snap == nil {
		return err
	}
	snap.Digest, snap.ResourceVersion, snap.Tested, snap.Tests = k.digest, k.resourceVersion, true, map[string]TestPhase{}
	for _, h := range k.Hooks {
		if h.on(testEvent) && !h.LastRun.StartedAt.IsZero() {
			snap.Tests[h.Name] = TestPhase{Phase: h.LastRun.Phase, Started: h.LastRun.StartedAt.Time, Completed: h.LastRun.CompletedAt.Time}
		}
	}
	return err
}

// wantsTest applies the filters.
func (j *job) wantsTest(h *hook) bool {
	only := false
	for _, f := range j.spec.Test.Filters {
		if f.Name == h.Name {
			return !f.Exclude
		}
		only = only || !f.Exclude
	}
	return !only
}

// createNamespaces makes those that the release needs.
func (j *job) createNamespaces(ctx context.Context) error {
	for _, name := range slices.Compact([]string{j.spec.Namespace, j.spec.StorageNamespace}) {
		t := kube.Target{GroupVersionResource: namespaces(), Name: name}
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": name, "labels": map[string]any{"name": name}}}}
		_, err := j.client.Dynamic.Resource(t.GroupVersionResource).Create(ctx, obj, metav1.CreateOptions{FieldManager: j.opts.Manager})
		if err == nil || apierrors.IsAlreadyExists(err) {
			continue
		}
		if _, known := j.client.GetMetadata(ctx, t); known == nil {
			continue // it is there, and making namespaces is not for us
		}
		return j.fault(obj, "create", err)
	}
	return nil
}

// definitions brings the objects of the chart's crds directories to the cluster,
// and reports whether there is something new.
func (j *job) definitions(ctx context.Context, step *Step, crds []*unstructured.Unstructured, policy CRDPolicy) (bool, error) {
	if policy == SkipCRDs || len(crds) == 0 {
		return false, nil
	}
	var changed atomic.Bool
	err := j.each(ctx, crds, func(ctx context.Context, crd *unstructured.Unstructured) error {
		op, err := j.definition(ctx, crd, policy)
		if op == Created || op == Configured {
			changed.Store(true)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	step.logf("made sure of %d objects of the chart's crds directories", len(crds))
	if !changed.Load() {
		return false, nil
	}
	j.types.forget()
	return true, j.await(ctx, crds, func(_ context.Context, o Object, live *unstructured.Unstructured, gone bool) Health {
		if gone {
			return Health{o, notFound, "it does not exist"}
		}
		return byKstatus(o, live)
	})
}

func (j *job) definition(ctx context.Context, crd *unstructured.Unstructured, policy CRDPolicy) (Op, error) {
	t, err := j.target(ctx, crd)
	if err != nil {
		return "", err
	}
	if policy == CreateCRDs {
		_, err := j.client.Dynamic.Resource(t.GroupVersionResource).Namespace(t.Namespace).Create(ctx, crd, metav1.CreateOptions{FieldManager: j.opts.Manager})
		if apierrors.IsAlreadyExists(err) {
			return Unchanged, nil
		}
		if err != nil {
			return "", j.fault(crd, "create", err)
		}
		return Created, nil
	}
	body, err := intentOf(crd)
	if err != nil {
		return "", err
	}
	if _, err := j.applyBody(ctx, t, body); err != nil {
		return "", j.fault(crd, "apply", err)
	}
	return Configured, nil
}

func namespaces() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
}

// sameTarget reports whether a state is of the release that is desired.
func (s *State) sameTarget(spec *Spec) bool {
	return s.Name == "" || s.Name == spec.Name && s.Namespace == spec.Namespace && s.StorageNamespace == spec.StorageNamespace
}
