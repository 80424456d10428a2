package release_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm/release"
)

// hookJob is a Job as a hook, which kwok lets complete.
func hookJob(name, events, extra string) string {
	return `apiVersion: batch/v1
kind: Job
metadata:
  name: ` + name + `
  annotations:
    helm.sh/hook: ` + events + "\n" + extra + `spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {JOBANNOTATION: "true"}
    spec:
      restartPolicy: Never
      containers: [{name: work, image: example.test/work:1}]
`
}

func TestHooksRunInTheirOrder(t *testing.T) {
	w := api(t)
	files := map[string]string{
		"templates/a.yaml": configHook("a", "pre-install,pre-upgrade", "    helm.sh/hook-weight: \"5\"\n"),
		"templates/b.yaml": configHook("b", "pre-install", "    helm.sh/hook-weight: \"-5\"\n"),
		"templates/c.yaml": configHook("c", "post-install", "    helm.sh/hook-delete-policy: hook-succeeded\n"),
		"templates/d.yaml": configHook("d", "post-upgrade,pre-delete", ""),
		"templates/e.yaml": configHook("e", "post-delete", ""),
	}
	spec := w.spec(chart(t, "1.0.0", files))
	result := w.must(spec, release.Install)
	require.Equal(t, []string{"pre-install b Succeeded", "pre-install a Succeeded", "post-install c Succeeded"}, hooks(result.Steps[0]))
	require.Nil(t, w.get(configMaps(), "c"), "its policy says so")
	require.NotNil(t, w.get(configMaps(), "b"))

	before := w.get(configMaps(), "a").GetUID()
	spec.Values = map[string]any{"color": "blue"}
	result = w.must(spec, release.Upgrade)
	require.Equal(t, []string{"pre-upgrade a Succeeded", "post-upgrade d Succeeded"}, hooks(result.Steps[0]))
	require.NotEqual(t, before, w.get(configMaps(), "a").GetUID(), "made anew")
	require.Contains(t, w.helm("get", "hooks", "shop"), "shop/templates/a.yaml")

	result, err := w.engine.Uninstall(t.Context(), spec, w.state)
	require.NoError(t, err)
	require.Equal(t, []string{"pre-delete d Succeeded", "post-delete e Succeeded"}, hooks(result.Steps[0]))
	require.NotNil(t, w.get(configMaps(), "e"), "hooks are no part of a release")
}

func hooks(s release.Step) []string {
	var out []string
	for _, h := range s.Hooks {
		out = append(out, h.Event+" "+h.Object.Name+" "+h.Phase)
	}
	return out
}

func TestHookJobsAreWaitedFor(t *testing.T) {
	w := pods(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/job.yaml": hookJob("migrate", "pre-install", "")}))
	result := w.must(spec, release.Install)
	require.Equal(t, []string{"pre-install migrate Succeeded"}, hooks(result.Steps[0]))
	require.Contains(t, text(w.get(jobs(), "migrate").Object), `"Complete"`)
}

// A Job whose pods nothing runs ends with the timeout.
func TestHookThatDoesNotEnd(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{
		"templates/job.yaml": hookJob("migrate", "pre-install", "    helm.sh/hook-delete-policy: hook-failed\n")}))
	spec.Install.Timeout = time.Second
	result, err := w.reconcile(spec)
	var failure *release.HookError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, "pre-install", failure.Event)
	require.Equal(t, []string{"pre-install migrate Failed"}, hooks(result.Steps[0]))
	require.NotEmpty(t, result.Steps[0].Log)
	require.Equal(t, []string{"failed"}, w.history())
	require.Nil(t, w.get(configMaps(), "shop-config"), "nothing was applied")

	spec.Install.DisableHooks, spec.Upgrade.DisableHooks, spec.Epoch = true, true, "2"
	w.must(spec, release.Upgrade)
}

func TestHookDoesNotDeleteWhatIsNone(t *testing.T) {
	w := api(t)
	w.helm("install", "other", onDisk(t, map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}))
	uid := w.get(configMaps(), "a").GetUID()
	_, err := w.reconcile(w.spec(chart(t, "1.0.0", map[string]string{"templates/a.yaml": configHook("a", "pre-install", "")})))
	require.ErrorContains(t, err, "it is no hook")
	require.Equal(t, uid, w.get(configMaps(), "a").GetUID())
}

func TestTestsRunOnceForEachVersion(t *testing.T) {
	w := api(t)
	files := map[string]string{
		"templates/tests/a.yaml": configHook("a", "test", ""),
		"templates/tests/b.yaml": configHook("b", "test-success", ""),
	}
	spec := w.spec(chart(t, "1.0.0", files))
	w.must(spec, release.Install)
	spec.Test.Enable = true
	result := w.must(spec, release.Test)
	require.Equal(t, release.Untested, result.Found)
	require.Equal(t, []string{"test a Succeeded", "test b Succeeded"}, hooks(result.Steps[0]))
	require.Equal(t, "Succeeded", w.state.History[0].Tests["a"].Phase)
	require.Contains(t, w.helm("status", "shop"), "Phase:          Succeeded")
	w.must(spec)

	spec.Test.Filters = []release.TestFilter{{Name: "a", Exclude: true}}
	spec.Values = map[string]any{"color": "blue"}
	result = w.must(spec, release.Upgrade, release.Test)
	require.Equal(t, []string{"test b Succeeded"}, hooks(result.Steps[1]))
	spec.Test.Filters = []release.TestFilter{{Name: "a"}}
	spec.Values = map[string]any{"color": "green"}
	result = w.must(spec, release.Upgrade, release.Test)
	require.Equal(t, []string{"test a Succeeded"}, hooks(result.Steps[1]))
	spec.Test.Filters = []release.TestFilter{{Name: "none"}}
	spec.Values = map[string]any{"color": "black"}
	w.must(spec, release.Upgrade)
	require.Contains(t, w.helm("test", "shop"), "Phase:")
}

func TestFailedTestsAreRemediated(t *testing.T) {
	w := api(t)
	good := w.spec(chart(t, "1.0.0", nil))
	good.Test = release.TestOptions{Enable: true, Timeout: time.Second}
	good.Upgrade.Remediation.Retries = 1
	w.must(good, release.Install)

	bad := good
	bad.Chart = chart(t, "2.0.0", map[string]string{"templates/test.yaml": hookJob("probe", "test", "")}) // whose pods nothing runs
	result, err := w.reconcile(bad)
	var hook *release.HookError
	require.ErrorAs(t, err, &hook)
	require.Equal(t, []release.Action{release.Upgrade, release.Test, release.Rollback}, taken(result))
	require.Equal(t, "1.0.0", w.value("shop-config", "version"))

	bad.Epoch, bad.Test.IgnoreFailures = "2", true
	w.must(bad, release.Upgrade, release.Test)
	w.must(bad)
	bad.Test.IgnoreFailures = false
	result, err = w.reconcile(bad)
	require.Error(t, err)
	require.Equal(t, release.Broken, result.Found, "it failed when that did not matter")
	require.Equal(t, []release.Action{release.Upgrade, release.Test, release.Rollback}, taken(result))
}
