package release

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// Reconcile makes a release what the Spec asks for, and says what it did. state is
// that of the last Result, or empty. One call is one attempt: it takes each action
// at most once, and stops after a failure and what undoes it.
//
// The Result is never nil but for a *SpecError, and complete even with an error:
// its State has to be kept, or failures are not counted. The error is an
// *ActionError when an action failed and may be tried again, an *ExhaustedError or
// *RollbackTargetError when only another Spec helps, or says why the release could
// not be looked at. When ctx ends in the middle of an action, the release stays
// locked, and the next Reconcile unlocks it.
func (e *Engine) Reconcile(ctx context.Context, spec Spec, state State) (*Result, error) {
	spec = spec.withDefaults()
	if err := spec.complete(); err != nil {
		return nil, err
	}
	intent, err := spec.intent()
	if err != nil {
		return nil, err
	}
	j := e.job(spec, state)
	j.intent = intent
	err = j.move(ctx)
	if err == nil {
		err = j.reconcile(ctx)
	}
	j.result.State = j.state
	return j.result, err
}

// Uninstall deletes a release's objects and its history; one that is not there is
// uninstalled already. Of the Spec it needs the names and the options of
// uninstallations.
func (e *Engine) Uninstall(ctx context.Context, spec Spec, state State) (*Result, error) {
	spec = spec.withDefaults()
	for field, text := range map[string]string{"Name": spec.Name, "Namespace": spec.Namespace, "StorageNamespace": spec.StorageNamespace} {
		if err := checkName(field, text); err != nil {
			return nil, err
		}
	}
	j := e.job(spec, state)
	err := j.remove(ctx, "it is not wanted any more")
	j.result.State = j.state
	return j.result, err
}

// move uninstalls the release where it was, if it is wanted elsewhere.
func (j *job) move(ctx context.Context) error {
	old := j.state
	if !old.sameTarget(&j.spec) {
		spec := j.spec
		spec.Name, spec.Namespace, spec.StorageNamespace = old.Name, old.Namespace, old.StorageNamespace
		before := j.job(spec, old)
		err := before.remove(ctx, fmt.Sprintf("it is wanted as %s in %s", j.spec.Name, j.spec.Namespace))
		j.result.Steps = append(j.result.Steps, before.result.Steps...)
		if err != nil {
			return err
		}
		j.state = State{Forced: old.Forced, Attempts: old.Attempts}
	}
	j.state.Name, j.state.Namespace, j.state.StorageNamespace = j.spec.Name, j.spec.Namespace, j.spec.StorageNamespace
	return nil
}

// remove uninstalls a release, if it is there.
func (j *job) remove(ctx context.Context, why string) error {
	if err := j.refresh(ctx); err != nil {
		return err
	}
	j.result.Found, j.result.Left = InSync, Absent
	if latest := j.latest(); latest == nil || latest.status == Uninstalled {
		j.result.Found = Absent
		j.state = State{}
		if latest == nil || j.spec.Uninstall.KeepHistory {
			return nil
		}
		return j.forget(ctx, nil)
	}
	err := j.act(ctx, Uninstall, why, j.spec.Uninstall.Timeout, func(timed context.Context, step *Step) error {
		return j.uninstall(ctx, timed, step)
	})
	if err != nil {
		j.result.Left = Broken
		return &ActionError{Release: j.spec.Name, Action: Uninstall, Err: err}
	}
	j.state = State{}
	return nil
}

// finding is what was found.
type finding struct {
	situation Situation
	why       string
}

func (j *job) reconcile(ctx context.Context) error {
	if key := sum(j.intent, j.spec.Epoch); j.state.Attempts.Key != key {
		j.state.Attempts = Attempts{Key: key}
	}
	if err := j.refresh(ctx); err != nil {
		return err
	}
	done := map[Action]bool{}
	for {
		f, err := j.determine(ctx, len(done) > 0)
		if err != nil {
			return err
		}
		if len(done) == 0 {
			j.result.Found, j.result.Why = f.situation, f.why
		}
		j.result.Left = f.situation
		action, err := j.next(ctx, f)
		if err != nil || action == "" {
			return err
		}
		if done[action] {
			return &ActionError{Release: j.spec.Name, Action: action, Err: fmt.Errorf("it was done, and the release is %s still: %s", f.situation, f.why)}
		}
		done[action] = true
		if err := j.do(ctx, action, f.why); err != nil {
			return j.failed(ctx, action, err)
		}
	}
}

