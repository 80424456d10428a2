package ssa_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// full is setup on a plane with controllers.
func full(t *testing.T) *fixture {
	t.Helper()
	plane := testplane.Full(t)
	f := &fixture{meter: &meter.Meter{}, ns: testplane.Namespace(t, plane), cfg: plane.Config()}
	others, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	f.others = others
	f.applier = newApplier(t, plane.Config(), f.meter)
	return f
}

// immutables are manifests with {one|two} where a field cannot be changed.
var immutables = map[string]string{
	"stateful set": `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: x}
spec:
  serviceName: {one|two}
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}`,
	"deployment's selector": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
spec:
  selector: {matchLabels: {a: {one|two}}}
  template: {metadata: {labels: {a: {one|two}}}, spec: {containers: [{name: c, image: i}]}}`,
	"job": `
apiVersion: batch/v1
kind: Job
metadata: {name: x}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "{one|two}"}]}}}`,
	"service's address": `
apiVersion: v1
kind: Service
metadata: {name: x}
spec: {selector: {a: b}, clusterIP: {|None}, ports: [{port: 80}]}`,
	"role binding": `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: x}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {view|edit}}
subjects: [{kind: ServiceAccount, name: x, namespace: default}]`,
	"immutable ConfigMap": `
apiVersion: v1
kind: ConfigMap
metadata: {name: x}
immutable: true
data: {a: {one|two}}`,
	"type of a Secret": `
apiVersion: v1
kind: Secret
metadata: {name: x}
type: example.com/{one|two}
data: {a: aHVudGVyMg==}`,
	"claim": `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: x, annotations: {gitopskit.dev/apply: recreate}}
spec: {accessModes: [ReadWriteOnce], storageClassName: {one|two}, resources: {requests: {storage: 1Gi}}}`,
	"storage class": `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: NAMESPACE}
provisioner: example.com/{one|two}`,
	"pod": `
