package release_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/helm/release"
	"github.com/gitopskit/gitopskit/internal/controlplane"
)

func definition(group, field string) string {
	return `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {` + field + `: {type: string}}
`
}

func TestDefinitionsAndTheirObjectsAtOnce(t *testing.T) {
	for name, dir := range map[string]string{"crds": "crds/", "templates": "templates/"} {
		t.Run(name, func(t *testing.T) {
			w := api(t)
			group := name + ".example.test"
			thing := "{{ if or (.Capabilities.APIVersions.Has \"" + group + "/v1/Thing\") " + map[string]string{"crds": "false", "templates": "true"}[name] + " }}\n" +
				"apiVersion: " + group + "/v1\nkind: Thing\nmetadata: {name: it}\ncolor: red\n{{ end }}\n"
			spec := w.spec(chart(t, "1.0.0", map[string]string{dir + "crd.yaml": definition(group, "color"), "templates/thing.yaml": thing}))
			w.must(spec, release.Install)
			things := resource(group, "things")
			require.NotNil(t, w.get(things, "it"))

			changed := map[string]string{dir + "crd.yaml": definition(group, "color: {type: string}, size"), "templates/thing.yaml": thing}
			spec.Chart = chart(t, "1.1.0", changed)
			spec.Upgrade.CRDs = release.CreateReplaceCRDs
			w.must(spec, release.Upgrade)
			crd, err := w.client.Resource(resource("apiextensions.k8s.io", "customresourcedefinitions")).Get(t.Context(), "things."+group, metav1.GetOptions{})
			require.NoError(t, err)
			require.Contains(t, text(crd.Object["spec"]), `"size"`)

			_, err = w.engine.Uninstall(t.Context(), spec, w.state)
			require.NoError(t, err)
		})
	}
}

func TestSkippedDefinitions(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{"crds/crd.yaml": definition("skipped.example.test", "color")}))
	spec.Install.CRDs = release.SkipCRDs
	w.must(spec, release.Install)
	list, err := w.client.Resource(resource("apiextensions.k8s.io", "customresourcedefinitions")).List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=things.skipped.example.test"})
	require.NoError(t, err)
	require.Empty(t, list.Items)
}

func TestUnhealthyReleaseFails(t *testing.T) {
	w := api(t) // where no pod is ever made
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/deployment.yaml": deployment}))
	spec.Install.Timeout = time.Second
	result, err := w.reconcile(spec)
	var health *release.HealthError
	require.ErrorAs(t, err, &health)
	require.Equal(t, "Deployment", health.Objects[0].Object.Kind)
	require.ErrorIs(t, err, release.ErrExhausted)
	require.Equal(t, []string{"failed"}, w.history())
	require.Equal(t, release.Broken, result.Left)
	require.Contains(t, w.helm("status", "shop"), "STATUS: failed")
}

func TestChecksDecideBeforeKstatus(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/deployment.yaml": deployment}))
	spec.Wait.Checks = []release.HealthCheck{
		{Group: "apps", Kind: "Deployment", Func: func(context.Context, *unstructured.Unstructured) (string, string, error) { return "Current", "", nil }},
		{Kind: "ConfigMap", Func: func(_ context.Context, obj *unstructured.Unstructured) (string, string, error) {
			if color, _, _ := unstructured.NestedString(obj.Object, "data", "color"); color == "red" {
				return "Current", "", nil
			}
			return "Failed", "the color is wrong", nil
		}},
	}
	w.must(spec, release.Install)
	spec.Values = map[string]any{"color": "blue"}
	_, err := w.reconcile(spec)
	require.ErrorContains(t, err, "the color is wrong")
}

func TestPostRenderersAndMetadata(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/hook.yaml": configHook("h", "pre-install", "")}))
	rename := func(to string) release.PostRenderer {
		return release.PostRenderer{Digest: to, Func: func(_ context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
			for _, obj := range objects {
				if err := unstructured.SetNestedField(obj.Object, to, "data", "color"); err != nil {
					return nil, err
				}
			}
			return objects, nil
		}}
	}
	spec.PostRenderers = []release.PostRenderer{rename("gold")}
	w.must(spec, release.Install)
	require.Equal(t, "gold", w.value("shop-config", "color"))
	w.must(spec)
	spec.PostRenderers = []release.PostRenderer{rename("silver")}
	result := w.must(spec, release.Upgrade)
	require.Contains(t, result.Why, "post-renderer")
	spec.Labels, spec.Annotations = map[string]string{"team": "a"}, map[string]string{"note": "b"}
	w.must(spec, release.Upgrade)
	live := w.get(configMaps(), "shop-config")
	require.Equal(t, "a", live.GetLabels()["team"])
	require.Equal(t, "b", live.GetAnnotations()["note"])
	require.Empty(t, w.get(configMaps(), "h").GetLabels()["team"], "hooks are left as they are")
	w.must(spec)

	spec.PostRenderers = []release.PostRenderer{{Digest: "x", Func: func(context.Context, []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
		return nil, errors.New("no")
	}}}
	_, err := w.reconcile(spec)
	require.ErrorContains(t, err, "post-renderer 1: no")
	require.Len(t, w.history(), 3, "nothing was stored")
}

