package ssa_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
	"github.com/gitopskit/gitopskit/ssa/celhealth"
)

var (
	jobs   = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	claims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
)

// short is for waits that are to end by themselves, and end with an error if not.
const short = 20 * time.Second

func statuses(health []ssa.Health) map[string]ssa.Status {
	out := map[string]ssa.Status{}
	for _, h := range health {
		out[h.Key.Kind+"/"+h.Key.Name] = h.Status
	}
	return out
}

func TestChecksComeBeforeKstatus(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	f.patch(t, deployments, "web", "controller", types.MergePatchType, ready, "status")
	changed := make(chan error, 1)
	checks := []ssa.HealthCheck{
		{Group: "apps", Kind: "Deployment", Func: func(context.Context, *unstructured.Unstructured) (ssa.Status, string, error) {
			return "", "", nil // kstatus decides
		}},
		{Kind: "ConfigMap", Func: func(_ context.Context, u *unstructured.Unstructured) (ssa.Status, string, error) {
			if u.GetName() == "more" {
				return ssa.Current, "", nil
			}
			if data, _, _ := unstructured.NestedStringMap(u.Object, "data"); data["colour"] != "green" {
				return ssa.InProgress, "it is " + data["colour"], nil
			}
			return ssa.Current, "it is green", nil
		}},
	}
	health, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: short, Checks: checks, Progress: func(h ssa.Health) {
		if h.Message == "it is blue" {
			go func() {
				_, err := f.others.Resource(configMaps).Namespace(f.ns).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"colour":"green"}}`), metav1.PatchOptions{})
				changed <- err
			}()
		}
	}})
	require.NoError(t, err)
	require.NoError(t, <-changed)
	for _, h := range health {
		if h.Key.Name == "settings" {
			require.Equal(t, "it is green", h.Message)
		}
	}
}

// Expressions for a kind, and of an object's own, from the manifest to the end of
// the wait.
func TestWaitWithExpressions(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: by-rule}
data: {phase: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: by-annotation, annotations: {gitopskit.dev/health-current: 'data.ready == "yes"', gitopskit.dev/health-failed: 'data.ready == "never"'}}
data: {ready: "no"}`), f.options())
	checks, err := celhealth.New([]celhealth.Rule{{APIVersion: "v1", Kind: "ConfigMap", Current: "int(data.phase) > 1"}}, celhealth.Options{Annotations: true})
	require.NoError(t, err)
	opts := ssa.WaitOptions{Owner: "test", Timeout: 300 * time.Millisecond, Checks: checks}
	health, err := f.applier.Wait(t.Context(), res.Entries, opts)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, map[string]ssa.Status{"ConfigMap/by-rule": ssa.InProgress, "ConfigMap/by-annotation": ssa.InProgress}, statuses(health))

	f.patch(t, configMaps, "by-rule", "x", types.MergePatchType, `{"data":{"phase":"2"}}`)
	f.patch(t, configMaps, "by-annotation", "x", types.MergePatchType, `{"data":{"ready":"yes"}}`)
	opts.Timeout = short
	_, err = f.applier.Wait(t.Context(), res.Entries, opts)
	require.NoError(t, err)

	f.patch(t, configMaps, "by-annotation", "x", types.MergePatchType, `{"data":{"ready":"never"}}`)
	_, err = f.applier.Wait(t.Context(), res.Entries, opts)
	require.ErrorContains(t, err, "by-annotation is Failed (its health expression for Failed holds)")
}

func TestFailingCheckMakesTheObjectUnknown(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	fails := func(context.Context, *unstructured.Unstructured) (ssa.Status, string, error) {
		return "", "", errors.New("hunter2 is not the question")
	}
	odd := func(context.Context, *unstructured.Unstructured) (ssa.Status, string, error) {
		return "Excellent", strings.Repeat("x", 1<<20), nil
	}
	health, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: 500 * time.Millisecond, Checks: []ssa.HealthCheck{
		{Group: "apps", Kind: "Deployment", Func: fails}, {Kind: "Secret", Func: fails}, {Func: odd},
	}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for _, h := range health {
		switch h.Key.Kind {
		case "Deployment":
			require.Equal(t, ssa.Health{Key: h.Key, Status: ssa.Unknown, Message: "hunter2 is not the question"}, h)
		case "Secret":
			require.Equal(t, ssa.Unknown, h.Status)
			require.NotContains(t, h.Message, "hunter2")
		case "Service":
			require.Equal(t, ssa.Unknown, h.Status)
			require.Less(t, len(h.Message), 2000)
		}
	}
}

func TestWrongWaitOptionsAreRefused(t *testing.T) {
	f := setup(t)
	for _, opts := range []ssa.WaitOptions{
		{Undecided: ssa.Broken},
		{Checks: []ssa.HealthCheck{{Kind: "Pod"}}},
		{Checks: []ssa.HealthCheck{{Group: "apps", Func: func(context.Context, *unstructured.Unstructured) (ssa.Status, string, error) { return "", "", nil }}}},
	} {
		_, err := f.applier.Wait(t.Context(), nil, opts)
		require.Error(t, err)
	}
	require.Zero(t, f.meter.Count().Requests)
}

