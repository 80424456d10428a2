package release_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/helm/release"
)

func TestInstallUpgradeUninstall(t *testing.T) {
	w := pods(t)
	files := map[string]string{"templates/deployment.yaml": deployment}
	spec := w.spec(chart(t, "1.0.0", files))

	result := w.must(spec, release.Install)
	require.Equal(t, release.Absent, result.Found)
	require.Equal(t, release.InSync, result.Left)
	require.Equal(t, "The shop is red.\n", result.Notes)
	require.Len(t, result.Steps[0].Objects, 2)
	require.Equal(t, release.Created, result.Steps[0].Objects[0].Op)
	ready, _, _ := nested(w.get(deployments(), "shop").Object, "status", "readyReplicas")
	require.EqualValues(t, 1, ready, "it was waited for")
	require.Equal(t, "red", w.value("shop-config", "color"))
	require.Equal(t, []string{"deployed"}, w.history())

	w.must(spec)

	spec.Values = map[string]any{"color": "blue"}
	result = w.must(spec, release.Upgrade)
	require.Equal(t, "the values are others", result.Why)
	require.Equal(t, "blue", w.value("shop-config", "color"))
	require.Equal(t, "2", w.value("shop-config", "revision"))
	require.Equal(t, []string{"superseded", "deployed"}, w.history())
	require.Contains(t, w.helm("get", "values", "shop"), "color: blue")
	require.Contains(t, w.helm("get", "manifest", "shop"), "# Source: shop/templates/config.yaml")
	require.Contains(t, w.helm("get", "notes", "shop"), "The shop is blue.")
	require.Contains(t, w.helm("list"), "shop-1.0.0")
	w.must(spec)

	spec.Chart = chart(t, "1.1.0", nil) // the Deployment goes
	w.must(spec, release.Upgrade)
	require.Nil(t, w.get(deployments(), "shop"))

	result, err := w.engine.Uninstall(t.Context(), spec, w.state)
	require.NoError(t, err)
	require.Equal(t, []release.Action{release.Uninstall}, taken(result))
	require.Nil(t, w.get(configMaps(), "shop-config"))
	require.Empty(t, w.names(secrets(), "owner=helm"))
	result, err = w.engine.Uninstall(t.Context(), spec, release.State{})
	require.NoError(t, err)
	require.Empty(t, result.Steps)
}

// A release that is as it should be costs one request, and a restart of the
// controller without its state no upgrade.
func TestNoChangeCostsOneRequest(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	w.must(spec, release.Install)
	before := w.meter.Count()
	w.must(spec)
	require.EqualValues(t, 1, w.meter.Count().Sub(before).Requests)

	spec.Drift.Mode = release.DriftCorrect
	w.must(spec)
	before = w.meter.Count()
	w.must(spec)
	require.EqualValues(t, 2, w.meter.Count().Sub(before).Requests)

	w.state = release.State{}
	w.must(spec)
	require.Equal(t, []string{"deployed"}, w.history())
}

func TestHelmCommandAndEngineTakeTurns(t *testing.T) {
	w := api(t)
	dir := onDisk(t, map[string]string{"templates/old.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n"})
	w.helm("install", "shop", dir, "--set", "color=green")
	spec := w.spec(chart(t, "1.0.0", nil))
	spec.Values = map[string]any{"color": "blue"}

	result := w.must(spec, release.Upgrade)
	require.Equal(t, release.Unmanaged, result.Found)
	require.Equal(t, "blue", w.value("shop-config", "color"))
	require.Nil(t, w.get(configMaps(), "old"), "what the command installed is upgraded")

	w.helm("upgrade", "shop", dir, "--set", "color=pink")
	require.Equal(t, "pink", w.value("shop-config", "color"))
	result = w.must(spec, release.Upgrade)
	require.Contains(t, result.Why, "somebody made version 3")
	require.Equal(t, "blue", w.value("shop-config", "color"))

	w.helm("rollback", "shop", "1")
	require.Equal(t, "green", w.value("shop-config", "color"))
	result = w.must(spec, release.Upgrade)
	require.Contains(t, result.Why, "Rollback to 1")
	require.Equal(t, "blue", w.value("shop-config", "color"))
	require.Nil(t, w.get(configMaps(), "old"))

	w.helm("rollback", "shop", "4") // to one of ours
	w.must(spec, release.Upgrade)
	w.helm("uninstall", "shop")
	require.Nil(t, w.get(configMaps(), "shop-config"))
	result = w.must(spec, release.Install)
	require.Equal(t, release.Absent, result.Found)
	w.helm("uninstall", "shop", "--keep-history")
	w.must(spec, release.Install)
	require.Equal(t, []string{"superseded", "deployed"}, w.history())
	w.must(spec)
}

