package ssa_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// fixture is an applier on a real API server, with a namespace of its own, a
// meter on its requests, and a second client that plays the other people.
type fixture struct {
	applier *ssa.Applier
	meter   *meter.Meter
	others  dynamic.Interface
	ns      string
	cfg     *rest.Config
	putOff  *atomic.Int64 // requests to send again; nil if they count
}

func setup(t *testing.T) *fixture {
	t.Helper()
	plane := testplane.Small(t)
	f := &fixture{meter: &meter.Meter{}, ns: testplane.Namespace(t, plane), cfg: plane.Config()}
	others, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	f.others = others
	f.applier = newApplier(t, plane.Config(), f.meter)
	return f
}

func newApplier(t *testing.T, cfg *rest.Config, m *meter.Meter) *ssa.Applier {
	t.Helper()
	cfg.Wrap(m.Wrap)
	a, err := ssa.New(cfg, ssa.Options{Manager: "kit"})
	require.NoError(t, err)
	return a
}

func (f *fixture) options() ssa.ApplyOptions {
	return ssa.ApplyOptions{Owner: "test", Namespace: f.ns}
}

// apply applies without error.
func (f *fixture) apply(t *testing.T, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) *ssa.Result {
	t.Helper()
	res, err := f.applier.Apply(t.Context(), objs, opts)
	require.NoError(t, err)
	return res
}

// again applies with the inventory of an earlier result and counts requests.
func (f *fixture) again(t *testing.T, objs []*unstructured.Unstructured, prev *ssa.Result) (*ssa.Result, int64) {
	t.Helper()
	opts := f.options()
	opts.Previous = prev.Entries
	before := f.requests()
	res := f.apply(t, objs, opts)
	return res, f.requests() - before
}

func (f *fixture) requests() int64 {
	n := f.meter.Count().Requests
	if f.putOff != nil {
		n -= f.putOff.Load()
	}
	return n
}

// patch is somebody else's change.
func (f *fixture) patch(t *testing.T, gvr schema.GroupVersionResource, name, manager string, kind types.PatchType, body string, sub ...string) {
	t.Helper()
	_, err := f.others.Resource(gvr).Namespace(f.ns).Patch(t.Context(), name, kind, []byte(body), metav1.PatchOptions{FieldManager: manager}, sub...)
	require.NoError(t, err)
}

func (f *fixture) get(t *testing.T, gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := f.others.Resource(gvr).Namespace(f.ns).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return u
}

func actions(res *ssa.Result) map[string]ssa.Action {
	out := map[string]ssa.Action{}
	for _, c := range res.Changes {
		out[c.Key.Kind+"/"+c.Key.Name] = c.Action
	}
	return out
}

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// objects parses a stream of manifests.
func objects(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range strings.Split(text, "\n---\n") {
		u := &unstructured.Unstructured{}
		raw, err := yaml.YAMLToJSON([]byte(doc))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &u.Object)) // makes whole numbers int64
		out = append(out, u)
	}
	return out
}

const app = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {colour: blue, size: large}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: more}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {password: hunter2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "example.com/web:1.0", resources: {limits: {cpu: 1000m}}, ports: [{containerPort: 8080}]}
      - {name: side, image: "example.com/side:1.0"}
