package ssa_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// watching makes the applier watch, and returns what it is told of outside changes.
func (f *fixture) watching(t *testing.T, opts ssa.WatchOptions) <-chan string {
	t.Helper()
	changes := make(chan string, 10_000)
	opts.OnChange = func(owner string, key gc.Key) { changes <- owner + " " + key.Kind + "/" + key.Name }
	stop, err := f.applier.Watch(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(stop)
	return changes
}

func await(t *testing.T, changes <-chan string, want string) {
	t.Helper()
	for end := time.After(30 * time.Second); ; {
		select {
		case got := <-changes:
			if got == want {
				return
			}
		case <-end:
			t.Fatalf("no outside change of %s was reported", want)
		}
	}
}

// quiet applies until that costs nothing, which must be at once.
func (f *fixture) quiet(t *testing.T, objs []*unstructured.Unstructured, prev *ssa.Result) {
	t.Helper()
	res, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged), "%v", actions(res))
	require.Zero(t, requests)
	require.Empty(t, res.Notes)
}

const watchedApp = app + `
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: held, finalizers: [example.com/a, example.com/b], annotations: {note: ours}}
spec:
  selector: {matchLabels: {app: held}}
  template:
    metadata: {labels: {app: held}}
    spec: {containers: [{name: a, image: "example.com/a:1", securityContext: {}}, {name: b, image: "example.com/b:1"}], securityContext: {}}
`

func TestNothingChangedCostsNothing(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	first := f.apply(t, objs, f.options())
	f.watching(t, ssa.WatchOptions{})
	second, requests := f.again(t, objs, first)
	require.Equal(t, len(objs), second.Count(ssa.Unchanged))
	require.EqualValues(t, 2*4, requests, "a list and a watch for each type")
	for range 3 {
		f.quiet(t, objs, second)
	}
}

// What others do to an object is seen through the watch as it is through a list:
// one look and one write, and then silence.
func TestOutsideChangesThroughTheWatch(t *testing.T) {
	json := types.JSONPatchType
	merge := types.MergePatchType
	rows := []struct {
		name, key string
		do        func(t *testing.T, f *fixture)
	}{
		{"a value", "ConfigMap/settings", func(t *testing.T, f *fixture) {
			f.patch(t, configMaps, "settings", "x", merge, `{"data":{"colour":"green"}}`)
		}},
		{"a value and back", "ConfigMap/settings", func(t *testing.T, f *fixture) {
			f.patch(t, configMaps, "settings", "x", merge, `{"data":{"colour":"green"}}`)
			f.patch(t, configMaps, "settings", "x", merge, `{"data":{"colour":"blue"}}`)
		}},
		{"a secret value", "Secret/token", func(t *testing.T, f *fixture) {
			f.patch(t, secrets, "token", "x", merge, `{"data":{"password":"Y2FuYXJ5"}}`)
		}},
		{"a port", "Service/web", func(t *testing.T, f *fixture) {
			f.patch(t, services, "web", "x", json, `[{"op":"replace","path":"/spec/ports/0/targetPort","value":9090}]`)
		}},
		{"a scale", "Deployment/web", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "web", "x", merge, `{"spec":{"replicas":5}}`, "scale")
		}},
		{"an order", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", json, `[{"op":"move","from":"/spec/template/spec/containers/1","path":"/spec/template/spec/containers/0"}]`)
		}},
		{"an order of finalizers", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", json, `[{"op":"replace","path":"/metadata/finalizers","value":["example.com/b","example.com/a"]}]`)
		}},
		{"a finalizer removed", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", json, `[{"op":"replace","path":"/metadata/finalizers","value":["example.com/a"]}]`)
		}},
		{"an annotation", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", merge, `{"metadata":{"annotations":{"note":"theirs"}}}`)
		}},
		{"an annotation removed", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", merge, `{"metadata":{"annotations":{"note":null}}}`)
		}},
		{"managedFields cleared", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", merge, `{"metadata":{"managedFields":[{}]}}`)
		}},
		{"our owner label", "Deployment/held", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "held", "x", merge, `{"metadata":{"labels":{"gitopskit.dev/owner":null}}}`)
		}},
		{"a second apply under our name", "ConfigMap/settings", func(t *testing.T, f *fixture) {
			other := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, labels: {app: web, gitopskit.dev/owner: test}}\ndata: {colour: red, size: large}")[0]
			_, err := f.others.Resource(configMaps).Namespace(f.ns).Apply(t.Context(), "settings", other, metav1.ApplyOptions{FieldManager: "kit", Force: true})
			require.NoError(t, err)
		}},
		{"deleted", "ConfigMap/more", func(t *testing.T, f *fixture) {
			require.NoError(t, f.others.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "more", metav1.DeleteOptions{}))
		}},
		{"deleted and made again", "ConfigMap/more", func(t *testing.T, f *fixture) {
			u := f.get(t, configMaps, "more")
			require.NoError(t, f.others.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "more", metav1.DeleteOptions{}))
			u.SetResourceVersion("")
			u.SetUID("")
			_, err := f.others.Resource(configMaps).Namespace(f.ns).Create(t.Context(), u, metav1.CreateOptions{})
			require.NoError(t, err)
		}},
	}
	f := setup(t)
	t.Cleanup(func() { // so that the namespace can go
		_, _ = f.others.Resource(deployments).Namespace(f.ns).Patch(context.WithoutCancel(t.Context()), "held", merge, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
	objs := objects(t, watchedApp)
	prev := f.apply(t, objs, f.options())
	changes := f.watching(t, ssa.WatchOptions{})
	prev, _ = f.again(t, objs, prev)
	require.Equal(t, len(objs), prev.Count(ssa.Unchanged))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.do(t, f)
			await(t, changes, "test "+row.key)
			require.Eventually(t, func() bool { // some rows are several changes, and the last one counts
				res, requests := f.again(t, objs, prev)
				prev = res
				require.LessOrEqual(t, requests, int64(2))
				return requests > 0
			}, 10*time.Second, 5*time.Millisecond)
			for _, c := range prev.Changes {
				touched := c.Key.Kind+"/"+c.Key.Name == row.key
				require.Equal(t, touched, c.Action != ssa.Unchanged, c.Key)
			}
			f.quiet(t, objs, prev)
		})
	}
}