apiVersion: v1
kind: Pod
metadata: {name: x}
spec: {nodeSelector: {never: there}, containers: [{name: c, image: i, workingDir: {/one|/two}}]}`,
}

// variant writes one of the two manifests.
func (f *fixture) variant(text string, second bool) string {
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(text, "{")
		b.WriteString(head)
		if !found {
			return strings.ReplaceAll(b.String(), "NAMESPACE", f.ns)
		}
		choice, after, closed := strings.Cut(rest, "}")
		one, two, isChoice := strings.Cut(choice, "|")
		switch {
		case !closed || !isChoice || strings.ContainsAny(choice, "{:,"):
			b.WriteString("{")
			text = rest
			continue
		case second:
			one = two
		}
		b.WriteString(one)
		text = after
	}
}

func TestRecreation(t *testing.T) {
	for name, text := range immutables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := full(t)
			before, after := objects(t, f.variant(text, false)), objects(t, f.variant(text, true))
			require.NotEqual(t, before, after)
			first := f.apply(t, before, f.options())
			opts := f.options()
			opts.Previous = first.Entries

			if !strings.Contains(text, "recreate") {
				res, err := f.applier.Apply(t.Context(), after, opts)
				require.ErrorContains(t, err, "cannot be changed: delete the object first", "nobody asked for more")
				require.True(t, terminal(err))
				require.False(t, res.Changes[0].Replaced)
			}
			opts.Policy = ssa.Recreate
			res := f.apply(t, after, opts)
			c := res.Changes[0]
			require.Equal(t, ssa.Created, c.Action)
			require.True(t, c.Replaced)
			require.NotEqual(t, first.Entries[0].UID, res.Entries[0].UID)
			opts.Previous = res.Entries
			require.False(t, f.apply(t, after, opts).Changes[0].Replaced)
		})
	}
}

// A plain validation error never deletes, whatever the manifest makes the server say.
func TestAttackRecreationOfInvalidObjects(t *testing.T) {
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {selector: {a: b}, clusterIP: None, ports: [{port: 80}]}"
	tests := map[string][2]string{
		"invalid": {service, strings.Replace(service, "80", "99999", 1)},
		"invalid, and changed where it must not be": {service, strings.Replace(strings.Replace(service, "80", "99999", 1), "None", "10.96.0.78", 1)},
		"a value that reads as if":                  {service, strings.Replace(service, "clusterIP: None,", "clusterIP: None, externalName: \"x: field is immutable\", sessionAffinity: \"field is immutable\",", 1)},
		"a name that reads as if": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {a: \"x: field is immutable\"}, annotations: {\"may not change once set\": \"\"}}"},
		"an unknown field": {service, service + "\nimmutable: field is immutable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			prev := f.apply(t, objects(t, tt[0]), f.options())
			f.meter.Observe(func(method, path string) {
				if method == http.MethodDelete {
					t.Error("DELETE " + path)
				}
			})
			opts := f.options()
			opts.Previous, opts.Policy = prev.Entries, ssa.Recreate
			res, err := f.applier.Apply(t.Context(), objects(t, tt[1]), opts)
			require.Error(t, err)
			require.False(t, res.Changes[0].Replaced)
		})
	}
}

func TestWhatIsNeverRecreated(t *testing.T) {
	f := setup(t)
	check := func(t *testing.T, text, says string) {
		t.Helper()
		prev := f.apply(t, objects(t, f.variant(text, false)), f.options())
		opts := f.options()
		opts.Previous, opts.Policy = prev.Entries, ssa.Recreate
		f.requireForeseen(t, objects(t, f.variant(text, true)), opts, says)
		_, err := f.applier.Apply(t.Context(), objects(t, f.variant(text, true)), opts)
		require.ErrorContains(t, err, says)
		require.True(t, terminal(err))
	}
	t.Run("definition", func(t *testing.T) {
		text, _, _ := strings.Cut(strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"), "\n---")
		text = strings.Replace(text, "scope: Namespaced", "scope: {Namespaced|Cluster}", 1)
		f.apply(t, objects(t, f.variant(text, false)), f.options())
		f.established(t, "widgets."+f.ns+".example.com")
		check(t, text, "all that it holds would be deleted")
	})
	t.Run("claim that does not ask", func(t *testing.T) {
		check(t, strings.Replace(immutables["claim"], ", annotations: {gitopskit.dev/apply: recreate}", "", 1), "its data would be lost")
	})
	t.Run("another set's", func(t *testing.T) {
		opts := f.options()
		opts.Owner = "somebody"
		prev := f.apply(t, objects(t, f.variant(immutables["immutable ConfigMap"], false)), opts)
		opts = f.options()
		opts.Previous, opts.Policy = prev.Entries, ssa.Recreate
		f.requireForeseen(t, objects(t, f.variant(immutables["immutable ConfigMap"], true)), opts, `it belongs to the set "somebody"`)
		_, err := f.applier.Apply(t.Context(), objects(t, f.variant(immutables["immutable ConfigMap"], true)), opts)
		require.ErrorContains(t, err, `it belongs to the set "somebody"`)
	})
}

// requireForeseen holds Plan and Validate to saying what Apply would.
func (f *fixture) requireForeseen(t *testing.T, objs []*unstructured.Unstructured, opts ssa.ApplyOptions, says string) {
	t.Helper()
	plan, err := f.applier.Plan(t.Context(), objs, opts)
	require.ErrorContains(t, err, says)
	require.Equal(t, ssa.Failed, plan.Changes[0].Action)
	require.False(t, plan.Changes[0].Replaced)
	opts.Validate = true
	_, err = f.applier.Apply(t.Context(), objs, opts)
	var refused *ssa.ValidationError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, says)
}

// A plan says that an object would be made again, and whether that would fail.
func TestPlanOfARecreation(t *testing.T) {
	f := setup(t)
	grant(t, f, "undeleting", `
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, create, patch]}`)
	text := immutables["immutable ConfigMap"]
	prev := f.apply(t, objects(t, f.variant(text, false)), f.options())
	before := f.get(t, configMaps, "x")
	after := objects(t, f.variant(text, true))
	opts := f.options()
	opts.Previous, opts.Policy = prev.Entries, ssa.Recreate
	spent := f.meter.Count()
	plan, err := f.applier.Plan(t.Context(), after, opts)
	require.NoError(t, err)
	require.True(t, plan.Changes[0].Replaced)
	require.Equal(t, ssa.Created, plan.Changes[0].Action)
	require.EqualValues(t, 1+3, f.meter.Count().Sub(spent).Requests, "a look at the metadata, a read, a dry run and a deletion by dry run")
	require.Equal(t, before, f.get(t, configMaps, "x"))

	opts.Policy = ssa.Override
	_, err = f.applier.Plan(t.Context(), after, opts)
	require.ErrorContains(t, err, "cannot be changed: delete the object first", "nobody asked for more")

	cfg, err := testplane.Small(t).User("undeleting")
	require.NoError(t, err)
	f.applier = newApplier(t, cfg, f.meter)
	opts.Policy = ssa.Recreate
	f.requireForeseen(t, after, opts, "it must be deleted to be made again")
	require.Equal(t, before, f.get(t, configMaps, "x"))
}

// established waits until a definition is served.
func (f *fixture) established(t *testing.T, name string) {
	t.Helper()
	gvr := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	require.Eventually(t, func() bool {
		u, err := f.others.Resource(gvr).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			if m := c.(map[string]any); m["type"] == "Established" && m["status"] == "True" {
				return true
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond)
}

// Between the refusal and the delete, somebody made another object of the name.
func TestAttackRecreationDeletesOnlyWhatRefused(t *testing.T) {
	f := setup(t)
	text := immutables["immutable ConfigMap"]
	prev := f.apply(t, objects(t, f.variant(text, false)), f.options())
	others := f.others.Resource(configMaps).Namespace(f.ns)
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodDelete {
			require.NoError(t, others.Delete(t.Context(), "x", metav1.DeleteOptions{}))
			_, err := others.Create(t.Context(), configMap(t, "", "a: theirs")[0], metav1.CreateOptions{})
			require.NoError(t, err)
		}
		return next.RoundTrip(req)
	})
	opts := f.options()
	opts.Previous, opts.Policy = prev.Entries, ssa.Recreate
	_, err := f.applier.Apply(t.Context(), objects(t, f.variant(text, true)), opts)
	require.ErrorContains(t, err, "it must be deleted to be made again")
	require.False(t, terminal(err))
	require.Equal(t, map[string]string{"a": "theirs"}, f.data(t))
}

func TestRecreationWaitsForFinalizers(t *testing.T) {
	f := setup(t)
	text := immutables["immutable ConfigMap"]
	prev := f.apply(t, objects(t, f.variant(text, false)), f.options())
	f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"metadata":{"finalizers":["example.com/hold"]}}`)
	opts := f.options()
	opts.Previous, opts.Policy, opts.RecreateTimeout = prev.Entries, ssa.Recreate, 50*time.Millisecond
	res, err := f.applier.Apply(t.Context(), objects(t, f.variant(text, true)), opts)
	require.ErrorContains(t, err, "finalizers hold it: example.com/hold")
	require.False(t, terminal(err))
	require.True(t, res.Changes[0].Replaced)

	f.patch(t, configMaps, "x", "them", types.MergePatchType, `{"metadata":{"finalizers":null}}`)
	opts.Previous = res.Entries
	res = f.apply(t, objects(t, f.variant(text, true)), opts)
	require.Equal(t, ssa.Created, res.Changes[0].Action)
	require.Equal(t, "two", f.data(t)["a"])
}