func TestNamespacesAndStorageApart(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	spec.StorageNamespace, spec.Namespace = w.namespace, w.namespace+"-target"
	spec.Install.CreateNamespace = true
	w.must(spec, release.Install)
	require.Len(t, w.names(secrets(), "owner=helm"), 1)
	_, err := w.client.Resource(configMaps()).Namespace(spec.Namespace).Get(t.Context(), "shop-config", metav1.GetOptions{})
	require.NoError(t, err)
	w.must(spec)
	_, err = w.engine.Uninstall(t.Context(), spec, w.state)
	require.NoError(t, err)
	require.NoError(t, w.client.Resource(resource("", "namespaces")).Delete(t.Context(), spec.Namespace, metav1.DeleteOptions{}))
}

func TestImmutableFieldsAreChangedByRecreation(t *testing.T) {
	w := api(t)
	secret := func(value string) map[string]string {
		return map[string]string{"templates/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: fixed}\nimmutable: true\nstringData: {a: " + value + "}\n"}
	}
	spec := w.spec(chart(t, "1.0.0", secret("one")))
	w.must(spec, release.Install)
	spec.Chart = chart(t, "1.1.0", secret("two"))
	_, err := w.reconcile(spec)
	require.ErrorContains(t, err, "Secret")
	require.NotContains(t, err.Error(), "dHdv")
	spec.Epoch, spec.Upgrade.Recreate = "2", true
	result := w.must(spec, release.Upgrade)
	require.Contains(t, changes(result.Steps[0]), "recreated Secret/"+w.namespace+"/fixed")
}

func TestRollbackTargetThatWasEditedIsNotUsed(t *testing.T) {
	w := api(t)
	good := w.spec(chart(t, "1.0.0", nil))
	good.Upgrade.Remediation.Retries = 5
	w.must(good, release.Install)
	bad := good
	bad.Chart = chart(t, "2.0.0", failing())
	w.edit(secrets(), "sh.helm.release.v1.shop.v1", func(obj map[string]any) {
		obj["data"].(map[string]any)["release"] = "bm90IGEgcmVsZWFzZQ=="
	})
	result, err := w.reconcile(bad)
	var failure *release.ActionError
	require.ErrorAs(t, err, &failure)
	require.Empty(t, failure.Remediation)
	require.Equal(t, []release.Action{release.Upgrade}, taken(result), "there is nothing to trust")
	result, _ = w.reconcile(bad)
	require.Equal(t, []release.Action{release.Upgrade}, taken(result))
}

func TestTwoAtATimeDoNotHarm(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _ = w.engine.Reconcile(t.Context(), spec, release.State{}) })
	}
	wg.Wait()
	require.Eventually(t, func() bool {
		result, err := w.reconcile(spec)
		return err == nil && result.Left == release.InSync
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, "red", w.value("shop-config", "color"))
	require.Contains(t, w.helm("status", "shop"), "STATUS: deployed")
}

func TestName(t *testing.T) {
	require.Equal(t, "shop", release.Name("shop"))
	long := "a-very-long-name-of-a-namespace-and-then-the-name-of-a-release"
	require.Len(t, release.Name(long), 53)
	require.Equal(t, release.Name(long), release.Name(long))
	require.Equal(t, long[:40]+"-", release.Name(long)[:41])
}

func TestProgressTellsTheState(t *testing.T) {
	w := api(t)
	var events []release.Event
	engine, err := release.New(w.plane.Config(), release.Options{Progress: func(e release.Event) { events = append(events, e) }})
	require.NoError(t, err)
	_, err = engine.Reconcile(t.Context(), w.spec(chart(t, "1.0.0", nil)), release.State{})
	require.NoError(t, err)
	require.Len(t, events, 2)
	require.Equal(t, release.Install, events[0].Action)
	require.True(t, events[1].Done)
	require.Len(t, events[1].State.History, 1)
}

// What the helm command installed has fields that only it owns; lists as well.
func TestListItemsOfTheHelmCommandGoWithTheChart(t *testing.T) {
	w := api(t)
	with := func(env string) map[string]string {
		return map[string]string{"templates/deployment.yaml": deployment + "        env: [" + env + "]\n"}
	}
	w.helm("install", "shop", onDisk(t, with("{name: A, value: a}, {name: B, value: b}")))
	spec := w.spec(chart(t, "1.1.0", with("{name: B, value: b2}, {name: C, value: c}")))
	spec.Wait.Disable = true
	w.must(spec, release.Upgrade)
	env := func() string {
		containers, _, _ := nested(w.get(deployments(), "shop").Object, "spec", "template", "spec", "containers")
		return text(containers.([]any)[0].(map[string]any)["env"])
	}
	require.Equal(t, `[{"name":"B","value":"b2"},{"name":"C","value":"c"}]`, env())
	w.helm("rollback", "shop", "1")
	require.JSONEq(t, `[{"name":"A","value":"a"},{"name":"B","value":"b"}]`, env())
	w.must(spec, release.Upgrade)
	require.Equal(t, `[{"name":"B","value":"b2"},{"name":"C","value":"c"}]`, env())
}