func TestFieldsOfTheHelmCommandGoWithTheChart(t *testing.T) {
	w := api(t)
	extra := map[string]string{"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop-config}\ndata: {color: red, more: stuff}\n"}
	w.helm("install", "shop", onDisk(t, extra))
	require.Equal(t, "stuff", w.value("shop-config", "more"))
	w.must(w.spec(chart(t, "1.0.0", nil)), release.Upgrade)
	require.Empty(t, w.value("shop-config", "more"))
}

func TestHistoryThatIsEditedOrDeletedIsRepaired(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	w.must(spec, release.Install)
	w.edit(secrets(), "sh.helm.release.v1.shop.v1", func(obj map[string]any) {
		obj["data"].(map[string]any)["release"] = "bm90IGEgcmVsZWFzZQ=="
	})
	result := w.must(spec, release.Upgrade)
	require.Equal(t, release.OutOfSync, result.Found)
	w.must(spec)

	spec.Values = map[string]any{"color": "blue"}
	w.must(spec, release.Upgrade)
	latest := w.names(secrets(), "owner=helm,status=deployed")
	require.Len(t, latest, 1)
	require.NoError(t, w.client.Resource(secrets()).Namespace(w.namespace).Delete(t.Context(), latest[0], metav1.DeleteOptions{}))
	w.must(spec, release.Upgrade)
	w.must(spec)
	require.NoError(t, w.client.Resource(secrets()).Namespace(w.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "owner=helm"}))
	result = w.must(spec, release.Install)
	require.Equal(t, "somebody deleted it, or its history", result.Why)
	require.Equal(t, []string{"deployed"}, w.history())
}

func TestMaxHistory(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	spec.MaxHistory = 2
	for _, color := range []string{"a", "b", "c", "d"} {
		spec.Values = map[string]any{"color": color}
		_, err := w.reconcile(spec)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"superseded", "deployed"}, w.history())
	require.Len(t, w.state.History, 2)
}

// failing is a chart whose Job never ends as it should.
func failing() map[string]string {
	return map[string]string{"templates/bad.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndata: {x: {y: z}}\n"}
}

func TestFailedInstallIsUninstalledAndTriedAgain(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", failing()))
	spec.Install.Remediation.Retries = 1

	result, err := w.reconcile(spec)
	var failure *release.ActionError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, release.Uninstall, failure.Remediation)
	require.False(t, failure.Terminal())
	require.Equal(t, []release.Action{release.Install, release.Uninstall}, taken(result))
	require.Equal(t, release.Absent, result.Left)
	require.Nil(t, w.get(configMaps(), "shop-config"))

	result, err = w.reconcile(spec)
	require.ErrorIs(t, err, release.ErrExhausted)
	require.Equal(t, []release.Action{release.Install}, taken(result), "the last failure of an installation is left for people to look at")
	require.Equal(t, []string{"failed"}, w.history())
	require.NotNil(t, w.get(configMaps(), "shop-config"))

	before := w.meter.Count()
	result, err = w.reconcile(spec)
	require.ErrorIs(t, err, release.ErrExhausted)
	require.Contains(t, err.Error(), "ConfigMap")
	require.Empty(t, result.Steps)
	require.EqualValues(t, 1, w.meter.Count().Sub(before).Requests)

	spec.Epoch = "reset"
	result, _ = w.reconcile(spec)
	require.Equal(t, []release.Action{release.Upgrade}, taken(result))

	spec.Chart = chart(t, "1.0.1", nil)
	w.must(spec, release.Upgrade)
	w.must(spec)
}

func TestFailedUpgradeIsRolledBack(t *testing.T) {
	w := api(t)
	good := w.spec(chart(t, "1.0.0", nil))
	good.Upgrade.Remediation.Retries = 1
	w.must(good, release.Install)
	bad := good
	bad.Chart = chart(t, "2.0.0", failing())

	result, err := w.reconcile(bad)
	var failure *release.ActionError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, release.Rollback, failure.Remediation)
	require.Equal(t, []release.Action{release.Upgrade, release.Rollback}, taken(result))
	require.Equal(t, "1.0.0", w.value("shop-config", "version"))
	require.Equal(t, []string{"superseded", "failed", "deployed"}, w.history())

	result, err = w.reconcile(bad)
	require.ErrorIs(t, err, release.ErrExhausted)
	require.Equal(t, []release.Action{release.Upgrade, release.Rollback}, taken(result), "the last failure of an upgrade is undone if there were retries")
	require.Equal(t, "1.0.0", w.value("shop-config", "version"))
	result, err = w.reconcile(bad)
	require.ErrorIs(t, err, release.ErrExhausted)
	require.Empty(t, result.Steps)

	bad.Force = "once"
	result, err = w.reconcile(bad)
	require.Error(t, err)
	require.NotEmpty(t, result.Steps)

	w.must(good) // it was rolled back to just that
}