func TestUndecidedCustomResources(t *testing.T) {
	f := setup(t)
	_, res := f.defined(t)
	wait := func(undecided ssa.Status, timeout time.Duration) (map[string]ssa.Status, error) {
		health, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Undecided: undecided, Timeout: timeout})
		return statuses(health), err
	}
	got, err := wait("", short)
	require.NoError(t, err)
	require.Equal(t, ssa.Current, got["Widget/one"])
	for _, undecided := range []ssa.Status{ssa.InProgress, ssa.Unknown} {
		got, err = wait(undecided, 300*time.Millisecond)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, undecided, got["Widget/one"])
		require.Equal(t, ssa.Current, got["CustomResourceDefinition/widgets."+f.ns+".example.com"], "Kubernetes' own kinds are not unknown")
	}
}

func TestPatientWaitOutlastsFailure(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	f.patch(t, deployments, "web", "controller", types.MergePatchType, stuck, "status")
	recovered := make(chan error, 1)
	_, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: short, Patient: true, Progress: func(h ssa.Health) {
		if h.Status == ssa.Broken {
			go func() {
				_, err := f.others.Resource(deployments).Namespace(f.ns).Patch(t.Context(), "web", types.MergePatchType, []byte(ready), metav1.PatchOptions{}, "status")
				recovered <- err
			}()
		}
	}})
	require.NoError(t, err)
	require.NoError(t, <-recovered)

	f.patch(t, deployments, "web", "controller", types.MergePatchType, stuck, "status")
	_, err = f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: 300 * time.Millisecond, Patient: true})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "is Failed")
}

const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  ttlSecondsAfterFinished: 0
  template: {spec: {restartPolicy: Never, containers: [{name: a, image: "example.com/a:1"}]}}
