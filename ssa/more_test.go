package ssa_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// An identity without list rights still pays little, and needs no cluster role.
func TestApplyWithoutTheRightToList(t *testing.T) {
	f := setup(t)
	grant(t, f, "frugal", `
- {apiGroups: [""], resources: [configmaps, secrets, services], verbs: [get, create, patch]}
- {apiGroups: [apps], resources: [deployments], verbs: [get, create, patch]}`)
	cfg, err := testplane.Small(t).User("frugal")
	require.NoError(t, err)
	f.applier = newApplier(t, cfg, f.meter)

	objs := objects(t, app)
	first := f.apply(t, objs, f.options())
	second, requests := f.again(t, objs, first)
	require.Equal(t, len(objs), second.Count(ssa.Unchanged))
	require.EqualValues(t, len(objs)+1, requests, "one refused list, then one metadata read for each object")
}

func grant(t *testing.T, f *fixture, user, rules string) {
	t.Helper()
	for _, u := range objects(t, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: %[1]s}
rules:%[2]s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[1]s}]
`, user, rules)) {
		gvr := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: strings.ToLower(u.GetKind()) + "s"}
		_, err := f.others.Resource(gvr).Namespace(f.ns).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	granted(t, f, user)
}

// granted waits until the server goes by the rules: it learns of them by a watch.
func granted(t *testing.T, f *fixture, user string) {
	t.Helper()
	cfg, err := testplane.Small(t).User(user)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": map[string]any{"namespace": f.ns},
	}}
	gvr := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectrulesreviews"}
	require.Eventually(t, func() bool {
		got, err := client.Resource(gvr).Create(t.Context(), review, metav1.CreateOptions{})
		if err != nil {
			return false
		}
		rules, _, _ := unstructured.NestedSlice(got.Object, "status", "resourceRules")
		for _, r := range rules {
			// Everyone may ask for reviews; other rules are the new ones.
			groups, _, _ := unstructured.NestedStringSlice(r.(map[string]any), "apiGroups")
			if !slices.Contains(groups, "authorization.k8s.io") && !slices.Contains(groups, "authentication.k8s.io") {
				return true
			}
		}
		return false
	}, 30*time.Second, 10*time.Millisecond)
}

func TestForbiddenObjectsAreNamed(t *testing.T) {
	f := setup(t)
	grant(t, f, "limited", `
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, create, patch]}`)
	cfg, err := testplane.Small(t).User("limited")
	require.NoError(t, err)
	f.applier = newApplier(t, cfg, f.meter)
	res, err := f.applier.Apply(t.Context(), objects(t, app), f.options())
	require.ErrorContains(t, err, "3 of 5 objects were not applied")
	require.ErrorContains(t, err, "the identity lacks a right")
	require.Equal(t, 2, res.Count(ssa.Created))
}

func TestServerThatGoesAway(t *testing.T) {
	plane, err := controlplane.Start(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, plane.Close()) }()
	f := &fixture{meter: &meter.Meter{}, ns: "default"}
	f.applier = newApplier(t, plane.Config(), f.meter)

	var objs []*unstructured.Unstructured
	for i := range 60 {
		objs = append(objs, objects(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%d}", i))...)
	}
	opts := f.options()
	stopped := false
	opts.Progress = func(ssa.Change) {
		if !stopped {
			stopped = true
			require.NoError(t, plane.StopServer())
		}
	}
	res, err := f.applier.Apply(t.Context(), objs, opts)
	var unreachable *ssa.UnreachableError
	require.ErrorAs(t, err, &unreachable)
	require.ErrorContains(t, err, "cannot be reached")
	require.Len(t, res.Changes, len(objs), "every object is accounted for")
	require.Positive(t, res.Count(ssa.Created))
	require.Positive(t, res.Count(ssa.Skipped), "a server that is gone is not asked again and again")

	_, err = f.applier.Apply(t.Context(), objs, f.options())
	require.ErrorAs(t, err, &unreachable)

	require.NoError(t, plane.StartServer(t.Context()))
	opts = f.options()
	opts.Previous = res.Entries
	res = f.apply(t, objs, opts)
	require.Len(t, res.Entries, len(objs))
}

func TestWebhooksComeLast(t *testing.T) {
	f := setup(t)
	objs := objects(t, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: blocks-everything}
webhooks:
- name: none.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 1
  clientConfig: {url: "https://127.0.0.1:1/nobody"}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: `+f.ns+`}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: ["*"], resources: [configmaps]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
`)
	defer func() {
		gvr := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
		require.NoError(t, f.others.Resource(gvr).Delete(t.Context(), "blocks-everything", metav1.DeleteOptions{}))
	}()
	res := f.apply(t, objs, f.options())
	require.Equal(t, 3, res.Count(ssa.Created))
}

func TestNoOpsOfEveryKindWriteNothing(t *testing.T) {
	f := setup(t)
	objs := objects(t, `
apiVersion: v1
kind: Secret
metadata: {name: s, creationTimestamp: null}
stringData: {a: plain}
data: {b: Yg==, c: null}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: policy}
spec: {podSelector: {}, ingress: [], policyTypes: [Ingress]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, labels: {}, annotations: null}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}, creationTimestamp: null}
    spec:
      containers: [{name: c, image: i, resources: {limits: {cpu: 1000m, memory: 1024Mi}}, securityContext: {}}]
      volumes: [{name: v, emptyDir: {}}]
status: {replicas: 7}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
rules: []
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: p}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: cj}
spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}
`)
	first := f.apply(t, objs, f.options())
	second, _ := f.again(t, objs, first)
	require.Equal(t, len(objs), second.Count(ssa.Unchanged), "%v", actions(second))
	opts := f.options()
	opts.Previous, opts.Full = second.Entries, true
	settled := f.apply(t, objs, opts) // the server writes a PersistentVolumeClaim once more after its creation
	require.GreaterOrEqual(t, settled.Count(ssa.Unchanged), len(objs)-1, "%v", actions(settled))
	opts.Previous = settled.Entries
	full := f.apply(t, objs, opts)
	require.Equal(t, len(objs), full.Count(ssa.Unchanged), "%v", actions(full))
}

// Values of a hostile object must not be able to escape into another set.
func TestAttackOwnerLabelIsOurs(t *testing.T) {
	f := setup(t)
	objs := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {gitopskit.dev/owner: somebody-else}}")
	f.apply(t, objs, f.options())
	require.Equal(t, "test", f.get(t, configMaps, "x").GetLabels()["gitopskit.dev/owner"])
}
