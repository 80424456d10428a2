package ssa_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// chain is a set of ConfigMaps: "a: b c" is one named a that depends on b and c.
func (f *fixture) chain(t *testing.T, edges ...string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, e := range edges {
		name, on, _ := strings.Cut(e, ": ")
		u := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+"}")[0]
		var paths []string
		for _, o := range strings.Fields(on) {
			paths = append(paths, "/namespaces/"+f.ns+"/ConfigMap/"+o)
		}
		if len(paths) > 0 {
			u.SetAnnotations(map[string]string{ssa.DependsAnnotation: strings.Join(paths, ", ")})
		}
		out = append(out, u)
	}
	return out
}

func TestDependenciesComeFirst(t *testing.T) {
	f := setup(t)
	var order []string
	opts := f.options()
	opts.Progress = func(c ssa.Change) { order = append(order, c.Key.Name) }
	f.apply(t, f.chain(t, "d: b c", "c: a", "b: a", "a", "e: d"), opts)
	require.Equal(t, "a", order[0])
	require.ElementsMatch(t, []string{"b", "c"}, order[1:3])
	require.Equal(t, []string{"d", "e"}, order[3:])
}

func TestDependencyThatFails(t *testing.T) {
	f := setup(t)
	objs := f.chain(t, "a", "b: a", "c: b", "d")
	objs[0].Object["dta"] = "x"
	res, err := f.applier.Apply(t.Context(), objs, f.options())
	require.Error(t, err)
	require.Equal(t, map[string]ssa.Action{"ConfigMap/a": ssa.Failed, "ConfigMap/b": ssa.Skipped, "ConfigMap/c": ssa.Skipped, "ConfigMap/d": ssa.Created}, actions(res))
	require.True(t, terminal(err))
}

func TestMalformedDependencies(t *testing.T) {
	f := setup(t)
	for on, says := range map[string]string{
		"ConfigMap/x":                            `"ConfigMap/x" is neither`,
		"/namespaces/x/ConfigMap/":               "is neither",
		"/namespaces//ConfigMap/x":               "is neither",
		"/ConfigMap/x,":                          `"" is neither`,
		"apps/namespaces/default/Deployment/x":   "Deployment.apps default/x is not in the set",
		"/ConfigMap/" + strings.Repeat("x", 999): "is not in the set",
		strings.Repeat("/ConfigMap/x,", 101):     "it names more than 100 objects",
		"/namespaces/" + f.ns + "/ConfigMap/x":   "it depends on itself",
	} {
		objs := configMap(t, ssa.DependsAnnotation+": '"+on+"'", "a: b")
		_, err := f.applier.Apply(t.Context(), objs, f.options())
		var wrong *ssa.DependencyError
		require.ErrorAs(t, err, &wrong, on)
		require.ErrorContains(t, err, says)
		require.True(t, terminal(err))
		require.Less(t, len(err.Error()), 1000)
	}
}

func TestCyclesAreNamed(t *testing.T) {
	f := setup(t)
	_, err := f.applier.Apply(t.Context(), f.chain(t, "x: a", "a: b", "b: c", "c: a d", "d"), f.options())
	var cycle *ssa.CycleError
	require.ErrorAs(t, err, &cycle)
	key := func(name string) gc.Key { return gc.Key{Kind: "ConfigMap", Namespace: f.ns, Name: name} }
	require.Equal(t, []gc.Key{key("a"), key("b"), key("c")}, cycle.Cycle)
	require.ErrorContains(t, err, fmt.Sprintf("%s -> %s -> %s -> %s; remove one", key("a"), key("b"), key("c"), key("a")))
	require.True(t, terminal(err))

	t.Run("with what the order asks for itself", func(t *testing.T) {
		objs := objects(t, strings.ReplaceAll(`
apiVersion: v1
kind: Namespace
metadata: {name: NS-2, annotations: {config.kubernetes.io/depends-on: /namespaces/NS-2/ConfigMap/x}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: x, namespace: NS-2}`, "NS", f.ns))
		_, err := f.applier.Apply(t.Context(), objs, f.options())
		require.ErrorAs(t, err, &cycle)
		require.Len(t, cycle.Cycle, 2)
	})
	t.Run("long", func(t *testing.T) {
		edges := []string{"n0: n499"}
		for i := 1; i < 500; i++ {
			edges = append(edges, fmt.Sprintf("n%d: n%d", i, i-1))
		}
		_, err := f.applier.Apply(t.Context(), f.chain(t, edges...), f.options())
		require.ErrorAs(t, err, &cycle)
		require.Len(t, cycle.Cycle, 500)
		require.Less(t, len(err.Error()), 5000)
	})
}

// A webhook comes last, but for what asks for it to be there first.
func TestDependencyOnAWebhook(t *testing.T) {
	f := setup(t)
	objs := objects(t, strings.ReplaceAll(`
apiVersion: v1
kind: ConfigMap
metadata: {name: after, annotations: {config.kubernetes.io/depends-on: admissionregistration.k8s.io/ValidatingWebhookConfiguration/NS}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NS}
webhooks: []
---
apiVersion: v1
kind: ConfigMap
metadata: {name: before}`, "NS", f.ns))
	defer func() {
		gvr := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
		require.NoError(t, f.others.Resource(gvr).Delete(t.Context(), f.ns, metav1.DeleteOptions{}))
	}()
	var order []string
	opts := f.options()
	opts.Progress = func(c ssa.Change) { order = append(order, c.Key.Name) }
	f.apply(t, objs, opts)
	require.Equal(t, []string{"before", f.ns, "after"}, order)
}