func TestPreservedValues(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	spec.Values = map[string]any{"color": "blue", "deep": map[string]any{"a": 1}}
	w.must(spec, release.Install)
	spec.Upgrade.PreserveValues = true
	spec.Values = map[string]any{"deep": map[string]any{"b": 2}}
	w.must(spec, release.Upgrade)
	require.Equal(t, "blue", w.value("shop-config", "color"))
	require.Contains(t, w.helm("get", "values", "shop"), "a: 1\n  b: 2")
	w.must(spec)
}

func TestFailedUpgradeIsCleanedUp(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	w.must(spec, release.Install)
	files := failing()
	files["templates/more.yaml"] = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: more}\n"
	spec.Chart = chart(t, "2.0.0", files)
	spec.Upgrade.CleanupOnFail = true
	result, err := w.reconcile(spec)
	require.ErrorIs(t, err, release.ErrExhausted)
	require.Contains(t, changes(result.Steps[0]), "deleted ServiceAccount/"+w.namespace+"/more")
	require.Nil(t, w.get(resource("", "serviceaccounts"), "more"))
}

func TestKeptHistory(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	spec.Uninstall.KeepHistory = true
	w.must(spec, release.Install)
	_, err := w.engine.Uninstall(t.Context(), spec, w.state)
	require.NoError(t, err)
	require.Equal(t, []string{"uninstalled"}, w.history())
	require.Nil(t, w.get(configMaps(), "shop-config"))
	spec.Uninstall.KeepHistory = false
	_, err = w.engine.Uninstall(t.Context(), spec, release.State{})
	require.NoError(t, err)
	require.Empty(t, w.names(secrets(), "owner=helm"))
}

// A server that goes away in the middle is no failure of the release.
func TestServerGoesAway(t *testing.T) {
	plane, err := controlplane.Start(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = plane.Close() })
	w := newWorld(t, plane)
	spec := w.spec(chart(t, "1.0.0", nil))
	spec.Install.Timeout = 5 * time.Second
	w.meter.Observe(func(method, _ string) {
		if method == "PATCH" {
			_ = plane.StopServer()
		}
	})
	_, err = w.reconcile(spec)
	require.Error(t, err)
	require.NotErrorIs(t, err, release.ErrExhausted)
	w.meter.Observe(nil)
	require.NoError(t, plane.StartServer(t.Context()))
	w.must(spec, release.Unlock, release.Upgrade)
	require.Equal(t, "red", w.value("shop-config", "color"))
}

// A controller that applies on the server, such as Flux's, leaves fields as well.
func TestFieldsThatWereAppliedBefore(t *testing.T) {
	w := api(t)
	w.helm("install", "shop", onDisk(t, nil))
	theirs := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "shop-config"}, "data": map[string]any{"color": "red", "extra": "field"}}}
	_, err := w.client.Resource(configMaps()).Namespace(w.namespace).Apply(t.Context(), "shop-config", theirs,
		metav1.ApplyOptions{FieldManager: "helm-controller", Force: true})
	require.NoError(t, err)
	w.must(w.spec(chart(t, "1.1.0", nil)), release.Upgrade)
	require.Empty(t, w.value("shop-config", "extra"))
	require.Equal(t, "red", w.value("shop-config", "color"))
	for _, e := range w.get(configMaps(), "shop-config").GetManagedFields() {
		require.Equal(t, release.DefaultManager, e.Manager)
	}
}

// One object that the server does not let anybody correct does not keep the
// others from it.
func TestDriftThatCannotBeCorrected(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/fixed.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: fixed}\nstringData: {a: one}\n"}))
	spec.Drift.Mode = release.DriftCorrect
	w.must(spec, release.Install)
	w.edit(secrets(), "fixed", func(obj map[string]any) {
		obj["data"].(map[string]any)["a"] = "dHdv"
		obj["immutable"] = true
	})
	w.edit(configMaps(), "shop-config", func(obj map[string]any) { obj["data"].(map[string]any)["color"] = "pink" })
	result, err := w.reconcile(spec)
	require.ErrorContains(t, err, "correct drift failed")
	require.NotContains(t, err.Error(), "dHdv")
	require.Len(t, result.Drift, 2)
	require.Equal(t, "red", w.value("shop-config", "color"))
	require.Zero(t, w.state.Attempts.Failures())
}
