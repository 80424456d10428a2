package ssa_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// through puts a transport of the test's own before the applier's server.
func (f *fixture) through(t *testing.T, rt func(next http.RoundTripper, req *http.Request) (*http.Response, error)) {
	t.Helper()
	f.cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) { return rt(next, req) })
	})
	f.applier = newApplier(t, f.cfg, f.meter)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(req *http.Request, code int, body string) *http.Response {
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// everything is the text of an error and of all that it wraps.
func everything(err error) string {
	if err == nil {
		return ""
	}
	text := fmt.Sprintf("%v\n%+v\n%#v\n", err, err, err)
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, sub := range e.Unwrap() {
			text += everything(sub)
		}
	case interface{ Unwrap() error }:
		text += everything(e.Unwrap())
	}
	return text
}

func TestReorderedFinalizersAreSeen(t *testing.T) {
	f := setup(t)
	objs := objects(t, strings.Replace(app, "kind: Deployment\nmetadata: {name: web}",
		"kind: Deployment\nmetadata: {name: web, finalizers: [example.com/a, example.com/b]}", 1))
	prev := f.apply(t, objs, f.options())
	f.patch(t, deployments, "web", "editor", types.JSONPatchType,
		`[{"op":"replace","path":"/metadata/finalizers","value":["example.com/b","example.com/a"]}]`)
	res, _ := f.again(t, objs, prev)
	require.Equal(t, ssa.Configured, actions(res)["Deployment/web"])
	require.Equal(t, []string{"example.com/a", "example.com/b"}, f.get(t, deployments, "web").GetFinalizers())
	f.patch(t, deployments, "web", "test", types.MergePatchType, `{"metadata":{"finalizers":null}}`)
}

// A set of a hostile definition and two namespaces, each inside the other, as the
// definition has it, must neither hang nor be sent to another place.
func TestAttackDefinitionOfBuiltInKinds(t *testing.T) {
	f := setup(t)
	objs := objects(t, strings.ReplaceAll(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: namespaces.}
spec:
  group: ""
  scope: Namespaced
  names: {kind: Namespace, plural: namespaces}
  versions: [{name: v1, served: true, storage: true}]
---
apiVersion: v1
kind: Namespace
metadata: {name: PREFIX-a, namespace: PREFIX-b}
---
apiVersion: v1
kind: Namespace
metadata: {name: PREFIX-b, namespace: PREFIX-a}
`, "PREFIX", f.ns))
	type outcome struct {
		res *ssa.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := f.applier.Apply(t.Context(), objs, f.options())
		done <- outcome{res, err}
	}()
	select {
	case got := <-done:
		require.Error(t, got.err)
		require.Equal(t, 2, got.res.Count(ssa.Created), "%v", actions(got.res))
	case <-time.After(30 * time.Second):
		t.Fatal("the apply hangs")
	}
}

func TestAttackNamesThatLeaveTheirPath(t *testing.T) {
	f := setup(t)
	f.apply(t, objects(t, app), f.options())
	for name, text := range map[string]string{
		"name":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ../secrets/token}",
		"namespace": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: ../namespaces}",
		"resource": `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x.shop.example.com}
spec: {group: shop.example.com, scope: Namespaced, names: {kind: Gadget, plural: ../secrets}, versions: [{name: v1, served: true}]}
---
apiVersion: shop.example.com/v1
kind: Gadget
metadata: {name: token}`,
		"no resource": `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x.shop.example.com}
spec: {group: shop.example.com, scope: Namespaced, names: {kind: Gadget}, versions: [{name: v1, served: true}]}
---
apiVersion: shop.example.com/v1
kind: Gadget
metadata: {name: token}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.applier.Apply(t.Context(), objects(t, text), f.options())
			var invalid *ssa.InvalidSetError
			require.ErrorAs(t, err, &invalid)
		})
	}
}

func TestGoValuesThatAreNotJSONAreErrors(t *testing.T) {
	f := setup(t)
	u := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}")
	u[0].Object["data"] = map[string]string{"a": "b"}
	_, err := f.applier.Apply(t.Context(), u, f.options())
	require.ErrorContains(t, err, "data holds a Go map[string]string")
	var invalid *ssa.InvalidSetError
	require.ErrorAs(t, err, &invalid)
}

// One YAML decoder makes whole numbers int64, another float64.
func TestNumbersAreComparedByValue(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	require.NoError(t, unstructured.SetNestedField(objs[4].Object, float64(2), "spec", "replicas"))
	res, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged))
	require.EqualValues(t, 4, requests)
	require.NoError(t, unstructured.SetNestedField(objs[4].Object, math.NaN(), "spec", "replicas"))
	_, err := f.applier.Apply(t.Context(), objs, f.options())
	require.ErrorContains(t, err, "spec.replicas is NaN")
}