// determine compares what is desired, what is stored, and what is live.
func (j *job) determine(ctx context.Context, acted bool) (finding, error) {
	latest := j.latest()
	if latest == nil {
		if len(j.state.History) > 0 {
			j.state.History, j.state.Live = nil, nil
			return finding{Absent, "somebody deleted it, or its history"}, nil
		}
		return finding{Absent, "it is not installed"}, nil
	}
	snap := j.state.latest()
	if snap != nil && snap.Version == latest.version && snap.ResourceVersion == latest.resourceVersion {
		return j.judge(ctx, snap.Status, nil, acted)
	}
	k, err := j.read(ctx)
	var corrupt *RecordError
	if errors.As(err, &corrupt) {
		return finding{OutOfSync, "its record cannot be read: " + corrupt.Error()}, nil
	}
	if err != nil {
		return finding{}, err
	}
	if snap != nil && snap.Version == k.Version && snap.Digest == k.digest {
		snap.ResourceVersion = k.resourceVersion // its labels were written, and nothing else
		return j.judge(ctx, snap.Status, nil, acted)
	}
	return j.judge(ctx, k.Info.Status, k, acted)
}

// judge tells what a status means. changed is the version that is not as it was
// left.
func (j *job) judge(ctx context.Context, status Status, changed *kept, acted bool) (finding, error) {
	switch {
	case status.pending():
		return finding{Locked, fmt.Sprintf("an action left it %s", status)}, nil
	case status == Uninstalled:
		return finding{Absent, "it is uninstalled"}, nil
	case status == Uninstalling:
		return finding{OutOfSync, "an uninstallation did not end"}, nil
	case status == Failed:
		return finding{Broken, "the last action on it failed"}, nil
	case status != Deployed:
		return finding{OutOfSync, fmt.Sprintf("version %d is %s, and none is deployed", j.latest().version, status)}, nil
	}
	if changed != nil {
		if f := j.recognise(changed); f.situation != InSync {
			return f, nil
		}
	}
	return j.judgeDeployed(ctx, acted)
}

// recognise tells whether a version that is not in the state is one that this
// engine made of this very intent.
func (j *job) recognise(k *kept) finding {
	switch {
	case k.labels[markLabel] == j.mark(k) && (j.state.latest() == nil || j.state.latest().Version < k.Version):
		j.state.Live = nil
		j.observe(k)
		return finding{InSync, ""}
	case len(j.state.History) == 0:
		return finding{Unmanaged, fmt.Sprintf("version %d was made by others", k.Version)}
	case j.state.latest().Version == k.Version:
		return finding{OutOfSync, fmt.Sprintf("somebody edited version %d in its history", k.Version)}
	}
	return finding{OutOfSync, fmt.Sprintf("somebody made version %d: %s", k.Version, clip.Quote(k.Info.Description, maxMessage))}
}

// judgeDeployed looks at a version that is deployed and as it was left.
func (j *job) judgeDeployed(ctx context.Context, acted bool) (finding, error) {
	snap := j.state.latest()
	if snap.Intent != j.intent {
		return finding{OutOfSync, j.difference(snap)}, nil
	}
	if j.spec.Test.Enable {
		switch {
		case snap.testsFailed() && !j.ignoresTests(snap):
			return finding{Broken, "its tests failed"}, nil
		case !snap.Tested:
			wanted, err := j.testsWanted(ctx)
			if err != nil || wanted {
				return finding{Untested, "its tests have not run"}, err
			}
			snap.Tested = true
		}
	}
	if j.spec.Drift.Mode != DriftOff && !acted {
		drifted, err := j.findDrift(ctx)
		if err != nil || drifted {
			return finding{Drifted, fmt.Sprintf("%d of its objects were changed", len(j.result.Drift))}, err
		}
	}
	return finding{InSync, ""}, nil
}

// difference says what of the desired state is new.
func (j *job) difference(snap *Snapshot) string {
	config, _ := j.spec.config() // the intent could be written, so can this
	switch {
	case snap.ChartName != j.spec.Chart.Name():
		return fmt.Sprintf("the chart is %s and was %s", j.spec.Chart.Name(), snap.ChartName)
	case snap.ChartVersion != j.spec.Chart.Version():
		return fmt.Sprintf("the chart's version is %s and was %s", j.spec.Chart.Version(), snap.ChartVersion)
	case snap.ConfigDigest != "sha256:"+sum(string(config)):
		return "the values are others"
	case snap.Intent == "":
		return "it was rolled back"
	}
	return "the chart's content, a post-renderer or the metadata is another"
}

