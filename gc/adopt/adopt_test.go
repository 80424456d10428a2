package adopt_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/gc/adopt"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
)

const rbac = "rbac.authorization.k8s.io"

var errUnknown = errors.New("no such kind")

func lookup(kind schema.GroupKind, version string) (adopt.Type, error) {
	if version == "" {
		version = "v1"
	}
	switch kind.Kind {
	case "Namespace", "ClusterRole":
		return adopt.Type{Version: version, Resource: strings.ToLower(kind.Kind) + "s"}, nil
	case "Deployment", "Service", "Role", "RoleBinding", "ConfigMap", "Widget":
		return adopt.Type{Version: version, Resource: strings.ToLower(kind.Kind) + "s", Namespaced: true}, nil
	}
	return adopt.Type{}, errUnknown
}

func kustomization(entries ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": map[string]any{"name": "apps", "namespace": "flux-system"},
		"status":   map[string]any{"inventory": map[string]any{"entries": entries}},
	}}
}

func entry(id, version string) any { return map[string]any{"id": id, "v": version} }

func inventoryMap(ids ...string) *unstructured.Unstructured {
	data := map[string]any{}
	for _, id := range ids {
		data[id] = ""
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": data}}
	u.SetName("inventory")
	u.SetNamespace("default")
	u.SetLabels(map[string]string{adopt.InventoryIDLabel: "0123"})
	return u
}

func TestFlux(t *testing.T) {
	inv, err := adopt.Flux(kustomization(
		entry("default_web_apps_Deployment", "v1"),
		entry("default_web__Service", "v1"),
		entry("_default__Namespace", "v1"),
		entry("_a_b_rbac.authorization.k8s.io_ClusterRole", "v1beta1"),
		entry("default_a__b_example.com_Widget", "v1alpha1"),
	), adopt.Options{Lookup: lookup})
	require.NoError(t, err)
	require.Equal(t, gc.NewInventory(
		gc.Entry{Key: gc.Key{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "web"}, Version: "v1", Resource: "deployments"},
		gc.Entry{Key: gc.Key{Kind: "Service", Namespace: "default", Name: "web"}, Version: "v1", Resource: "services"},
		gc.Entry{Key: gc.Key{Kind: "Namespace", Name: "default"}, Version: "v1", Resource: "namespaces"},
		gc.Entry{Key: gc.Key{Group: rbac, Kind: "ClusterRole", Name: "a_b"}, Version: "v1beta1", Resource: "clusterroles"},
		gc.Entry{Key: gc.Key{Group: "example.com", Kind: "Widget", Namespace: "default", Name: "a__b"}, Version: "v1alpha1", Resource: "widgets"},
	), inv)

	inv, err = adopt.Flux(&unstructured.Unstructured{Object: map[string]any{}}, adopt.Options{Lookup: lookup})
	require.NoError(t, err)
	require.Empty(t, inv)
}

func TestCLIUtils(t *testing.T) {
	inv, err := adopt.CLIUtils(inventoryMap("default_web_apps_Deployment", "_default__Namespace"), adopt.Options{Lookup: lookup})
	require.NoError(t, err)
	require.Len(t, inv, 2)
	require.Equal(t, "v1", inv[0].Version)

	stranger := inventoryMap("default_web_apps_Deployment")
	stranger.SetLabels(nil)
	_, err = adopt.CLIUtils(stranger, adopt.Options{Lookup: lookup})
	require.ErrorContains(t, err, "ConfigMap default/inventory has no label")
}

func TestWhatCannotBeReadIsNamedAndTheRestReturned(t *testing.T) {
	tests := []struct{ id, want string }{
		{"", "does not have the four parts"},
		{"a_b_c", "does not have the four parts"},
		{"default__apps_Deployment", "its name or kind is empty"},
		{"default_web_apps_", "its name or kind is empty"},
		{"_web_apps_Deployment", "is namespaced, and it names no namespace"},
		{"default_x__Namespace", "is cluster-scoped, and it names a namespace"},
		{"default_x_example.com_Unknown", "no such kind"},
		{strings.Repeat("a", 2000) + "_a__Service", "more than 1024 bytes"},
		{"_" + strings.Repeat("a__", 5) + "_rbac.authorization.k8s.io_ClusterRole", "more than 16 meanings"},
	}
	for _, tt := range tests {
		inv, err := adopt.CLIUtils(inventoryMap(tt.id, "default_web__Service"), adopt.Options{Lookup: lookup})
		var problem *adopt.IDError
		require.ErrorAs(t, err, &problem, tt.id)
		require.ErrorContains(t, err, tt.want)
		require.Equal(t, !errors.Is(err, errUnknown), problem.Terminal())
		require.Len(t, inv, 1)
	}
	_, err := adopt.Flux(kustomization("text", entry("", "")), adopt.Options{Lookup: lookup})
	require.ErrorContains(t, err, "and 1 more")
	bad := kustomization()
	require.NoError(t, unstructured.SetNestedField(bad.Object, "text", "status", "inventory", "entries"))
	_, err = adopt.Flux(bad, adopt.Options{Lookup: lookup})
	require.ErrorContains(t, err, "status.inventory.entries of Kustomization.kustomize.toolkit.fluxcd.io flux-system/apps")
	_, err = adopt.Flux(kustomization(), adopt.Options{})
	require.ErrorContains(t, err, "Lookup is nil")
	_, err = adopt.CLIUtils(inventoryMap(), adopt.Options{})
	require.ErrorContains(t, err, "Lookup is nil")
	_, err = adopt.CLIUtils(inventoryMap("default_web__Service"), adopt.Options{Lookup: func(schema.GroupKind, string) (adopt.Type, error) { return adopt.Type{}, nil }})
	require.ErrorContains(t, err, "no version or resource for Service")
}

// Whoever names a ClusterRole a__b must not get a:b deleted.
func TestAttackAmbiguousID(t *testing.T) {
	const id = "_a__b_rbac.authorization.k8s.io_ClusterRole"
	colon := gc.Key{Group: rbac, Kind: "ClusterRole", Name: "a:b"}
	literal := gc.Key{Group: rbac, Kind: "ClusterRole", Name: "a__b"}
	inv, err := adopt.CLIUtils(inventoryMap(id), adopt.Options{Lookup: lookup})
	require.Empty(t, inv)
	var ambiguous *adopt.AmbiguousError
	require.ErrorAs(t, err, &ambiguous)
	require.Equal(t, []gc.Key{colon, literal}, ambiguous.Candidates)
	require.True(t, ambiguous.Terminal())
	require.ErrorContains(t, err, "ClusterRole.rbac.authorization.k8s.io a:b or ClusterRole.rbac.authorization.k8s.io a__b")

	choose := func(k gc.Key, err error) adopt.Options {
		return adopt.Options{Lookup: lookup, Choose: func([]gc.Key) (gc.Key, error) { return k, err }}
	}
	inv, err = adopt.CLIUtils(inventoryMap(id), choose(literal, nil))
	require.NoError(t, err)
	require.True(t, inv.Has(literal))
	_, err = adopt.CLIUtils(inventoryMap(id), choose(gc.Key{Kind: "Secret", Name: "b"}, nil))
	require.ErrorContains(t, err, "Secret b was chosen, which it does not mean")
	_, err = adopt.CLIUtils(inventoryMap(id), choose(literal, errUnknown))
	require.ErrorIs(t, err, errUnknown)
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func lister(t *testing.T, cfg *rest.Config) adopt.List {
	t.Helper()
	client, err := metadata.NewForConfig(cfg)
	require.NoError(t, err)
	return func(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector string) ([]metav1.PartialObjectMetadata, error) {
		list, err := client.Resource(gvr).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, err
		}
		return list.Items, nil
	}
}

// A store marks its index as the parent of an ApplySet; others find the members.
func TestApplySet(t *testing.T) {
	plane := testplane.Small(t)
	home, away := testplane.Namespace(t, plane), testplane.Namespace(t, plane)
	client, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	store, err := gc.NewConfigMapStore(plane.Config(), home, "parent", gc.StoreOptions{ApplySet: "test/v1.0.0"})
	require.NoError(t, err)
	_, err = store.Load(t.Context())
	require.NoError(t, err)

	var want gc.Inventory
	for i, ns := range []string{home, away, away} {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
		u.SetName(fmt.Sprint("member-", i))
		u.SetLabels(gc.ApplySetMember(store.Key()))
		u, err = client.Resource(configMaps).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
		want = append(want, gc.Entry{
			Key:     gc.Key{Kind: "ConfigMap", Namespace: ns, Name: u.GetName()},
			Version: "v1", Resource: "configmaps", UID: u.GetUID(),
		})
	}
	want = gc.NewInventory(want...)
	require.NoError(t, store.Save(t.Context(), want.Union([]gc.Entry{{Key: gc.Key{Kind: "Namespace", Name: "x"}, Version: "v1", Resource: "namespaces"}})))

	parent, err := client.Resource(configMaps).Namespace(home).Get(t.Context(), "parent", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "test/v1.0.0", parent.GetAnnotations()[gc.ApplySetToolingAnnotation])
	require.Equal(t, "ConfigMap,Namespace", parent.GetAnnotations()[gc.ApplySetGroupKindsAnnotation])
	require.Equal(t, away, parent.GetAnnotations()[gc.ApplySetNamespacesAnnotation])

	got, err := adopt.ApplySet(t.Context(), parent, lister(t, plane.Config()), adopt.Options{Lookup: lookup})
	require.NoError(t, err)
	require.Equal(t, want, got)

	t.Run("refusals", func(t *testing.T) {
		list := lister(t, plane.Config())
		_, err := adopt.ApplySet(t.Context(), parent, nil, adopt.Options{Lookup: lookup})
		require.ErrorContains(t, err, "list is nil")
		_, err = adopt.ApplySet(t.Context(), parent, list, adopt.Options{})
		require.ErrorContains(t, err, "Lookup is nil")
		_, err = adopt.ApplySet(t.Context(), parent, func(context.Context, schema.GroupVersionResource, string, string) ([]metav1.PartialObjectMetadata, error) {
			return nil, errUnknown
		}, adopt.Options{Lookup: lookup})
		require.ErrorIs(t, err, errUnknown)

		many := parent.DeepCopy()
		many.SetAnnotations(map[string]string{
			gc.ApplySetGroupKindsAnnotation: series("Kind", 101), gc.ApplySetNamespacesAnnotation: series("ns", 100),
		})
		_, err = adopt.ApplySet(t.Context(), many, list, adopt.Options{Lookup: lookup})
		require.ErrorContains(t, err, "more than 10000 lists")

		moved := parent.DeepCopy()
		moved.SetName("copied")
		_, err = adopt.ApplySet(t.Context(), moved, list, adopt.Options{Lookup: lookup})
		require.ErrorContains(t, err, "ConfigMap "+home+"/copied")

		odd := parent.DeepCopy()
		odd.SetAnnotations(map[string]string{gc.ApplySetGroupKindsAnnotation: "ConfigMap, Odd.example.com"})
		inv, err := adopt.ApplySet(t.Context(), odd, list, adopt.Options{Lookup: lookup})
		require.ErrorContains(t, err, "the type of Odd.example.com was not found")
		require.Len(t, inv, 1, "what is in its own namespace")
	})
}

func series(text string, n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint(text, i))
	}
	return strings.Join(out, ",")
}