func TestRetryOnFailureUpgradesOverAndOver(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", failing()))
	spec.Install.Strategy, spec.Upgrade.Strategy = release.RetryOnFailure, release.RetryOnFailure
	spec.Upgrade.RetryInterval = 7 * time.Second
	result, err := w.reconcile(spec)
	require.Error(t, err)
	require.Equal(t, []release.Action{release.Install}, taken(result))
	for range 3 {
		result, err = w.reconcile(spec)
		var failure *release.ActionError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, 7*time.Second, failure.After)
		require.Equal(t, []release.Action{release.Upgrade}, taken(result))
	}
}

func TestNothingToRollBackTo(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", failing()))
	_, err := w.reconcile(spec)
	require.ErrorIs(t, err, release.ErrExhausted)
	spec.Epoch, spec.Upgrade.Remediation.Retries = "2", 1
	_, err = w.reconcile(spec)
	require.ErrorIs(t, err, release.ErrNoRollbackTarget)
	_, err = w.reconcile(spec)
	require.ErrorIs(t, err, release.ErrExhausted, "it stays so")
}

// A process that is killed in the middle leaves a release that is pending.
func TestKilledInTheMiddle(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(map[bool]string{true: "install", false: "upgrade"}[first], func(t *testing.T) {
			w := api(t)
			spec := w.spec(chart(t, "1.0.0", nil))
			if !first {
				w.must(spec, release.Install)
			}
			ctx, cancel := context.WithCancel(t.Context())
			w.meter.Observe(func(method, path string) {
				if method == "PATCH" {
					cancel() // after the version was stored
				}
			})
			spec.Values = map[string]any{"color": "blue"}
			_, err := w.engine.Reconcile(ctx, spec, w.state)
			require.ErrorIs(t, err, context.Canceled)
			w.meter.Observe(nil)
			require.Len(t, w.names(secrets(), "owner=helm,status in (pending-install,pending-upgrade)"), 1)

			result := w.must(spec, release.Unlock, release.Upgrade)
			require.Equal(t, release.Locked, result.Found)
			require.Equal(t, "blue", w.value("shop-config", "color"))
			w.must(spec)
		})
	}
}

func TestForeignObjectsAreLeftAlone(t *testing.T) {
	w := api(t)
	w.helm("install", "other", onDisk(t, map[string]string{
		"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop-config}\ndata: {color: theirs}\n"}))
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}))
	_, err := w.reconcile(spec)
	var owned *release.OwnedError
	require.ErrorAs(t, err, &owned)
	require.Contains(t, owned.Error(), "it belongs to release other")
	require.Equal(t, "theirs", w.value("shop-config", "color"))
	require.Nil(t, w.get(configMaps(), "a"), "nothing was written")
	require.Empty(t, w.names(secrets(), "owner=helm,name=shop"))

	spec.Epoch, spec.Install.TakeOwnership = "2", true
	w.must(spec, release.Install)
	require.Equal(t, "red", w.value("shop-config", "color"))
}

func TestKeptObjectsStay(t *testing.T) {
	w := api(t)
	kept := map[string]string{"templates/kept.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kept\n  annotations: {helm.sh/resource-policy: keep}\n"}
	spec := w.spec(chart(t, "1.0.0", kept))
	w.must(spec, release.Install)
	result, err := w.engine.Uninstall(t.Context(), spec, w.state)
	require.NoError(t, err)
	require.NotNil(t, w.get(configMaps(), "kept"))
	require.Nil(t, w.get(configMaps(), "shop-config"))
	require.Contains(t, changes(result.Steps[0]), "kept ConfigMap/"+w.namespace+"/kept")
}

func changes(s release.Step) []string {
	var out []string
	for _, c := range s.Objects {
		out = append(out, string(c.Op)+" "+c.Object.String())
	}
	return out
}

func TestMoveUninstallsFirst(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	w.must(spec, release.Install)
	spec.Name = "store"
	w.must(spec, release.Uninstall, release.Install)
	require.Nil(t, w.get(configMaps(), "shop-config"))
	require.NotNil(t, w.get(configMaps(), "store-config"))
	w.must(spec)
}

func TestChartOfAnotherName(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", nil))
	w.must(spec, release.Install)
	spec.Chart = chart(t, "1.0.0", map[string]string{"Chart.yaml": "apiVersion: v2\nname: other\nversion: 1.0.0\n"})
	spec.Upgrade.InPlace = true
	w.must(spec, release.Upgrade)
	spec.Upgrade.InPlace = false
	spec.Chart = chart(t, "1.0.0", nil)
	w.must(spec, release.Uninstall, release.Install)
	w.must(spec)
}