func (f *fixture) dependent(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	after := f.chain(t, "after")[0]
	after.SetAnnotations(map[string]string{ssa.DependsAnnotation: "apps/namespaces/" + f.ns + "/Deployment/web"})
	return append(web(t), after)
}

func TestDependenciesThatMustBeReady(t *testing.T) {
	f := setup(t)
	objs := f.dependent(t)
	opts := f.options()
	res := f.apply(t, objs, opts)
	require.Equal(t, 2, res.Count(ssa.Created), "being applied is enough")
	opts.Previous, opts.WaitForDependencies, opts.DependencyTimeout = res.Entries, true, time.Minute
	before := f.meter.Count().Requests
	require.Equal(t, 2, f.apply(t, objs, opts).Count(ssa.Unchanged), "nobody waits for it")
	require.EqualValues(t, 2, f.meter.Count().Requests-before)

	f = setup(t)
	objs = f.dependent(t)
	// One slot: an object that waits for health must not take it.
	var err error
	f.applier, err = ssa.New(f.cfg, ssa.Options{Manager: "kit", Concurrency: 1})
	require.NoError(t, err)
	objs = append(objs, f.chain(t, "free")...)
	opts = f.options()
	opts.WaitForDependencies, opts.DependencyTimeout = true, time.Minute
	var order []string
	opts.Progress = func(c ssa.Change) {
		if order = append(order, c.Key.Name); c.Key.Name == "free" {
			f.patch(t, deployments, "web", "controller", types.MergePatchType, ready, "status")
		}
	}
	f.apply(t, objs, opts)
	require.Equal(t, []string{"free", "web", "after"}, order)

	t.Run("and are not", func(t *testing.T) {
		f := setup(t)
		opts := f.options()
		opts.WaitForDependencies, opts.DependencyTimeout = true, 100*time.Millisecond
		res, err := f.applier.Apply(t.Context(), f.dependent(t), opts)
		var unhealthy *ssa.HealthError
		require.ErrorAs(t, err, &unhealthy)
		require.ErrorContains(t, err, "it depends on Deployment.apps "+f.ns+"/web, which is not ready")
		require.Equal(t, map[string]ssa.Action{"Deployment/web": ssa.Created, "ConfigMap/after": ssa.Skipped}, actions(res))
		require.False(t, terminal(err))
	})
}

// The definition is no object of the set: a controller that the set brings makes it.
func TestDefinitionThatAControllerMakes(t *testing.T) {
	f := setup(t)
	parts := objects(t, strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"))
	definition, widget := parts[0], parts[1]
	widget.SetAnnotations(map[string]string{ssa.DependsAnnotation: "/namespaces/" + f.ns + "/ConfigMap/controller"})
	objs := append(f.chain(t, "controller"), widget)
	targets, err := f.applier.Targets(t.Context(), objs, f.options())
	require.NoError(t, err)
	require.Len(t, targets, 1, "what it is called is not known yet")

	opts := f.options()
	var once sync.Once
	made := make(chan error, 1)
	opts.Progress = func(ssa.Change) {
		once.Do(func() {
			gvr := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
			go func() {
				_, err := f.others.Resource(gvr).Create(t.Context(), definition, metav1.CreateOptions{})
				made <- err
			}()
		})
	}
	res := f.apply(t, objs, opts)
	require.NoError(t, <-made)
	require.Equal(t, 2, res.Count(ssa.Created))
	e, ok := res.Entries.Lookup(gc.Key{Group: f.ns + ".example.com", Kind: "Widget", Namespace: f.ns, Name: "one"})
	require.True(t, ok)
	require.Equal(t, "widgets", e.Resource)
	res, _ = f.again(t, objs, res)
	require.Equal(t, 2, res.Count(ssa.Unchanged))
}

func TestDefinitionThatNeverComes(t *testing.T) {
	f := setup(t)
	widget := objects(t, strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"))[1]
	widget.SetAnnotations(map[string]string{ssa.DependsAnnotation: "/namespaces/" + f.ns + "/ConfigMap/controller"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	res, err := f.applier.Apply(ctx, append(f.chain(t, "controller"), widget), f.options())
	require.ErrorContains(t, err, "1 of 2 objects were not applied: apply Widget."+f.ns+".example.com "+f.ns+"/one")
	require.Len(t, res.Entries, 1, "an entry that says how to find the object cannot be made")
	require.False(t, terminal(err))
}

// Those who write the set choose how many objects are waited for.
func TestAttackManyDependenciesThatMustBeReady(t *testing.T) {
	f := setup(t)
	const n = 150
	var objs []*unstructured.Unstructured
	for i := range n {
		u := web(t)[0]
		u.SetName(fmt.Sprintf("web-%d", i))
		after := f.chain(t, fmt.Sprintf("after-%d", i))[0]
		after.SetAnnotations(map[string]string{ssa.DependsAnnotation: "apps/namespaces/" + f.ns + "/Deployment/" + u.GetName()})
		objs = append(objs, u, after)
	}
	var open, most atomic.Int64
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && req.URL.Query().Get("watch") != "" {
			now := open.Add(1)
			for high := most.Load(); now > high && !most.CompareAndSwap(high, now); high = most.Load() {
			}
			context.AfterFunc(req.Context(), func() { open.Add(-1) })
		}
		return resp, err
	})
	opts := f.options()
	opts.WaitForDependencies, opts.DependencyTimeout = true, time.Second
	res, err := f.applier.Apply(t.Context(), objs, opts)
	require.Error(t, err)
	require.Equal(t, n, res.Count(ssa.Created))
	require.Equal(t, n, res.Count(ssa.Skipped))
	require.Positive(t, most.Load())
	require.Less(t, most.Load(), int64(120), "100, and some whose end is not yet known")
}
