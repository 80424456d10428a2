package gc_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
)

// restricted is a service account with the set's own verbs in its own namespace,
// and nothing else: no list, no watch, no cluster role.
func (f *fixture) restricted(t *testing.T) *rest.Config {
	t.Helper()
	all, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	user := "system:serviceaccount:" + f.ns + ":deployer"
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	for resource, u := range map[string]map[string]any{
		"roles": {
			"kind":  "Role",
			"rules": []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"configmaps"}, "verbs": []any{"get", "create", "update", "patch", "delete"}}},
		},
		"rolebindings": {
			"kind":     "RoleBinding",
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "deployer", "namespace": f.ns}},
			"roleRef":  map[string]any{"apiGroup": rbac.Group, "kind": "Role", "name": "deployer"},
		},
	} {
		u["apiVersion"], u["metadata"] = rbac.String(), map[string]any{"name": "deployer"}
		_, err := all.Resource(rbac.WithResource(resource)).Namespace(f.ns).Create(t.Context(), &unstructured.Unstructured{Object: u}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	cfg, err := testplane.Small(t).User(user, "system:serviceaccounts", "system:serviceaccounts:"+f.ns)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the server takes up the role
		_, err := client.Resource(configMaps).Namespace(f.ns).Create(t.Context(), configMapObject(f.ns, "probe", ""), metav1.CreateOptions{})
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, client.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "probe", metav1.DeleteOptions{}))
	_, err = client.Resource(configMaps).Namespace(f.ns).List(t.Context(), metav1.ListOptions{})
	require.ErrorContains(t, err, "cannot list", "or the test shows nothing")
	return cfg
}

func TestARoleInOneNamespaceSuffices(t *testing.T) {
	f := setup(t)
	cfg := f.restricted(t)
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	// The smallest applier: one that knows its types.
	apply := func(ctx context.Context, names []string) (inv gc.Inventory, err error) {
		for _, name := range names {
			u := configMapObject(f.ns, name, "x")
			u.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
			u, err := client.Resource(configMaps).Namespace(f.ns).Apply(ctx, name, u, metav1.ApplyOptions{FieldManager: "kit"})
			if err != nil {
				return inv, err
			}
			inv = inv.Union([]gc.Entry{{Key: f.key(name), Version: "v1", Resource: "configmaps", UID: u.GetUID()}})
		}
		return inv, nil
	}
	strict := rest.CopyConfig(cfg)
	strict.Wrap(transport(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if !strings.HasPrefix(req.URL.Path, "/api/v1/namespaces/"+f.ns+"/configmaps") {
			t.Errorf("%s %s was sent", req.Method, req.URL)
		}
		return next.RoundTrip(req)
	}).wrap)
	pruner, err := gc.NewPruner(strict)
	require.NoError(t, err)
	store, err := gc.NewConfigMapStore(strict, f.ns, "inventory", gc.StoreOptions{})
	require.NoError(t, err)
	reconcile := func(names ...string) gc.Report {
		var targets []gc.Entry
		for _, name := range names {
			targets = append(targets, gc.Entry{Key: f.key(name), Version: "v1", Resource: "configmaps"})
		}
		rep, err := gc.Reconcile(t.Context(), store, gc.Steps{
			Targets: gc.NewInventory(targets...),
			Apply:   func(ctx context.Context, _ gc.Inventory) (gc.Inventory, error) { return apply(ctx, names) },
			Pruner:  pruner, PruneOptions: gc.PruneOptions{Owner: "mine", Manager: "kit"},
		})
		require.NoError(t, err)
		return rep
	}
	reconcile("a", "b", "c", "d")
	require.Len(t, reconcile("a", "d").Pruned.Objects, 2)
	require.False(t, f.exists(t, "b") || f.exists(t, "c"))
	require.True(t, f.exists(t, "a"))

	// Without watch, it asks now and then whether a finalizer is gone.
	f.patch(t, "d", `{"metadata":{"finalizers":["example.com/hold"]}}`)
	refused := transport(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusForbidden && f.exists(t, "d") {
			f.patch(t, "d", `{"metadata":{"finalizers":null}}`)
		}
		return resp, err
	})
	watchless := rest.CopyConfig(cfg)
	watchless.Wrap(refused.wrap)
	pruner, err = gc.NewPruner(watchless)
	require.NoError(t, err)
	require.Equal(t, gc.Deleted, reconcile("a").Pruned.Objects[0].Outcome)

	res, err := pruner.Release(t.Context(), gc.NewInventory(gc.Entry{Key: f.key("a"), Version: "v1", Resource: "configmaps"}), gc.ReleaseOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, gc.HandedOver, res.Objects[0].Outcome)
}

// What the identity may not do is said, kept on record, and stops nothing else.
func TestPruneWithoutTheRight(t *testing.T) {
	f := setup(t)
	pruner, err := gc.NewPruner(f.restricted(t))
	require.NoError(t, err)
	secret := gc.Entry{Key: gc.Key{Kind: "Secret", Namespace: f.ns, Name: "s"}, Version: "v1", Resource: "secrets"}
	account := gc.Entry{Key: gc.Key{Kind: "ServiceAccount", Namespace: f.ns, Name: "a"}, Version: "v1", Resource: "serviceaccounts"}
	mine := f.make(t, "mine", nil)
	res, err := pruner.Prune(t.Context(), gc.NewInventory(mine, secret, account), gc.PruneOptions{Owner: "mine"})
	var failed *gc.PruneError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failed, 2)
	for _, p := range failed.Failed {
		require.True(t, apierrors.IsForbidden(p.Err), "%v", p.Err)
	}
	require.Equal(t, gc.NewInventory(secret, account), res.Kept)
	require.False(t, f.exists(t, "mine"))
}

// The same with ssa, which asks the server for its types, as everyone may.
func TestARoleInOneNamespaceSufficesForSSA(t *testing.T) {
	f := setup(t)
	w := &world{cfg: f.restricted(t), ns: f.ns}
	var err error
	w.all, err = dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	before, after := w.objects("a", "b", "c"), w.objects("a", "b=2")
	w.settle(t, before)
	w.settle(t, before)
	w.settle(t, after)
	w.check(t, after, before)
}