func TestWhatIsNoChangeThroughTheWatch(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	changes := f.watching(t, ssa.WatchOptions{})
	prev, _ = f.again(t, objs, prev)
	f.patch(t, deployments, "web", "controller", types.MergePatchType, `{"status":{"observedGeneration":1,"replicas":2}}`, "status")
	f.patch(t, deployments, "web", "somebody", types.MergePatchType, `{"metadata":{"labels":{"note":"mine"}}}`)
	// Changes come in order for one type: when this one was seen, so were those.
	f.patch(t, deployments, "web", "x", types.MergePatchType, `{"spec":{"replicas":5}}`)
	require.Equal(t, "test Deployment/web", <-changes)
	prev, _ = f.again(t, objs, prev)
	f.patch(t, deployments, "web", "controller", types.MergePatchType, `{"status":{"observedGeneration":2,"replicas":3}}`, "status")
	for range 10 {
		f.quiet(t, objs, prev)
	}
	for len(changes) > 0 {
		require.Empty(t, <-changes, "only changes of what we own are reported")
	}
}

// What Apply wrote itself costs nothing the next time, however soon that is.
func TestOwnWritesAreNotMistakenForOthers(t *testing.T) {
	f := setup(t)
	objs := configMapsOf(100)
	prev := f.apply(t, objs, f.options())
	changes := f.watching(t, ssa.WatchOptions{})
	prev, _ = f.again(t, objs, prev)
	for i := range 10 {
		for _, obj := range objs {
			require.NoError(t, unstructured.SetNestedField(obj.Object, fmt.Sprint(i), "data", "round"))
		}
		var requests int64
		prev, requests = f.again(t, objs, prev)
		require.EqualValues(t, len(objs), requests)
		require.Equal(t, len(objs), prev.Count(ssa.Configured))
		f.quiet(t, objs, prev)
	}
	require.Empty(t, changes, "nobody else wrote")
}