func (j *job) ignoresTests(snap *Snapshot) bool {
	r := j.spec.Upgrade.Remediation
	if snap.Action == Install {
		r = j.spec.Install.Remediation
	}
	return j.spec.Test.IgnoreFailures || r.IgnoreTestFailures
}

func (j *job) testsWanted(ctx context.Context) (bool, error) {
	k, err := j.read(ctx)
	if err != nil {
		return false, err
	}
	for _, h := range k.Hooks {
		if h.on(testEvent) && j.wantsTest(h) {
			return true, nil
		}
	}
	return false, nil
}

// next decides what to do. Nothing is an end.
func (j *job) next(ctx context.Context, f finding) (Action, error) {
	attempts := &j.state.Attempts
	forced := j.spec.Force != "" && j.spec.Force != j.state.Forced
	switch {
	case f.situation == Locked:
		return Unlock, nil
	case forced:
		j.state.Forced = j.spec.Force
		j.state.Attempts = Attempts{Key: attempts.Key}
		if f.situation == Absent {
			return Install, nil
		}
		return Upgrade, nil
	case f.situation == InSync:
		j.state.Attempts = Attempts{Key: attempts.Key}
		return "", nil
	case f.situation == Drifted && j.spec.Drift.Mode == DriftCorrect:
		return CorrectDrift, nil
	case f.situation == Drifted:
		return "", nil
	case attempts.Stalled:
		return "", &ExhaustedError{Release: j.spec.Name, Failures: attempts.Failures(), Last: attempts.LastError}
	case f.situation == Broken && attempts.Failures() > 0 && !attempts.Remediated:
		j.written = true // the last call ended before it could undo the failure
		return "", j.remediate(ctx, errors.New(attempts.LastError))
	case f.situation == Absent:
		return Install, nil
	case f.situation == Untested:
		return Test, nil
	}
	return j.change(ctx)
}

// change upgrades, or uninstalls what is of another chart.
func (j *job) change(ctx context.Context) (Action, error) {
	if j.spec.Upgrade.InPlace {
		return Upgrade, nil
	}
	name := ""
	if snap := j.state.latest(); snap != nil && snap.Version == j.latest().version {
		name = snap.ChartName
	} else if k, err := j.read(ctx); err == nil {
		name = k.chartInfo().Metadata.Name
	}
	if name != "" && name != j.spec.Chart.Name() {
		return Uninstall, nil
	}
	return Upgrade, nil
}

// do takes an action.
func (j *job) do(ctx context.Context, action Action, why string) error {
	j.written = false
	timeout := j.spec.Timeout
	do := func(timed context.Context, step *Step) error { return j.unlock(timed, step) }
	switch action {
	case Install:
		timeout = j.spec.Install.Timeout
		do = func(timed context.Context, step *Step) error { return j.install(ctx, timed, step) }
	case Upgrade:
		timeout = j.spec.Upgrade.Timeout
		do = func(timed context.Context, step *Step) error { return j.upgrade(ctx, timed, step) }
	case Uninstall:
		timeout = j.spec.Uninstall.Timeout
		do = func(timed context.Context, step *Step) error { return j.uninstall(ctx, timed, step) }
	case Test:
		timeout = j.spec.Test.Timeout
		j.written = true
		do = func(timed context.Context, step *Step) error { return j.test(ctx, timed, step) }
	case CorrectDrift:
		do = j.correctDrift
	case Unlock, Rollback:
	}
	return j.act(ctx, action, why, timeout, do)
}

// failed counts a failure, and undoes it if that is asked for.
func (j *job) failed(ctx context.Context, action Action, err error) error {
	j.result.Left = Broken
	if ctx.Err() != nil || errors.Is(err, ErrBusy) {
		return err // not the release's fault
	}
	if kube.Unreachable(err) { // nor that: it is unlocked when the server is back
		return &ActionError{Release: j.spec.Name, Action: action, Err: err}
	}
	a := &j.state.Attempts
	release := action
	if action == Test {
		release = Upgrade
		if snap := j.state.latest(); snap != nil && snap.Action == Install {
			release = Install
		}
	}
	switch release {
	case Install:
		a.InstallFailures++
	case Upgrade:
		a.UpgradeFailures++
	case Test, Rollback, Uninstall, Unlock, CorrectDrift:
		return &ActionError{Release: j.spec.Name, Action: action, Err: err}
	}
	a.LastAction, a.LastError, a.Remediated = release, clip.Quote(err.Error(), maxMessage), false
	if snap := j.state.latest(); action == Test && snap != nil && j.ignoresTests(snap) {
		*a = Attempts{Key: a.Key}
		j.result.Left = InSync
		return nil
	}
	return j.remediate(ctx, err)
}