func TestSecretDataOfTheWrongTypeIsNotDropped(t *testing.T) {
	f := setup(t)
	_, err := f.applier.Apply(t.Context(), objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: b}\ndata: [c]"), f.options())
	require.ErrorContains(t, err, "data must map strings")
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, description: one, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: GROUP/v1
kind: Widget
metadata: {name: one}
spec: {size: 3}
`

// defined applies a definition and an object of it until both are settled.
func (f *fixture) defined(t *testing.T) ([]*unstructured.Unstructured, *ssa.Result) {
	t.Helper()
	objs := objects(t, strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"))
	res := f.apply(t, objs, f.options())
	require.Eventually(t, func() bool {
		res, _ = f.again(t, objs, res)
		return res.Count(ssa.Unchanged) == 2
	}, 30*time.Second, 20*time.Millisecond)
	return objs, res
}

func TestWrongObjectDoesNotWaitForItsDefinition(t *testing.T) {
	f := setup(t)
	objs, prev := f.defined(t)
	require.NoError(t, unstructured.SetNestedField(objs[1].Object, int64(1), "spec", "no-such-field"))
	opts := f.options()
	opts.Previous = prev.Entries
	start := time.Now()
	_, err := f.applier.Apply(t.Context(), objs, opts)
	require.ErrorContains(t, err, "no-such-field")
	require.Less(t, time.Since(start), 4*time.Second, "the definition is as it was: there is nothing to wait for")
}

func TestChangedDefinitionMakesItsObjectsLookedAt(t *testing.T) {
	f := setup(t)
	objs, prev := f.defined(t)
	versions := objs[0].Object["spec"].(map[string]any)["versions"].([]any)
	schema := versions[0].(map[string]any)["schema"].(map[string]any)
	require.NoError(t, unstructured.SetNestedField(schema, "another", "openAPIV3Schema", "description"))
	sent := false
	f.meter.Observe(func(method, path string) {
		sent = sent || method == http.MethodPatch && strings.HasSuffix(path, "/widgets/one")
	})
	res, _ := f.again(t, objs, prev)
	f.meter.Observe(nil)
	require.Equal(t, ssa.Configured, res.Changes[0].Action)
	require.Equal(t, ssa.Unchanged, res.Changes[1].Action)
	require.True(t, sent, "a new schema may have dropped fields without a write")
}

// The apply made the object anew, and the answer was lost. It must not be taken
// for a stranger's when it leaves the set.
func TestLostAnswerKeepsTheObjectOurs(t *testing.T) {
	f := setup(t)
	objs := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}")
	prev := f.apply(t, objs, f.options())
	require.NoError(t, f.others.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "x", metav1.DeleteOptions{}))
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if req.Method == http.MethodPatch && err == nil {
			resp.Body.Close()
			return nil, errors.New("connection lost")
		}
		return resp, err
	})
	opts := f.options()
	opts.Previous = prev.Entries
	res, err := f.applier.Apply(t.Context(), objs, opts)
	require.ErrorContains(t, err, "connection lost")

	pruner, err := gc.NewPruner(f.cfg)
	require.NoError(t, err)
	pruned, err := pruner.Prune(t.Context(), res.Entries, gc.PruneOptions{Owner: "test"})
	require.NoError(t, err)
	require.Equal(t, gc.Deleted, pruned.Objects[0].Outcome)
}

func TestRefusalKeepsTheRecordedUID(t *testing.T) {
	f := setup(t)
	objs := objects(t, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 80}]}")
	prev := f.apply(t, objs, f.options())
	objs = objects(t, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 99999}]}")
	opts := f.options()
	opts.Previous = prev.Entries
	res, err := f.applier.Apply(t.Context(), objs, opts)
	require.Error(t, err)
	require.Equal(t, prev.Entries[0].UID, res.Entries[0].UID)
}

// one at a time, and ended after the first.
func endAfterFirst(t *testing.T, f *fixture, objs []*unstructured.Unstructured, previous gc.Inventory) (*ssa.Result, error) {
	t.Helper()
	a, err := ssa.New(f.cfg, ssa.Options{Manager: "kit", Concurrency: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts := f.options()
	opts.Previous, opts.Progress = previous, func(ssa.Change) { cancel() }
	return a.Apply(ctx, objs, opts)
}

func TestSkippedObjectsStayOnRecord(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	targets, err := f.applier.Targets(t.Context(), objs, f.options())
	require.NoError(t, err)
	res, err := endAfterFirst(t, f, objs, targets) // as after a first apply that told nothing
	require.Error(t, err)
	require.Positive(t, res.Count(ssa.Skipped))
	require.Len(t, res.Entries, len(objs))
}

func TestAnEndedApplyIsNotTerminal(t *testing.T) {
	f := setup(t)
	objs := objects(t, "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999}]}")
	_, err := endAfterFirst(t, f, append(objs, objects(t, app)...), nil)
	var failed *ssa.ApplyError
	require.ErrorAs(t, err, &failed)
	require.False(t, failed.Terminal(), "the others can still be applied")
	_, err = f.applier.Apply(t.Context(), objs, f.options())
	require.True(t, terminal(err))
}

func TestWhatCannotSucceedIsTerminal(t *testing.T) {
	f := setup(t)
	for text, says := range map[string]string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large}\ndata: {a: " + strings.Repeat("x", 4<<20) + "}": "make the object smaller",
		"apiVersion: v1\nkind: ComponentStatus\nmetadata: {name: x}":                                              "cannot be applied",
	} {
		_, err := f.applier.Apply(t.Context(), objects(t, text), f.options())
		require.ErrorContains(t, err, says)
		require.True(t, terminal(err))
		require.Less(t, len(err.Error()), 2000)
	}
}

func TestTerminatingNamespaceSaysSo(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.others.Resource(configMaps.GroupVersion().WithResource("namespaces")).Delete(t.Context(), f.ns, metav1.DeleteOptions{}))
	_, err := f.applier.Apply(t.Context(), objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}"), f.options())
	require.ErrorContains(t, err, "apply again when the namespace is gone")
	require.False(t, terminal(err))
}

func TestAttackSecretInWarnings(t *testing.T) {
	f := setup(t)
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && req.Method == http.MethodPatch {
			resp.Header.Add("Warning", `299 - "hunter2 is weak"`)
		}
		return resp, err
	})
	res := f.apply(t, objects(t, app), f.options())
	for _, c := range res.Changes {
		require.Len(t, c.Warnings, 1)
		require.Equal(t, c.Key.Kind != "Secret", strings.Contains(c.Warnings[0], "hunter2"))
	}
}

func TestAttackCredentialsInTheAddress(t *testing.T) {
	a, err := ssa.New(&rest.Config{Host: "http://user:c4n4ry@127.0.0.1:1"}, ssa.Options{})
	require.NoError(t, err)
	_, err = a.Apply(t.Context(), objects(t, app), ssa.ApplyOptions{Owner: "test", Namespace: "default"})
	require.ErrorContains(t, err, "the API server at http://127.0.0.1:1 cannot be reached")
	require.NotContains(t, everything(err), "c4n4ry")
}

func TestWaitDoesNotFlood(t *testing.T) {
	for name, code := range map[string]int{"a proxy ends each watch": http.StatusOK, "each watch fails": http.StatusBadGateway} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			res := f.apply(t, objects(t, app), f.options())
			f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.URL.Query().Get("watch") != "" {
					return answer(req, code, ""), nil
				}
				return next.RoundTrip(req)
			})
			before := f.meter.Count()
			_, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: 500 * time.Millisecond})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, f.meter.Count().Sub(before).Requests, int64(20))
		})
	}
}

func TestWaitReportsAllOfATypeWhenOneFails(t *testing.T) {
	f := setup(t)
	_, rest, found := strings.Cut(app, "apiVersion: apps/v1")
	require.True(t, found)
	deployment := "apiVersion: apps/v1" + rest
	res := f.apply(t, objects(t, strings.Replace(deployment, "{name: web}", "{name: aaa}", 1)+"---\n"+deployment), f.options())
	f.patch(t, deployments, "aaa", "controller", types.MergePatchType, stuck, "status")
	f.patch(t, deployments, "web", "controller", types.MergePatchType, ready, "status")
	_, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: time.Minute})
	require.ErrorContains(t, err, "1 of 2 objects are not ready: Deployment.apps "+f.ns+"/aaa is Failed")
}

func TestWaitNamesTheCallersOwnDeadline(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := f.applier.Wait(ctx, res.Entries, ssa.WaitOptions{Owner: "test"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotContains(t, err.Error(), "5m0s")
}

func TestAttackDriftThatSteersATerminal(t *testing.T) {
	for _, v := range []any{"\x1b[2J", map[string]any{"a": "\x1b[2J"}, []any{"\x1b[2J\u009b"}} {
		text := ssa.Drift{Path: "a\x1b[2J", Manager: "b\x1b[2J", Old: v, New: v}.String()
		require.NotContains(t, text, "\x1b")
		require.NotContains(t, text, "\u009b")
		require.Contains(t, text, `\x1b[2J`)
	}
}