`

func TestApplyCostsWhatChanged(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)

	f.meter.Observe(nil)
	start := f.meter.Count()
	first := f.apply(t, objs, f.options())
	require.Equal(t, 5, first.Count(ssa.Created))
	// Two group versions are asked for their types, then one request for each object.
	require.EqualValues(t, 2+5, f.meter.Count().Sub(start).Requests)
	require.Len(t, first.Entries, 5)

	second, requests := f.again(t, objs, first)
	require.Equal(t, 5, second.Count(ssa.Unchanged))
	require.EqualValues(t, 4, requests, "one metadata request for each type in the namespace")
	require.Equal(t, first.Entries, second.Entries, "an inventory that need not be written again")

	require.NoError(t, unstructured.SetNestedField(objs[0].Object, "red", "data", "colour"))
	third, requests := f.again(t, objs, second)
	require.Equal(t, ssa.Configured, actions(third)["ConfigMap/settings"])
	require.Equal(t, 4, third.Count(ssa.Unchanged))
	require.Empty(t, third.Changes[0].Drift, "our own change is no drift")
	require.EqualValues(t, 4+1, requests)
}

func TestApplyWithoutInventoryWritesNothingTwice(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	f.apply(t, objs, f.options())
	before := f.get(t, deployments, "web").GetResourceVersion()
	f.apply(t, objs, f.options())
	require.Equal(t, before, f.get(t, deployments, "web").GetResourceVersion())
}

func TestApplyLeavesTheObjectsAlone(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	f.apply(t, objs, f.options())
	require.Equal(t, objects(t, app), objs)
}

func TestDriftIsNamedAndCorrected(t *testing.T) {
	tests := []struct {
		name  string
		do    func(t *testing.T, f *fixture)
		key   string
		drift []ssa.Drift
	}{
		{"a value of a ConfigMap", func(t *testing.T, f *fixture) {
			f.patch(t, configMaps, "settings", "kubectl-edit", types.MergePatchType, `{"data":{"colour":"green"}}`)
		}, "ConfigMap/settings", []ssa.Drift{{Path: "data.colour", Manager: "kubectl-edit", Old: "green", New: "blue"}}},
		{"a value removed", func(t *testing.T, f *fixture) {
			f.patch(t, configMaps, "settings", "kubectl-edit", types.MergePatchType, `{"data":{"colour":null}}`)
		}, "ConfigMap/settings", []ssa.Drift{{Path: "data.colour", New: "blue"}}},
		{"an image in a list", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "web", "kubectl-set", types.StrategicMergePatchType,
				`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example.com/evil:6"}]}}}}`)
		}, "Deployment/web", []ssa.Drift{{Path: "spec.template.spec.containers[name=app].image", Manager: "kubectl-set", Old: "example.com/evil:6", New: "example.com/web:1.0"}}},
		{"a scale", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "web", "autoscaler", types.MergePatchType, `{"spec":{"replicas":5}}`, "scale")
		}, "Deployment/web", []ssa.Drift{{Path: "spec.replicas", Manager: "autoscaler", Old: int64(5), New: int64(2)}}},
		{"a container removed", func(t *testing.T, f *fixture) {
			f.patch(t, deployments, "web", "kubectl-edit", types.StrategicMergePatchType,
				`{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}`)
		}, "Deployment/web", nil},
		{"a label changed", func(t *testing.T, f *fixture) {
			f.patch(t, configMaps, "settings", "kubectl-label", types.MergePatchType, `{"metadata":{"labels":{"app":"x"}}}`)
		}, "ConfigMap/settings", []ssa.Drift{{Path: "metadata.labels.app", Manager: "kubectl-label", Old: "x", New: "web"}}},
		{"our owner label removed", func(t *testing.T, f *fixture) {
			f.patch(t, configMaps, "settings", "kubectl-label", types.MergePatchType, `{"metadata":{"labels":{"gitopskit.dev/owner":null}}}`)
		}, "ConfigMap/settings", []ssa.Drift{{Path: `metadata.labels["gitopskit.dev/owner"]`, New: "test"}}},
		{"a port changed", func(t *testing.T, f *fixture) {
			f.patch(t, services, "web", "kubectl-edit", types.JSONPatchType, `[{"op":"replace","path":"/spec/ports/0/targetPort","value":9090}]`)
		}, "Service/web", []ssa.Drift{{Path: "spec.ports[port=80,protocol=TCP].targetPort", Manager: "kubectl-edit", Old: int64(9090), New: int64(8080)}}},
		{"a secret value", func(t *testing.T, f *fixture) {
			f.patch(t, secrets, "token", "kubectl-edit", types.MergePatchType, `{"data":{"password":"Y2FuYXJ5"}}`)
		}, "Secret/token", []ssa.Drift{{Path: "data.password", Manager: "kubectl-edit", Masked: true}}},
	}
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.do(t, f)
			res, _ := f.again(t, objs, prev)
			for _, c := range res.Changes {
				if c.Key.Kind+"/"+c.Key.Name != tt.key {
					require.Equal(t, ssa.Unchanged, c.Action, c.Key)
					continue
				}
				require.Equal(t, ssa.Configured, c.Action)
				if tt.drift != nil {
					require.Equal(t, tt.drift, c.Drift)
				} else {
					require.NotEmpty(t, c.Drift)
					require.Equal(t, "spec.template.spec.containers[name=side]", c.Drift[0].Path)
				}
			}
			prev, _ = f.again(t, objs, res)
			require.Equal(t, len(objs), prev.Count(ssa.Unchanged), "corrected, and quiet again")
		})
	}
}