`

const (
	running  = `{"status":{"startTime":"2026-01-01T00:00:00Z","active":1}}`
	complete = `{"status":{"startTime":"2026-01-01T00:00:00Z","completionTime":"2026-01-01T00:00:01Z","active":0,"succeeded":1,"conditions":[
{"type":"SuccessCriteriaMet","status":"True"},{"type":"Complete","status":"True"}]}}`
)

// A Job is done when it is complete, and may be gone at once after that.
func TestJobsThatVanish(t *testing.T) {
	background := metav1.DeletePropagationBackground
	for name, c := range map[string]struct {
		steps  []string // status patches after the Job was seen running, before it is deleted
		status ssa.Status
	}{
		"complete": {[]string{complete}, ssa.Current},
		"deleted":  {nil, ssa.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			res := f.apply(t, objects(t, job+"---\n"+strings.Replace(job, "name: migrate", "name: other", 1)), f.options())
			f.patch(t, jobs, "migrate", "controller", types.MergePatchType, running, "status")
			gone := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), short)
			defer cancel()
			vanish := func() error {
				ri := f.others.Resource(jobs).Namespace(f.ns)
				for _, step := range c.steps {
					if _, err := ri.Patch(t.Context(), "migrate", types.MergePatchType, []byte(step), metav1.PatchOptions{}, "status"); err != nil {
						return err
					}
				}
				return ri.Delete(t.Context(), "migrate", metav1.DeleteOptions{PropagationPolicy: &background})
			}
			var last ssa.Health
			_, err := f.applier.Wait(ctx, res.Entries, ssa.WaitOptions{Owner: "test", Progress: func(h ssa.Health) {
				if h.Key.Name != "migrate" {
					return
				}
				if last.Status == "" {
					go func() { gone <- vanish() }()
				}
				last = h
				if h.Status == ssa.NotFound {
					cancel()
				}
				if h.Status == ssa.Current { // and stays so although it goes: the other one keeps the wait up
					go func() {
						err := <-gone
						gone <- err
						_, _ = f.others.Resource(jobs).Namespace(f.ns).Patch(t.Context(), "other", types.MergePatchType, []byte(complete), metav1.PatchOptions{}, "status")
					}()
				}
			}})
			require.NoError(t, <-gone)
			require.Equal(t, c.status, last.Status)
			require.Equal(t, c.status == ssa.Current, err == nil)
		})
	}
}

func TestRunningAndSuspendedJobs(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, job+"---\n"+strings.Replace(job, "name: migrate}\nspec:", "name: later}\nspec:\n  suspend: true", 1)), f.options())
	f.patch(t, jobs, "migrate", "controller", types.MergePatchType, running, "status")
	health, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: 300 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, map[string]ssa.Status{"Job/migrate": ssa.InProgress, "Job/later": ssa.Current}, statuses(health))
}

func TestJobsThatWereGoneBefore(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, job), f.options())
	background := metav1.DeletePropagationBackground
	require.NoError(t, f.others.Resource(jobs).Namespace(f.ns).Delete(t.Context(), "migrate", metav1.DeleteOptions{PropagationPolicy: &background}))
	opts := ssa.WaitOptions{Owner: "test", Timeout: 300 * time.Millisecond}
	_, err := f.applier.Wait(t.Context(), res.Entries, opts)
	require.ErrorContains(t, err, "is NotFound")
	opts.GoneJobs = true
	_, err = f.applier.Wait(t.Context(), res.Entries, opts)
	require.NoError(t, err)
	never := gc.NewInventory(gc.Entry{Key: res.Entries[0].Key, Version: "v1", Resource: "jobs"})
	_, err = f.applier.Wait(t.Context(), never, opts)
	require.ErrorContains(t, err, "is NotFound", "it was never applied")
}

// A thousand objects that are not ready are followed by one list and one watch.
func TestWaitOverThousandObjects(t *testing.T) {
	const many = 1000
	f := setup(t)
	var objs []*unstructured.Unstructured
	for i := range many {
		objs = append(objs, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": fmt.Sprintf("claim-%04d", i)},
			"spec": map[string]any{"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}},
		}})
	}
	res := f.apply(t, objs, f.options())
	idle := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	seen, most := 0, 0
	var requests int64
	before := f.meter.Count()
	_, err := f.applier.Wait(ctx, res.Entries, ssa.WaitOptions{Owner: "test", Progress: func(h ssa.Health) {
		seen++
		most = max(most, runtime.NumGoroutine())
		switch {
		case h.Status == ssa.InProgress && seen == many:
			go func() { // an outside change makes the watch report again
				_, err := f.others.Resource(claims).Namespace(f.ns).Patch(t.Context(), "claim-0999", types.MergePatchType, []byte(`{"status":{"phase":"Lost"}}`), metav1.PatchOptions{}, "status")
				if err != nil {
					cancel()
				}
			}()
		case seen > many:
			requests = f.meter.Count().Sub(before).Requests
			cancel()
		}
	}, Checks: []ssa.HealthCheck{{Kind: "PersistentVolumeClaim", Func: func(_ context.Context, u *unstructured.Unstructured) (ssa.Status, string, error) {
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		return ssa.InProgress, phase, nil
	}}}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, many+1, seen)
	require.EqualValues(t, 2, requests, "a list and a watch")
	require.Less(t, most-idle, 50, "goroutines")
}

// What happens to watches in the long run: each time, the wait goes on.
func TestWaitOutlastsItsWatches(t *testing.T) {
	const expired = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version","reason":"Expired","code":410}}` + "\n"
	const bookmark = `{"type":"BOOKMARK","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"resourceVersion":"9999999"}}}` + "\n"
	for name, broken := range map[string]func(req *http.Request) (*http.Response, error){
		"expired on the way":    func(req *http.Request) (*http.Response, error) { return answer(req, http.StatusOK, expired), nil },
		"bookmark, then an end": func(req *http.Request) (*http.Response, error) { return answer(req, http.StatusOK, bookmark), nil },
		"half an event":         func(req *http.Request) (*http.Response, error) { return answer(req, http.StatusOK, bookmark[:40]), nil },
		"refused as too old": func(req *http.Request) (*http.Response, error) {
			return answer(req, http.StatusGone, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`), nil
		},
		"connection cut": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset by peer") },
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			res := f.apply(t, objects(t, app), f.options())
			watches := 0
			f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.URL.Query().Get("watch") == "" {
					return next.RoundTrip(req)
				}
				if watches++; watches <= 2 {
					return broken(req)
				}
				f.patch(t, deployments, "web", "controller", types.MergePatchType, ready, "status")
				return next.RoundTrip(req)
			})
			_, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: short})
			require.NoError(t, err)
			require.Equal(t, 3, watches)
		})
	}
}

// Both kinds of watches: the one of a wait, and the one that spares requests.
func TestWatchesOutlastTheServersRestart(t *testing.T) {
	plane, err := controlplane.Start(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, plane.Close()) }()
	f := &fixture{meter: &meter.Meter{}, ns: "default"}
	f.applier = newApplier(t, plane.Config(), f.meter)
	objs := objects(t, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: a}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`)
	res := f.apply(t, objs, f.options())
	changes := f.watching(t, ssa.WatchOptions{})
	res, _ = f.again(t, objs, res)
	f.quiet(t, objs, res)
	others, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	restarted := make(chan error, 1)
	restart := func() error {
		if err := errors.Join(plane.StopServer(), plane.StartServer(t.Context())); err != nil {
			return err
		}
		_, err := others.Resource(claims).Namespace("default").Patch(t.Context(), "a", types.MergePatchType, []byte(`{"metadata":{"labels":{"seen":"again"}}}`), metav1.PatchOptions{})
		return err
	}
	var once sync.Once
	_, err = f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: short, Checks: []ssa.HealthCheck{{
		Kind: "PersistentVolumeClaim",
		Func: func(_ context.Context, u *unstructured.Unstructured) (ssa.Status, string, error) {
			once.Do(func() { go func() { restarted <- restart() }() })
			if u.GetLabels()["seen"] == "again" {
				return ssa.Current, "it was seen again", nil
			}
			return ssa.InProgress, "", nil
		},
	}}})
	require.NoError(t, err)
	require.NoError(t, <-restarted)
	await(t, changes, "test PersistentVolumeClaim/a")
	res, requests := f.again(t, objs, res)
	require.EqualValues(t, 2, requests)
	f.quiet(t, objs, res)
}
