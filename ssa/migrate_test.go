package ssa_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/ssa"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// predecessors are those who applied a Deployment with more than the set names.
var predecessors = map[string]struct {
	manager string
	apply   bool
}{
	"kubectl apply":               {manager: "kubectl-client-side-apply"},
	"kubectl apply --server-side": {manager: "kubectl", apply: true},
	"a controller that updates":   {manager: "old-controller"},
	"a controller that applies":   {manager: "old-controller", apply: true},
	"we ourselves, by update":     {manager: "kit"},
}

const former = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {old: label}, annotations: {old: note}}
spec:
  replicas: 7
  minReadySeconds: 9
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "example.com/web:0.9", env: [{name: OLD, value: x}]}
      - {name: gone, image: "example.com/gone:1.0"}
`

func (f *fixture) former(t *testing.T, manager string, apply bool) {
	t.Helper()
	u := objects(t, former)[0]
	ri := f.others.Resource(deployments).Namespace(f.ns)
	if apply {
		_, err := ri.Apply(t.Context(), "web", u, metav1.ApplyOptions{FieldManager: manager, Force: true})
		require.NoError(t, err)
		return
	}
	if strings.HasPrefix(manager, "kubectl") {
		raw, err := u.MarshalJSON()
		require.NoError(t, err)
		u.SetAnnotations(map[string]string{"old": "note", lastApplied: string(raw)})
	}
	_, err := ri.Create(t.Context(), u, metav1.CreateOptions{FieldManager: manager})
	require.NoError(t, err)
}

func (f *fixture) migrating(t *testing.T) {
	t.Helper()
	f.cfg.Wrap(f.meter.Wrap)
	var err error
	f.applier, err = ssa.New(f.cfg, ssa.Options{Manager: "kit", Migrate: []string{"old-controller", "kit"}})
	require.NoError(t, err)
}

// web is the Deployment of app.
func web(t *testing.T) []*unstructured.Unstructured { return objects(t, app)[4:] }

func (f *fixture) requireMigrated(t *testing.T) {
	t.Helper()
	u := f.get(t, deployments, "web")
	require.Empty(t, u.GetAnnotations())
	require.Equal(t, map[string]string{"gitopskit.dev/owner": "test"}, u.GetLabels())
	containers, _, err := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	require.Len(t, containers, 2)
	require.NotContains(t, containers[0], "env")
	for _, c := range containers {
		require.NotEqual(t, "gone", c.(map[string]any)["name"])
	}
	require.NotContains(t, u.Object["spec"], "minReadySeconds")
	require.Len(t, u.GetManagedFields(), 1)
	require.Equal(t, "kit", u.GetManagedFields()[0].Manager)
}

func TestMigration(t *testing.T) {
	for name, tt := range predecessors {
		t.Run(name, func(t *testing.T) {
			for _, conflicts := range []ssa.ConflictPolicy{ssa.TakeOver, ssa.Report, ssa.Leave} {
				f := setup(t)
				f.migrating(t)
				f.former(t, tt.manager, tt.apply)
				opts := f.options()
				opts.Conflicts = conflicts
				res := f.apply(t, web(t), opts)
				require.Equal(t, ssa.Configured, res.Changes[0].Action)
				require.Empty(t, res.Changes[0].Left)
				f.requireMigrated(t)
				opts.Previous = res.Entries
				before := f.meter.Count().Requests
				require.Equal(t, ssa.Unchanged, f.apply(t, web(t), opts).Changes[0].Action)
				require.EqualValues(t, 1, f.meter.Count().Requests-before, "no request more than ever")
			}
		})
	}
}

// What is ours already is applied by somebody else as well, with more.
func TestMigrationOfWhatIsOurs(t *testing.T) {
	f := setup(t)
	res := f.apply(t, web(t), f.options())
	_, err := f.others.Resource(deployments).Namespace(f.ns).Apply(t.Context(), "web", objects(t, former)[0], metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
	require.NoError(t, err)
	res, _ = f.again(t, web(t), res)
	require.Equal(t, ssa.Configured, res.Changes[0].Action)
	require.NotEmpty(t, res.Changes[0].Drift)
	f.requireMigrated(t)
	_, requests := f.again(t, web(t), res)
	require.EqualValues(t, 1, requests)
}

func TestMergeKeepsWhatOthersAdded(t *testing.T) {
	for _, annotation := range []string{"gitopskit.dev/apply: merge", "kustomize.toolkit.fluxcd.io/ssa: Merge"} {
		f := setup(t)
		f.existing(t, "kubectl-client-side-apply", "a: theirs, b: theirs")
		objs := configMap(t, annotation, "a: ours")
		res := f.apply(t, objs, f.options())
		require.Equal(t, map[string]string{"a": "ours", "b": "theirs"}, f.data(t))
		res, requests := f.again(t, objs, res)
		require.Equal(t, ssa.Unchanged, res.Changes[0].Action)
		require.EqualValues(t, 1, requests)
	}
}

func TestWhoIsNotMigrated(t *testing.T) {
	for _, manager := range []string{"kubectl-edit", "kubectl-client-side-apply-2", "helm"} {
		f := setup(t)
		f.existing(t, manager, "b: theirs")
		f.apply(t, configMap(t, "", "a: ours"), f.options())
		require.Equal(t, map[string]string{"a": "ours", "b": "theirs"}, f.data(t), manager)
	}
}

// The object changes between the look and the migration.
func TestMigrationOfABusyObject(t *testing.T) {
	f := setup(t)
	f.former(t, "kubectl-client-side-apply", false)
	times := 0
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPatch && req.Header.Get("Content-Type") == string(types.MergePatchType) && times < 2 {
			times++
			f.patch(t, deployments, "web", "busy", types.MergePatchType, `{"status":{"observedGeneration":`+strings.Repeat("1", times)+`}}`, "status")
		}
		return next.RoundTrip(req)
	})
	f.apply(t, web(t), f.options())
	require.Equal(t, 2, times)
	require.NotContains(t, f.get(t, deployments, "web").Object["spec"], "minReadySeconds")
}

// An exported manifest brings the annotation of kubectl along.
func TestLastAppliedIsNotSent(t *testing.T) {
	f := setup(t)
	objs := configMap(t, lastApplied+`: "{}"`, "a: b")
	f.apply(t, objs, f.options())
	require.Empty(t, f.get(t, configMaps, "x").GetAnnotations())
	require.Contains(t, objs[0].GetAnnotations(), lastApplied, "the caller's object is as it was")
}

// An object passes from a set to another one, whose Applier has a field manager of
// its own: they share its fields until the new one is told to take them.
func TestHandOverBetweenManagers(t *testing.T) {
	f := setup(t)
	f.apply(t, configMap(t, "note: old", "a: both, b: old"), f.options())
	opts := f.options()
	opts.Owner = "heir"
	heir := func(migrate ...string) {
		a, err := ssa.New(f.cfg, ssa.Options{Manager: "heir", Migrate: migrate})
		require.NoError(t, err)
		f.applier = a
	}
	heir()
	res := f.apply(t, configMap(t, "", "a: both"), opts)
	require.Equal(t, map[string]string{"a": "both", "b": "old"}, f.data(t))
	opts.Previous = res.Entries
	res = f.apply(t, configMap(t, "", "c: new"), opts)
	require.Equal(t, map[string]string{"a": "both", "b": "old", "c": "new"}, f.data(t), "what the old one owns stays")

	heir("kit")
	for range 2 { // the second finds nothing to do
		opts.Previous = res.Entries
		res = f.apply(t, configMap(t, "", "c: new"), opts)
		u := f.get(t, configMaps, "x")
		require.Equal(t, map[string]string{"c": "new"}, f.data(t))
		require.Empty(t, u.GetAnnotations())
		require.Equal(t, map[string]string{"gitopskit.dev/owner": "heir"}, u.GetLabels())
		require.Len(t, u.GetManagedFields(), 1)
	}
	require.Equal(t, ssa.Unchanged, res.Changes[0].Action)
}