func TestOneChangeAmongManyCostsTwoRequests(t *testing.T) {
	f := setup(t)
	objs := configMapsOf(1500)
	prev := f.apply(t, objs, f.options())
	changes := f.watching(t, ssa.WatchOptions{})
	prev, requests := f.again(t, objs, prev)
	require.EqualValues(t, 1+1, requests, "a list and a watch")
	f.patch(t, configMaps, "cm-00777", "x", types.MergePatchType, `{"data":{"setting-00":"other"}}`)
	await(t, changes, "test ConfigMap/cm-00777")
	prev, requests = f.again(t, objs, prev)
	require.EqualValues(t, 2, requests)
	require.Equal(t, 1, prev.Count(ssa.Configured))
	require.Equal(t, "setting-00", strings.TrimPrefix(prev.Changes[777].Drift[0].Path, "data."))
	f.quiet(t, objs, prev)
}

// A watch that ends is taken up where it ended, and a list is made where the
// server has forgotten that place.
func TestWatchesAreTakenUpAgain(t *testing.T) {
	for name, expire := range map[string]bool{"from the same version": false, "expired": true} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			var cut atomic.Pointer[context.CancelFunc]
			var lists, watches, refuse atomic.Int64
			f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(req.URL.Path, "/configmaps") {
					return next.RoundTrip(req)
				}
				if req.URL.Query().Get("watch") == "" {
					lists.Add(1)
					return next.RoundTrip(req)
				}
				watches.Add(1)
				if refuse.Add(-1) >= 0 {
					return answer(req, http.StatusGone, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`), nil
				}
				ctx, cancel := context.WithCancel(req.Context())
				cut.Store(&cancel)
				return next.RoundTrip(req.WithContext(ctx))
			})
			objs := configMapsOf(3)
			prev := f.apply(t, objs, f.options())
			changes := f.watching(t, ssa.WatchOptions{})
			prev, _ = f.again(t, objs, prev)
			f.quiet(t, objs, prev)
			if expire {
				refuse.Store(1)
			}
			(*cut.Load())()
			f.patch(t, configMaps, "cm-00001", "x", types.MergePatchType, `{"data":{"setting-00":"other"}}`)
			await(t, changes, "test ConfigMap/cm-00001")
			require.Eventually(t, func() bool {
				prev, _ = f.again(t, objs, prev)
				_, requests := f.again(t, objs, prev)
				return requests == 0
			}, 20*time.Second, 10*time.Millisecond)
			require.GreaterOrEqual(t, watches.Load(), int64(2))
			if expire {
				require.GreaterOrEqual(t, lists.Load(), int64(2))
			}
		})
	}
}

// A watch is believed only as long as it gives signs of life: a connection may
// die without a sound.
func TestSilentWatchIsNotBelieved(t *testing.T) {
	f := setup(t)
	objs := configMapsOf(3)
	prev := f.apply(t, objs, f.options())
	f.watching(t, ssa.WatchOptions{MaxSilence: 500 * time.Millisecond})
	prev, _ = f.again(t, objs, prev)
	require.Eventually(t, func() bool {
		res, requests := f.again(t, objs, prev)
		require.Equal(t, len(objs), res.Count(ssa.Unchanged))
		return requests == 1 // the list of before
	}, 10*time.Second, 20*time.Millisecond)
	signs := 0
	require.Eventually(t, func() bool {
		var requests int64
		if prev, requests = f.again(t, objs, prev); requests == 1 { // listed: the watch has been silent for too long
			signs++
			f.patch(t, configMaps, "cm-00001", "x", types.MergePatchType, fmt.Sprintf(`{"metadata":{"annotations":{"sign":"%d"}}}`, signs))
		}
		return signs > 0 && requests == 0
	}, 20*time.Second, 5*time.Millisecond)
}

func TestIdentityThatMayNotWatchListsAndIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		verbs    string
		requests int64
		notes    []string
	}{
		"no watch":         {"list, ", 1, []string{"watch"}},
		"no list or watch": {"", 1 + 3, []string{"list", "watch"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			user := "watcher-" + strings.ReplaceAll(name, " ", "-")
			grant(t, f, user, "\n- {apiGroups: [\"\"], resources: [configmaps], verbs: ["+c.verbs+"get, create, patch]}")
			cfg, err := testplane.Small(t).User(user)
			require.NoError(t, err)
			f.applier = newApplier(t, cfg, f.meter)
			objs := configMapsOf(3)
			prev := f.apply(t, objs, f.options())
			f.watching(t, ssa.WatchOptions{})
			prev, _ = f.again(t, objs, prev)
			res, requests := f.again(t, objs, prev)
			require.Equal(t, len(objs), res.Count(ssa.Unchanged))
			require.Equal(t, c.requests, requests)
			var verbs []string
			for _, note := range res.Notes {
				var fallback *ssa.FallbackError
				require.ErrorAs(t, note, &fallback)
				require.True(t, apierrors.IsForbidden(note))
				require.ErrorContains(t, note, "configmaps in "+f.ns)
				verbs = append(verbs, fallback.Verb)
			}
			require.ElementsMatch(t, c.notes, verbs)
		})
	}
}

func TestWatchesAreBounded(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	f.watching(t, ssa.WatchOptions{MaxWatches: 3})
	prev, _ = f.again(t, objs, prev)
	res, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged))
	require.EqualValues(t, 1, requests, "one of the four types is listed")
	require.Len(t, res.Notes, 1)
	require.ErrorContains(t, res.Notes[0], "raise WatchOptions.MaxWatches")
}

func TestWatchEnds(t *testing.T) {
	for name, viaContext := range map[string]bool{"stop": false, "context": true} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			objs := objects(t, app)
			prev := f.apply(t, objs, f.options())
			idle := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop, err := f.applier.Watch(ctx, ssa.WatchOptions{})
			require.NoError(t, err)
			_, err = f.applier.Watch(ctx, ssa.WatchOptions{})
			require.ErrorContains(t, err, "watching already")
			prev, _ = f.again(t, objs, prev)
			f.quiet(t, objs, prev)
			if viaContext {
				cancel()
			}
			stop()
			stop()
			_, requests := f.again(t, objs, prev)
			require.EqualValues(t, 4, requests, "as without")
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= idle+4 }, 10*time.Second, 10*time.Millisecond)
			stop, err = f.applier.Watch(t.Context(), ssa.WatchOptions{})
			require.NoError(t, err)
			stop()
		})
	}
}

func TestWatchDoesNotHideThatTheServerIsGone(t *testing.T) {
	f := setup(t)
	var gone atomic.Bool
	var cut atomic.Pointer[context.CancelFunc]
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if gone.Load() {
			return nil, errors.New("connection refused")
		}
		if req.URL.Query().Get("watch") != "" {
			ctx, cancel := context.WithCancel(req.Context())
			cut.Store(&cancel)
			req = req.WithContext(ctx)
		}
		return next.RoundTrip(req)
	})
	objs := configMapsOf(3)
	prev := f.apply(t, objs, f.options())
	f.watching(t, ssa.WatchOptions{})
	prev, _ = f.again(t, objs, prev)
	gone.Store(true)
	(*cut.Load())()
	opts := f.options()
	opts.Previous = prev.Entries
	require.Eventually(t, func() bool {
		res, err := f.applier.Apply(t.Context(), objs, opts)
		var unreachable *ssa.UnreachableError
		return errors.As(err, &unreachable) && len(res.Entries) == len(objs)
	}, 10*time.Second, 10*time.Millisecond)
}

// The watch and the applies of several sets at a time, for the race detector.
func TestWatchWithManyApplies(t *testing.T) {
	f := setup(t)
	f.watching(t, ssa.WatchOptions{})
	const sets = 8
	done := make(chan error, sets)
	for i := range sets {
		go func() {
			done <- func() error {
				objs := objects(t, strings.ReplaceAll(app, "{name: ", fmt.Sprintf("{name: s%d-", i)))
				opts := f.options()
				opts.Owner = fmt.Sprintf("set-%d", i)
				for round := range 5 {
					if err := unstructured.SetNestedField(objs[0].Object, fmt.Sprint(round), "data", "round"); err != nil {
						return err
					}
					res, err := f.applier.Apply(t.Context(), objs, opts)
					if err != nil {
						return err
					}
					if n := res.Count(ssa.Configured, ssa.Created); round > 0 && n != 1 {
						return fmt.Errorf("%d objects were written: %v", n, actions(res))
					}
					opts.Previous = res.Entries
				}
				return nil
			}()
		}()
	}
	for range sets {
		require.NoError(t, <-done)
	}
}

func TestFullCheckComesByItself(t *testing.T) {
	f := setup(t)
	objs := configMapsOf(3)
	for name, c := range map[string]struct {
		interval time.Duration
		full     bool
	}{"often": {time.Millisecond, true}, "by default": {0, false}, "never": {-1, false}} {
		t.Run(name, func(t *testing.T) {
			cfg := rest.CopyConfig(f.cfg)
			cfg.Wrap(f.meter.Wrap)
			a, err := ssa.New(cfg, ssa.Options{Manager: "kit", FullInterval: c.interval})
			require.NoError(t, err)
			f.applier = a
			prev := f.apply(t, objs, f.options())
			deadline := time.Now().Add(time.Second)
			full := false
			for !full && time.Now().Before(deadline) && (c.full || time.Until(deadline) > 700*time.Millisecond) {
				var requests int64
				prev, requests = f.again(t, objs, prev)
				full = requests == int64(2*len(objs))
			}
			require.Equal(t, c.full, full)
		})
	}
}

// What a set of ten thousand objects costs that nobody touched, and that is watched.
func BenchmarkApplyUnchangedWatched(b *testing.B) {
	plane := testplane.Small(b)
	var m meter.Meter
	cfg := plane.Config()
	cfg.Wrap(m.Wrap)
	applier, err := ssa.New(cfg, ssa.Options{Manager: "kit", Concurrency: 32})
	require.NoError(b, err)
	opts := ssa.ApplyOptions{Owner: "bench", Namespace: testplane.Namespace(b, plane)}
	objs := configMapsOf(10_000)
	first, err := applier.Apply(b.Context(), objs, opts)
	require.NoError(b, err)
	opts.Previous = first.Entries
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, err := applier.Watch(b.Context(), ssa.WatchOptions{})
	require.NoError(b, err)
	defer stop()
	_, err = applier.Apply(b.Context(), objs, opts)
	require.NoError(b, err)
	runtime.GC()
	runtime.ReadMemStats(&after)

	start := m.Count()
	b.ReportAllocs()
	for b.Loop() {
		res, err := applier.Apply(b.Context(), objs, opts)
		require.NoError(b, err)
		require.Equal(b, len(objs), res.Count(ssa.Unchanged))
	}
	b.ReportMetric(float64(m.Count().Sub(start).Requests)/float64(b.N), "requests/op")
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(len(objs)), "watch-B/object")
}

// An object that nobody touched is judged all the same where its annotations or its
// writers call for it.
func TestWhatWasLeftIsJudgedAnew(t *testing.T) {
	for name, watch := range map[string]bool{"list": false, "watch": true} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			for name, text := range map[string]string{
				"handsoff": "metadata: {name: cm-00000, annotations: {kustomize.toolkit.fluxcd.io/ssa: Ignore}}",
				"former":   "metadata: {name: cm-00001}\ndata: {theirs: x}",
			} {
				u := objects(t, "apiVersion: v1\nkind: ConfigMap\n"+text)[0]
				_, err := f.others.Resource(configMaps).Namespace(f.ns).Create(t.Context(), u, metav1.CreateOptions{FieldManager: name})
				require.NoError(t, err)
			}
			objs := configMapsOf(4)
			prev := f.apply(t, objs, f.options())
			cfg := rest.CopyConfig(f.cfg)
			cfg.Wrap(f.meter.Wrap)
			a, err := ssa.New(cfg, ssa.Options{Manager: "kit", Migrate: []string{"former"}})
			require.NoError(t, err)
			f.applier = a
			if watch {
				f.watching(t, ssa.WatchOptions{})
				other := f.options()
				other.Previous = prev.Entries[2:]
				f.apply(t, objs[2:], other) // the watch stands from then on
			}
			res, _ := f.again(t, objs, prev)
			require.Equal(t, []ssa.Action{ssa.Ignored, ssa.Configured, ssa.Unchanged, ssa.Unchanged},
				[]ssa.Action{res.Changes[0].Action, res.Changes[1].Action, res.Changes[2].Action, res.Changes[3].Action})
			data, _, _ := unstructured.NestedMap(f.get(t, configMaps, "cm-00001").Object, "data")
			require.NotContains(t, data, "theirs")
		})
	}
}