func TestWhatIsNotDrift(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	f.patch(t, deployments, "web", "controller", types.MergePatchType, `{"status":{"observedGeneration":1,"replicas":2}}`, "status")
	res, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged))
	require.EqualValues(t, 4, requests, "a status write costs no request of its own")
	require.Equal(t, prev.Entries, res.Entries)

	f.patch(t, configMaps, "settings", "somebody", types.MergePatchType, `{"metadata":{"annotations":{"note":"mine"}}}`)
	res, requests = f.again(t, objs, prev)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged))
	require.EqualValues(t, 4+2, requests, "a kind without a generation must be looked at, once")
	require.Empty(t, res.Changes[0].Drift)
	require.Equal(t, "mine", f.get(t, configMaps, "settings").GetAnnotations()["note"])
	_, requests = f.again(t, objs, res)
	require.EqualValues(t, 4, requests)
}

func TestReorderedListIsSeen(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	live := f.get(t, deployments, "web")
	containers, _, err := unstructured.NestedSlice(live.Object, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	containers[0], containers[1] = containers[1], containers[0]
	require.NoError(t, unstructured.SetNestedSlice(live.Object, containers, "spec", "template", "spec", "containers"))
	_, err = f.others.Resource(deployments).Namespace(f.ns).Update(t.Context(), live, metav1.UpdateOptions{FieldManager: "editor"})
	require.NoError(t, err)

	res, _ := f.again(t, objs, prev)
	require.Equal(t, ssa.Configured, actions(res)["Deployment/web"])
}

func TestDeletedObjectComesBack(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	require.NoError(t, f.others.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "more", metav1.DeleteOptions{}))
	res, _ := f.again(t, objs, prev)
	require.Equal(t, ssa.Created, actions(res)["ConfigMap/more"])
	require.True(t, res.Changes[1].Recreated)
}

func TestFullAsksForEveryObject(t *testing.T) {
	f := setup(t)
	objs := objects(t, app)
	prev := f.apply(t, objs, f.options())
	opts := f.options()
	opts.Previous, opts.Full = prev.Entries, true
	before := f.meter.Count()
	res := f.apply(t, objs, opts)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged))
	require.EqualValues(t, 2*len(objs), f.meter.Count().Sub(before).Requests)
}

func TestDefinitionAndItsObjectsInOneSet(t *testing.T) {
	f := setup(t)
	// The plane is shared: a group of its own makes the definition new on every run.
	objs := objects(t, strings.NewReplacer("shop.example.com", f.ns+".example.com", "brand-new", f.ns+"-new").Replace(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: shop.example.com/v1
kind: Widget
metadata: {name: one, namespace: brand-new}
spec: {size: 3}
---
apiVersion: v1
kind: Namespace
metadata: {name: brand-new}
`))
	res := f.apply(t, objs, f.options())
	require.Equal(t, 3, res.Count(ssa.Created))
	res, _ = f.again(t, objs, res)
	require.Equal(t, 2, res.Count(ssa.Unchanged)+res.Count(ssa.Configured)-1, "a definition may be written once more after its creation")
	require.Equal(t, ssa.Unchanged, actions(res)["Widget/one"])
}

func TestFailureInTheMiddleKeepsTheWholeTruth(t *testing.T) {
	f := setup(t)
	objs := objects(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
data: {a: b}
---
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {ports: [{port: 99999}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: stray, namespace: nowhere}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: odd}
dta: {a: b}
`)
	res, err := f.applier.Apply(t.Context(), objs, f.options())
	var failed *ssa.ApplyError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failed, 3)
	require.Contains(t, err.Error(), "3 of 4 objects were not applied")
	require.Equal(t, ssa.Created, actions(res)["ConfigMap/good"])
	require.Contains(t, res.Changes[1].Err.Error(), "apply Service "+f.ns+"/bad: ")
	require.Contains(t, res.Changes[1].Err.Error(), "spec.ports[0].port")
	require.Contains(t, res.Changes[2].Err.Error(), "create the namespace first")
	require.Contains(t, res.Changes[3].Err.Error(), "dta")
	require.True(t, terminal(res.Changes[1].Err))
	require.False(t, terminal(res.Changes[2].Err))
	require.True(t, terminal(res.Changes[3].Err))
	require.False(t, terminal(err))
	_, known := res.Entries.Lookup(res.Changes[0].Key)
	require.True(t, known)
}

func terminal(err error) bool {
	t, ok := err.(interface{ Terminal() bool })
	return ok && t.Terminal()
}