// remediate undoes the last failure, if it is to be, and says whether another
// attempt may follow.
func (j *job) remediate(ctx context.Context, cause error) error {
	a := &j.state.Attempts
	strategy, interval, r, undoing := j.spec.Upgrade.Strategy, j.spec.Upgrade.RetryInterval, j.spec.Upgrade.Remediation, Rollback
	if j.spec.Upgrade.UninstallFailed {
		undoing = Uninstall
	}
	failures := a.UpgradeFailures
	if a.LastAction == Install {
		strategy, interval, r, undoing = j.spec.Install.Strategy, j.spec.Install.RetryInterval, j.spec.Install.Remediation, Uninstall
		failures = a.InstallFailures
	}
	failure := &ActionError{Release: j.spec.Name, Action: a.LastAction, Err: cause}
	if strategy == RetryOnFailure {
		a.Remediated, failure.After = true, interval
		return failure
	}
	exhausted := r.Retries >= 0 && failures > r.Retries
	undo := !exhausted || r.lastFailure(a.LastAction)
	if undo && j.written {
		done, err := j.undo(ctx, undoing, cause)
		if err != nil {
			a.Stalled = a.Stalled || errors.Is(err, ErrNoRollbackTarget)
			return err
		}
		failure.Remediation = done
	}
	a.Remediated = true
	if exhausted {
		a.Stalled = true
		return &ExhaustedError{Release: j.spec.Name, Failures: a.Failures(), Last: a.LastError, Err: failure}
	}
	return failure
}

func (r Remediation) lastFailure(action Action) bool {
	if r.LastFailure != nil {
		return *r.LastFailure
	}
	return action == Upgrade && r.Retries > 0
}

// undo takes the action that undoes a failure.
func (j *job) undo(ctx context.Context, action Action, cause error) (Action, error) {
	why := "the " + string(j.state.Attempts.LastAction) + " failed"
	if action == Uninstall {
		err := j.act(ctx, action, why, j.spec.Uninstall.Timeout, func(timed context.Context, step *Step) error { return j.uninstall(ctx, timed, step) })
		if err != nil {
			return "", &ActionError{Release: j.spec.Name, Action: action, Err: errors.Join(err, cause)}
		}
		j.result.Left = Absent
		return action, nil
	}
	target, err := j.rollbackTarget(ctx, cause)
	if err != nil || target == nil {
		return "", err
	}
	err = j.act(ctx, Rollback, why, j.spec.Rollback.Timeout, func(timed context.Context, step *Step) error { return j.rollback(ctx, timed, step, target) })
	if err != nil {
		j.state.Attempts.Remediated = true // an upgrade may do better than another rollback
		return "", &ActionError{Release: j.spec.Name, Action: Rollback, Err: errors.Join(err, cause)}
	}
	j.result.Left = OutOfSync
	return Rollback, nil
}

// rollbackTarget is the latest version that was deployed. It is nothing if those
// that there are cannot be trusted: then another upgrade has to do.
func (j *job) rollbackTarget(ctx context.Context, cause error) (*kept, error) {
	corrupt := false
	for i := len(j.history) - 1; i >= 0; i-- {
		v := j.history[i]
		snap := j.state.snapshot(v.version)
		if v.status != Deployed && v.status != Superseded || snap != nil && snap.testsFailed() && !j.ignoresTests(snap) {
			continue
		}
		if i == len(j.history)-1 {
			continue // it is what is to be undone
		}
		k, err := j.store.get(ctx, v.version)
		var unreadable *RecordError
		switch {
		case errors.As(err, &unreadable), err == nil && snap != nil && snap.Content != k.content():
			corrupt = true
			continue
		case err != nil:
			return nil, err
		}
		return k, nil
	}
	if corrupt {
		return nil, nil //nolint:nilnil // there is none that can be trusted
	}
	return nil, &RollbackTargetError{Release: j.spec.Name, Version: j.latest().version, Err: cause}
}
