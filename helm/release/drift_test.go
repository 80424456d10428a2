package release_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/helm/release"
)

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func driftFiles() map[string]string {
	return map[string]string{
		"templates/deployment.yaml": deployment,
		"templates/secret.yaml":     "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: swordfish}\n",
		"templates/free.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: free, annotations: {gitopskit.dev/drift-detection: disabled}}\ndata: {a: b}\n",
	}
}

func TestDriftIsFoundAndCorrected(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", driftFiles()))
	spec.Wait.Disable = true
	w.must(spec, release.Install)
	set := func(key, value string) func(map[string]any) {
		return func(obj map[string]any) { obj["data"].(map[string]any)[key] = value }
	}
	w.edit(configMaps(), "shop-config", set("color", "pink"))
	w.edit(configMaps(), "free", set("a", "c"))
	w.edit(secrets(), "keys", set("key", "aGVycmluZw=="))
	w.must(spec) // it is off

	spec.Drift.Mode = release.DriftWarn
	result := w.must(spec)
	require.Equal(t, release.Drifted, result.Found)
	require.Len(t, result.Drift, 2)
	require.Equal(t, release.FieldChange{Path: "/data/color", Live: `"pink"`, Want: `"red"`}, result.Drift[0].Fields[0])
	require.Equal(t, release.FieldChange{Path: "/data/key", Live: "***", Want: "***"}, result.Drift[1].Fields[0])
	require.NotContains(t, text(result), "swordfish")
	require.NotContains(t, text(result), "herring")
	require.Equal(t, "pink", w.value("shop-config", "color"))

	spec.Drift.Mode = release.DriftCorrect
	w.must(spec, release.CorrectDrift)
	require.Equal(t, "red", w.value("shop-config", "color"))
	require.Equal(t, "c", w.value("free", "a"))
	w.must(spec)

	require.NoError(t, w.client.Resource(configMaps()).Namespace(w.namespace).Delete(t.Context(), "shop-config", metav1.DeleteOptions{}))
	result = w.must(spec, release.CorrectDrift)
	require.Equal(t, release.Missing, result.Drift[0].Op)
	require.Equal(t, "red", w.value("shop-config", "color"))
	w.must(spec)
	require.Equal(t, []string{"deployed"}, w.history())
}

func TestIgnoredDriftIsLeftAlone(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", driftFiles()))
	spec.Wait.Disable = true
	spec.Drift = release.DriftOptions{Mode: release.DriftCorrect, Ignore: []release.IgnoreRule{
		{Paths: []string{"/spec/replicas", "/nothing/there"}, Target: release.IgnoreTarget{Kind: "Deploy.*"}}}}
	w.must(spec, release.Install)
	w.edit(deployments(), "shop", func(obj map[string]any) { obj["spec"].(map[string]any)["replicas"] = int64(4) })
	w.must(spec)
	w.edit(deployments(), "shop", func(obj map[string]any) { obj["spec"].(map[string]any)["paused"] = true })
	w.must(spec) // nobody of ours owns that
	w.edit(deployments(), "shop", func(obj map[string]any) {
		spec, _, _ := nested(obj, "spec", "template", "spec", "containers")
		spec.([]any)[0].(map[string]any)["image"] = "example.test/evil:1"
	})
	w.must(spec, release.CorrectDrift)
	live := w.get(deployments(), "shop").Object
	replicas, _, _ := nested(live, "spec", "replicas")
	require.EqualValues(t, 4, replicas)
	require.NotContains(t, text(live["spec"]), "evil")
	w.must(spec)
}

func TestIgnoreRulesThatAreWrong(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	for _, r := range []release.IgnoreRule{
		{}, {Paths: []string{"spec"}}, {Paths: []string{"/a"}, Target: release.IgnoreTarget{Kind: "("}},
		{Paths: []string{"/a"}, Target: release.IgnoreTarget{Labels: "!!"}},
	} {
		spec.Drift.Ignore = []release.IgnoreRule{r}
		_, err := w.engine.Reconcile(t.Context(), spec, release.State{})
		var wrong *release.SpecError
		require.ErrorAs(t, err, &wrong)
	}
}

func TestWatchedDriftCostsOneRequest(t *testing.T) {
	w := api(t)
	stop, err := w.engine.Watch(t.Context())
	require.NoError(t, err)
	defer stop()
	_, err = w.engine.Watch(t.Context())
	require.Error(t, err, "once is enough")
	spec := w.spec(chart(t, "1.0.0", driftFiles()))
	spec.Wait.Disable, spec.Drift.Mode = true, release.DriftCorrect
	w.must(spec, release.Install)
	require.Eventually(t, func() bool {
		before := w.meter.Count()
		w.must(spec)
		return w.meter.Count().Sub(before).Requests == 1
	}, 30*time.Second, 10*time.Millisecond)

	w.edit(configMaps(), "shop-config", func(obj map[string]any) { obj["data"].(map[string]any)["color"] = "pink" })
	require.Eventually(t, func() bool {
		_, err := w.reconcile(spec)
		return err == nil && w.value("shop-config", "color") == "red"
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, w.client.Resource(configMaps()).Namespace(w.namespace).Delete(t.Context(), "shop-config", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := w.reconcile(spec)
		return err == nil && w.get(configMaps(), "shop-config") != nil
	}, 30*time.Second, 10*time.Millisecond)
}
