package dynamicclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/conditions"
	"github.com/gitopskit/gitopskit/conditions/dynamicclient"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
)

// App is a custom resource of somebody's controller.
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              AppSpec   `json:"spec,omitempty"`
	Status            AppStatus `json:"status,omitempty"`
}

type AppSpec struct {
	Size int64 `json:"size,omitempty"`
}

type AppStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Revision           string             `json:"revision,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

func (a *App) GetConditions() []metav1.Condition  { return a.Status.Conditions }
func (a *App) SetConditions(c []metav1.Condition) { a.Status.Conditions = c }
func (a *App) GetObservedGeneration() int64       { return a.Status.ObservedGeneration }

func (a *App) DeepCopyObject() runtime.Object {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	out := new(App)
	if err := json.Unmarshal(data, out); err != nil {
		panic(err)
	}
	return out
}

var (
	apps        = schema.GroupVersionResource{Group: "conditions.example.com", Version: "v1", Resource: "apps"}
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// world is a server with the definition of App, and a namespace of the test's own.
type world struct {
	dynamic.Interface
	namespace string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	plane := testplane.Small(t)
	c, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	w := &world{Interface: c, namespace: testplane.Namespace(t, plane)}
	open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "apps.conditions.example.com"},
		"spec": map[string]any{
			"group": apps.Group, "scope": "Namespaced",
			"names": map[string]any{"plural": "apps", "singular": "app", "kind": "App", "listKind": "AppList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{"spec": open, "status": open}}},
			}},
		},
	}}
	_, err = c.Resource(definitions).Create(t.Context(), crd, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		_, err := c.Resource(apps).Namespace(w.namespace).List(t.Context(), metav1.ListOptions{})
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	return w
}

func (w *world) client() conditions.Client {
	return dynamicclient.New(w, apps, dynamicclient.Options{FieldManager: "test"})
}

func (w *world) create(t *testing.T, name string) *App {
	t.Helper()
	app := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "conditions.example.com/v1", "kind": "App",
		"metadata": map[string]any{"name": name, "finalizers": []any{"example.com/kept"}}, "spec": map[string]any{"size": int64(1)},
	}}
	_, err := w.Resource(apps).Namespace(w.namespace).Create(t.Context(), app, metav1.CreateOptions{})
	require.NoError(t, err)
	return w.get(t, name)
}

func (w *world) get(t *testing.T, name string) *App {
	t.Helper()
	app := &App{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	require.NoError(t, w.client().Get(t.Context(), app))
	return app
}

// counting counts the requests of a client, and can act before each.
type counting struct {
	conditions.Client
	gets, patches int
	before        func()
}

func (c *counting) Get(ctx context.Context, obj conditions.Object) error {
	c.gets++
	return c.Client.Get(ctx, obj)
}

func (c *counting) Patch(ctx context.Context, obj conditions.Object, patch []byte, sub string) error {
	c.patches++
	if c.before != nil {
		act := c.before
		c.before = nil
		act()
	}
	return c.Client.Patch(ctx, obj, patch, sub)
}

func patcher(t *testing.T, app conditions.Object, opts conditions.PatchOptions) *conditions.Patcher {
	t.Helper()
	p, err := conditions.NewPatcher(app, opts)
	require.NoError(t, err)
	return p
}

func TestPatchRequests(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	for name, test := range map[string]struct {
		change func(*App)
		want   conditions.PatchResult
	}{
		"nothing":    {func(*App) {}, conditions.PatchResult{}},
		"conditions": {func(a *App) { conditions.MarkReady(a, "Succeeded", "done", now) }, conditions.PatchResult{Requests: 1, Status: true}},
		"status":     {func(a *App) { a.Status.Revision = "main@sha1:1f0c" }, conditions.PatchResult{Requests: 1, Status: true}},
		"both in status": {func(a *App) {
			a.Status.Revision = "x"
			conditions.MarkStalled(a, "Bad", "no", now)
		}, conditions.PatchResult{Requests: 1, Status: true}},
		"finalizer": {func(a *App) { a.Finalizers = append(a.Finalizers, "example.com/ours") }, conditions.PatchResult{Requests: 1, Body: true}},
		"spec":      {func(a *App) { a.Spec.Size = 7 }, conditions.PatchResult{Requests: 1, Body: true}},
		"all": {func(a *App) {
			a.Labels = map[string]string{"a": "b"}
			conditions.MarkReady(a, "Succeeded", "done", now)
		}, conditions.PatchResult{Requests: 2, Body: true, Status: true}},
	} {
		t.Run(name, func(t *testing.T) {
			app := w.create(t, nameFrom(name))
			c := &counting{Client: w.client()}
			p := patcher(t, app, conditions.PatchOptions{})
			test.change(app)
			res, err := p.Patch(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, test.want, res)
			require.Equal(t, res.Requests, c.patches+c.gets)

			stored := w.get(t, app.Name)
			require.Equal(t, stored.ResourceVersion, app.ResourceVersion)
			require.Equal(t, stored.Generation, app.Generation)
			require.Equal(t, stored.Spec, app.Spec)
			require.Equal(t, stored.Labels, app.Labels)
			require.Equal(t, stored.Finalizers, app.Finalizers)
			require.Equal(t, stored.Status.Revision, app.Status.Revision)
			require.Equal(t, describe(stored), describe(app))

			res, err = p.Patch(t.Context(), c)
			require.NoError(t, err)
			require.Zero(t, res, "what was written is not written again")
		})
	}
}

func nameFrom(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c == ' ' {
			out[i] = '-'
		}
	}
	return string(out)
}

func describe(o conditions.Getter) []string {
	var all []string
	for _, c := range o.GetConditions() {
		all = append(all, fmt.Sprint(c.Type, c.Status, c.Reason, c.Message, c.ObservedGeneration, c.LastTransitionTime.UTC()))
	}
	return all
}

// Two writers change conditions, finalizers and owners of one object at once, and
// neither loses anything.
func TestPatchKeepsWhatOthersWrote(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	app := w.create(t, "shared")
	ours := patcher(t, app, conditions.PatchOptions{})
	app.Finalizers = append(app.Finalizers, "example.com/ours")
	conditions.MarkReady(app, "Succeeded", "done", now)

	c := &counting{Client: w.client()}
	c.before = func() {
		other := w.get(t, "shared")
		theirs := patcher(t, other, conditions.PatchOptions{})
		other.Finalizers = []string{"example.com/theirs"} // and the old one goes
		other.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: "1"}}
		other.Status.Revision = "theirs"
		conditions.MarkTrue(other, "Scanned", "Clean", "nothing found", now)
		_, err := theirs.Patch(t.Context(), w.client())
		require.NoError(t, err)
	}
	res, err := ours.Patch(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, conditions.PatchResult{Requests: 4, Body: true, Status: true}, res, "refused, read, body, status")

	stored := w.get(t, "shared")
	require.ElementsMatch(t, []string{"example.com/ours", "example.com/theirs"}, stored.Finalizers)
	require.Len(t, stored.OwnerReferences, 1)
	require.Equal(t, "theirs", stored.Status.Revision)
	require.True(t, conditions.IsTrue(stored, conditions.Ready))
	require.True(t, conditions.IsTrue(stored, "Scanned"))
	require.ElementsMatch(t, describe(stored), describe(app), "and we know theirs now")
}

func TestPatchConflict(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	clash := func(t *testing.T, name, conditionType string, opts conditions.PatchOptions) error {
		t.Helper()
		app := w.create(t, name)
		p := patcher(t, app, opts)
		conditions.MarkTrue(app, conditionType, "Ours", "ours", now)
		c := &counting{Client: w.client(), before: func() {
			other := w.get(t, name)
			theirs := patcher(t, other, conditions.PatchOptions{})
			conditions.MarkFalse(other, conditionType, "Theirs", "theirs", now)
			_, err := theirs.Patch(t.Context(), w.client())
			require.NoError(t, err)
		}}
		_, err := p.Patch(t.Context(), c)
		return err
	}
	var conflict *conditions.ConflictError
	err := clash(t, "not-owned", "Scanned", conditions.PatchOptions{})
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, "Scanned", conflict.Type)
	require.ErrorContains(t, err, "not-owned")
	require.Equal(t, "Theirs", conditions.Get(w.get(t, "not-owned"), "Scanned").Reason)

	require.NoError(t, clash(t, "owned", "Scanned", conditions.PatchOptions{Owned: []string{"Scanned"}}))
	require.Equal(t, "Ours", conditions.Get(w.get(t, "owned"), "Scanned").Reason)
	require.NoError(t, clash(t, "ready", conditions.Ready, conditions.PatchOptions{}))
	require.Equal(t, "Ours", conditions.Get(w.get(t, "ready"), conditions.Ready).Reason)
}

// Many writers, each with a condition and a finalizer of its own.
func TestPatchManyWriters(t *testing.T) {
	const writers = 8
	w := newWorld(t)
	w.create(t, "busy")
	var group sync.WaitGroup
	fails := make(chan error, writers)
	for i := range writers {
		group.Go(func() {
			app := w.get(t, "busy")
			p, err := conditions.NewPatcher(app, conditions.PatchOptions{Attempts: 50})
			if err != nil {
				fails <- err
				return
			}
			app.Finalizers = append(app.Finalizers, fmt.Sprintf("example.com/w%d", i))
			conditions.MarkTrue(app, fmt.Sprintf("Writer%d", i), "Done", "", time.Now())
			_, err = p.Patch(t.Context(), w.client())
			fails <- err
		})
	}
	group.Wait()
	for range writers {
		require.NoError(t, <-fails)
	}
	stored := w.get(t, "busy")
	require.Len(t, stored.Finalizers, writers+1)
	require.Len(t, stored.Status.Conditions, writers)
}

func TestPatchErrors(t *testing.T) {
	w := newWorld(t)
	_, err := conditions.NewPatcher(&App{}, conditions.PatchOptions{})
	require.ErrorContains(t, err, "no resource version")

	t.Run("the object is gone", func(t *testing.T) {
		app := w.create(t, "gone")
		p := patcher(t, app, conditions.PatchOptions{})
		conditions.MarkReady(app, "Succeeded", "", time.Now())
		free(t, w, "gone")
		_, err := p.Patch(t.Context(), w.client())
		require.True(t, apierrors.IsNotFound(err), "%v", err)
	})
	t.Run("another object has its name", func(t *testing.T) {
		app := w.create(t, "anew")
		p := patcher(t, app, conditions.PatchOptions{})
		conditions.MarkReady(app, "Succeeded", "", time.Now())
		free(t, w, "anew")
		w.create(t, "anew")
		_, err := p.Patch(t.Context(), w.client())
		require.ErrorContains(t, err, "made anew")
		require.Empty(t, w.get(t, "anew").Status.Conditions)
	})
	t.Run("another object has its name, and no conditions changed", func(t *testing.T) {
		app := w.create(t, "again")
		p := patcher(t, app, conditions.PatchOptions{})
		app.Status.Revision = "of the old one"
		free(t, w, "again")
		w.create(t, "again")
		_, err := p.Patch(t.Context(), w.client())
		require.Error(t, err)
		require.Empty(t, w.get(t, "again").Status.Revision)
	})
	t.Run("others never stop writing", func(t *testing.T) {
		app := w.create(t, "storm")
		p := patcher(t, app, conditions.PatchOptions{Attempts: 2})
		conditions.MarkReady(app, "Succeeded", "", time.Now())
		app.ResourceVersion = "1" // of no use: the patcher remembers its own
		c := &refusing{Client: w.client()}
		res, err := p.Patch(t.Context(), c)
		require.True(t, apierrors.IsConflict(err), "%v", err)
		require.Equal(t, 3, res.Requests)
	})
	t.Run("cancelled", func(t *testing.T) {
		app := w.create(t, "cancelled")
		ctx, cancel := context.WithCancel(t.Context())
		p := patcher(t, app, conditions.PatchOptions{})
		conditions.MarkReady(app, "Succeeded", "", time.Now())
		_, err := p.Patch(ctx, &refusing{Client: w.client(), act: cancel})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// refusing says that others wrote, each time.
type refusing struct {
	conditions.Client
	act func()
}

func (r *refusing) Patch(context.Context, conditions.Object, []byte, string) error {
	if r.act != nil {
		r.act()
	}
	return apierrors.NewConflict(apps.GroupResource(), "storm", errors.New("changed"))
}

// free deletes an object for good.
func free(t *testing.T, w *world, name string) {
	t.Helper()
	objects := w.Resource(apps).Namespace(w.namespace)
	_, err := objects.Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, objects.Delete(t.Context(), name, metav1.DeleteOptions{}))
}

// Objects of a kind that the program has no type for.
func TestPatchUnstructured(t *testing.T) {
	w := newWorld(t)
	w.create(t, "any")
	object := &dynamicclient.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "any", "namespace": w.namespace},
	}}}
	require.NoError(t, w.client().Get(t.Context(), object))
	p := patcher(t, object, conditions.PatchOptions{})
	conditions.MarkReady(object, "Succeeded", "done", time.Now())
	res, err := p.Patch(t.Context(), w.client())
	require.NoError(t, err)
	require.Equal(t, conditions.PatchResult{Requests: 1, Status: true}, res)
	require.Equal(t, describe(w.get(t, "any")), describe(object))
	require.Empty(t, conditions.Check(object, conditions.CheckOptions{}))
}