func TestDependentsOfAFailureAreSkipped(t *testing.T) {
	f := setup(t)
	objs := objects(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: Not-A-Name}
---
apiVersion: v1
kind: Namespace
metadata: {name: Not-A-Name}
`)
	res, err := f.applier.Apply(t.Context(), objs, f.options())
	require.Error(t, err)
	require.Equal(t, map[string]ssa.Action{"ConfigMap/inside": ssa.Skipped, "Namespace/Not-A-Name": ssa.Failed}, actions(res))
	require.Contains(t, res.Changes[0].Err.Error(), "it needs Namespace Not-A-Name, which was failed")
}

func TestInvalidSets(t *testing.T) {
	f := setup(t)
	tests := []struct{ name, text, want string }{
		{"no name", "apiVersion: v1\nkind: ConfigMap", "it has no metadata.name"},
		{"name that is no string", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: no}", "its metadata.name is not a string; quote it"},
		{"no kind", "apiVersion: v1\nmetadata: {name: x}", "it has no kind"},
		{"no version", "kind: ConfigMap\nmetadata: {name: x}", "it has no apiVersion"},
		{"generated name", "apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}", "server-side apply needs metadata.name"},
		{"twice", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", "it is in the set twice"},
		{"unknown kind", "apiVersion: shop.example.com/v7\nkind: Gadget\nmetadata: {name: x}", "does not serve Gadget of shop.example.com/v7"},
		{"unknown kind of a known version", "apiVersion: v1\nkind: Gadget\nmetadata: {name: x}", "does not serve Gadget of v1"},
		{"labels that are no strings", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {a: 1}}", "metadata.labels must map strings to strings"},
		{"stringData that is no string", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: 1}", "stringData.a must be a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: not-written}")
			res, err := f.applier.Apply(t.Context(), append(good, objects(t, tt.text)...), f.options())
			var invalid *ssa.InvalidSetError
			require.ErrorAs(t, err, &invalid)
			require.ErrorContains(t, err, tt.want)
			require.Empty(t, res.Changes)
			_, err = f.others.Resource(configMaps).Namespace(f.ns).Get(t.Context(), "not-written", metav1.GetOptions{})
			require.Error(t, err, "nothing was applied")
		})
	}
	t.Run("no namespace", func(t *testing.T) {
		_, err := f.applier.Apply(t.Context(), objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}"), ssa.ApplyOptions{Owner: "test"})
		require.ErrorContains(t, err, "it names no namespace")
	})
	t.Run("no owner", func(t *testing.T) {
		_, err := f.applier.Apply(t.Context(), nil, ssa.ApplyOptions{})
		require.ErrorContains(t, err, "Owner is empty")
		require.True(t, terminal(err))
	})
	t.Run("owner that is no label value", func(t *testing.T) {
		_, err := f.applier.Apply(t.Context(), nil, ssa.ApplyOptions{Owner: "a/b"})
		require.ErrorContains(t, err, "is no label value")
		require.True(t, terminal(err))
	})
}

func TestAttackSecretInErrors(t *testing.T) {
	f := setup(t)
	const canary = "c4n4ry-v4lue"
	for name, text := range map[string]string{
		"not base64":       "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {password: \"" + canary + "!\"}",
		"a wrong type":     "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {password: [" + canary + "]}",
		"an invalid key":   "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {\"bad key\": " + canary + "}",
		"an unknown field": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n" + canary + ": {a: b}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.applier.Apply(t.Context(), objects(t, text), f.options())
			require.Error(t, err)
			require.NotContains(t, everything(err), canary, "nor in what it wraps")
		})
	}
}

func TestCancelledApplyTellsWhatItDid(t *testing.T) {
	f := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var objs []*unstructured.Unstructured
	for i := range 40 {
		objs = append(objs, objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-"+string(rune('a'+i/26))+string(rune('a'+i%26))+"}")...)
	}
	opts := f.options()
	opts.Progress = func(ssa.Change) { cancel() }
	res, err := f.applier.Apply(ctx, objs, opts)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, res.Changes, len(objs))
	require.Positive(t, res.Count(ssa.Created))
	require.Positive(t, res.Count(ssa.Skipped))
	for _, c := range res.Changes {
		if c.Action == ssa.Created {
			_, ok := res.Entries.Lookup(c.Key)
			require.True(t, ok)
		}
	}
}

func TestTargetsNamesWhatApplyTouches(t *testing.T) {
	f := setup(t)
	targets, err := f.applier.Targets(t.Context(), objects(t, app), f.options())
	require.NoError(t, err)
	res := f.apply(t, objects(t, app), f.options())
	require.Len(t, targets, len(res.Entries))
	for i := range targets {
		require.Equal(t, res.Entries[i].Key, targets[i].Key)
		require.Equal(t, res.Entries[i].GVR(), targets[i].GVR())
	}
}