// What was adopted is applied by its new owner and then pruned by it. What had left
// the set before is nobody's, and stays.
func TestAdoptedSetChangesHands(t *testing.T) {
	plane := testplane.Small(t)
	ns := testplane.Namespace(t, plane)
	client, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	there := client.Resource(configMaps).Namespace(ns)
	var ids []any
	for _, name := range []string{"wanted", "left"} {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
		u.SetName(name)
		_, err := there.Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
		ids = append(ids, entry(ns+"_"+name+"__ConfigMap", "v1"))
	}
	adopted, err := adopt.Flux(kustomization(ids...), adopt.Options{Lookup: lookup})
	require.NoError(t, err)
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), adopted))
	pruner, err := gc.NewPruner(plane.Config())
	require.NoError(t, err)
	var outcomes []gc.Outcome
	reconcile := func(want gc.Inventory) {
		rep, err := gc.Reconcile(t.Context(), store, gc.Steps{
			Targets: want,
			Apply: func(ctx context.Context, _ gc.Inventory) (gc.Inventory, error) {
				var done []gc.Entry
				for _, e := range want {
					u, err := there.Get(ctx, e.Name, metav1.GetOptions{})
					require.NoError(t, err)
					u.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
					u, err = there.Update(ctx, u, metav1.UpdateOptions{})
					require.NoError(t, err)
					e.UID = u.GetUID()
					done = append(done, e)
				}
				return gc.NewInventory(done...), nil
			},
			Prune: func(ctx context.Context, gone gc.Inventory) (gc.PruneResult, error) {
				return pruner.Prune(ctx, gone, gc.PruneOptions{Owner: "mine"})
			},
		})
		require.NoError(t, err)
		for _, o := range rep.Pruned.Objects {
			outcomes = append(outcomes, o.Outcome)
		}
	}
	reconcile(adopted[1:])
	require.Equal(t, []gc.Outcome{gc.Foreign}, outcomes)
	reconcile(nil)
	require.Equal(t, []gc.Outcome{gc.Foreign, gc.Deleted}, outcomes)
	_, err = there.Get(t.Context(), "left", metav1.GetOptions{})
	require.NoError(t, err)
}
