package gc_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/gc/gctest"
)

func configMapStore(t *testing.T, cfg *rest.Config, ns, name string) *gc.ClusterStore {
	t.Helper()
	s, err := gc.NewConfigMapStore(cfg, ns, name, gc.StoreOptions{})
	require.NoError(t, err)
	return s
}

func numbered(n int) gc.Inventory {
	var entries []gc.Entry
	for i := range n {
		entries = append(entries, gctest.Entry(i))
	}
	return gc.NewInventory(entries...)
}

func save(t *testing.T, s gc.Store, inv gc.Inventory) {
	t.Helper()
	require.NoError(t, s.Save(t.Context(), inv))
}

func load(t *testing.T, s gc.Store) gc.Inventory {
	t.Helper()
	inv, err := s.Load(t.Context())
	require.NoError(t, err)
	return inv
}

// names lists the ConfigMaps of the namespace.
func (f *fixture) names(t *testing.T) []string {
	t.Helper()
	list, err := f.client.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var out []string
	for _, item := range list.Items {
		out = append(out, item.GetName())
	}
	return out
}

func TestStores(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		s := &gc.MemoryStore{}
		gctest.TestStore(t, func() gc.Store { return s.Another() })
	})
	f := setup(t)
	for name, open := range map[string]func() (*gc.ClusterStore, error){
		"config maps": func() (*gc.ClusterStore, error) {
			return gc.NewConfigMapStore(f.cfg, f.ns, "inventory", gc.StoreOptions{ApplySet: "test/v1"})
		},
		"secrets": func() (*gc.ClusterStore, error) {
			return gc.NewSecretStore(f.cfg, f.ns, "inventory", gc.StoreOptions{Labels: map[string]string{"set": "test"}})
		},
		"small shards": func() (*gc.ClusterStore, error) {
			s, err := gc.NewConfigMapStore(f.cfg, f.ns, "small", gc.StoreOptions{})
			return gc.Shrunk(s, 10), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			gctest.TestStore(t, func() gc.Store {
				s, err := open()
				require.NoError(t, err)
				return s
			})
		})
	}
	require.Empty(t, f.names(t), "empty inventories leave nothing behind")
}

func TestStoreNames(t *testing.T) {
	for _, tt := range []struct{ namespace, name, want string }{
		{"", "a", "needs a namespace and a name"},
		{"a", "", "needs a namespace and a name"},
		{"a.b", "a", `the namespace "a.b" is invalid`},
		{"a", "A", `the name "A" is invalid`},
		{"a", "../b", "is invalid"},
		{"a", strings.Repeat("a", 249), "with the number of a shard behind it"},
	} {
		_, err := gc.NewConfigMapStore(&rest.Config{Host: "http://localhost"}, tt.namespace, tt.name, gc.StoreOptions{})
		require.ErrorContains(t, err, tt.want)
	}
}

func TestOneChangeIsOneRequest(t *testing.T) {
	f := setup(t)
	f.cfg.Wrap(f.meter.Wrap)
	inv := numbered(10_000)
	s := configMapStore(t, f.cfg, f.ns, "inventory")
	save(t, s, inv)
	require.Len(t, f.names(t), 11)

	inv[5000].Intent = "changed"
	before := f.meter.Count()
	save(t, s, inv)
	cost := f.meter.Count().Sub(before)
	require.EqualValues(t, 1, cost.Requests)
	require.Less(t, cost.Sent, int64(5<<10))

	before = f.meter.Count()
	require.True(t, inv.Equal(load(t, s)))
	require.EqualValues(t, 1, f.meter.Count().Sub(before).Requests, "shards that it wrote are not read again")

	before = f.meter.Count()
	require.True(t, inv.Equal(load(t, configMapStore(t, f.cfg, f.ns, "inventory"))))
	require.EqualValues(t, 11, f.meter.Count().Sub(before).Requests)
}

func TestManyChangesOfOneShardWriteOneShard(t *testing.T) {
	f := setup(t)
	f.cfg.Wrap(f.meter.Wrap)
	s := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
	inv := numbered(50)
	save(t, s, inv)
	for i := range 5 {
		inv[20+i].Intent = "changed"
	}
	var requests []string
	f.meter.Observe(func(method, path string) {
		requests = append(requests, method+" "+path[strings.LastIndexByte(path, '/')+1:])
	})
	save(t, s, inv)
	require.Len(t, requests, 4)
	require.Equal(t, []string{"POST configmaps", "PUT inventory"}, requests[:2])
	require.Contains(t, requests[2], "DELETE inventory-")
	require.Equal(t, "PUT inventory", requests[3])
	require.True(t, inv.Equal(load(t, configMapStore(t, f.cfg, f.ns, "inventory"))))
}

func TestWhatOthersPutOnTheIndexStays(t *testing.T) {
	f := setup(t)
	opts := gc.StoreOptions{Labels: map[string]string{"set": "test"}}
	s, err := gc.NewConfigMapStore(f.cfg, f.ns, "inventory", opts)
	require.NoError(t, err)
	save(t, s, numbered(1))
	_, err = f.client.Patch(t.Context(), "inventory", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"theirs":"1","set":"wrong"},"annotations":{"theirs":"2"},"finalizers":["example.com/theirs"]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	load(t, s)
	save(t, s, numbered(2))
	u, err := f.client.Get(t.Context(), "inventory", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"theirs": "1", "set": "test", "app.kubernetes.io/managed-by": "gitopskit"}, u.GetLabels())
	require.Equal(t, "2", u.GetAnnotations()["theirs"])
	require.Equal(t, []string{"example.com/theirs"}, u.GetFinalizers())
	_, err = f.client.Patch(t.Context(), "inventory", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
}

func TestDamageIsReportedAndNotOverwritten(t *testing.T) {
	f := setup(t)
	inv := numbered(30)
	tests := []struct {
		name   string
		damage func(t *testing.T, name string)
		want   string
	}{
		{"no index", func(t *testing.T, name string) {
			f.patch(t, name, `{"binaryData":{"shards.json":null}}`)
		}, "shards.json: it is missing"},
		{"index of another kind", func(t *testing.T, name string) {
			f.patch(t, name, `{"binaryData":{"shards.json":"AAAA"}}`)
		}, "shards.json"},
		{"changes", func(t *testing.T, name string) {
			f.patch(t, name, `{"binaryData":{"changes":"AAAA"}}`)
		}, "changes"},
		{"a shard is missing", func(t *testing.T, name string) {
			require.NoError(t, f.client.Delete(t.Context(), name+"-2", metav1.DeleteOptions{}))
		}, "-2: it is missing"},
		{"a shard is another's", func(t *testing.T, name string) {
			u, err := f.client.Get(t.Context(), name+"-1", metav1.GetOptions{})
			require.NoError(t, err)
			text, _, _ := unstructured.NestedString(u.Object, "binaryData", "entries")
			f.patch(t, name+"-2", `{"binaryData":{"entries":"`+text+`"}}`)
		}, "-2: its content is not what the index says"},
		{"a shard is empty", func(t *testing.T, name string) {
			f.patch(t, name+"-0", `{"binaryData":null}`)
		}, "-0: its content is not what the index says"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := fmt.Sprint("damaged-", i)
			s := gc.Shrunk(configMapStore(t, f.cfg, f.ns, name), 1)
			save(t, s, inv)
			tt.damage(t, name)
			s = configMapStore(t, f.cfg, f.ns, name)
			_, err := s.Load(t.Context())
			var damaged *gc.DamagedError
			require.ErrorAs(t, err, &damaged)
			require.True(t, damaged.Terminal())
			require.ErrorContains(t, err, "ConfigMap "+f.ns+"/"+name+" is damaged")
			require.ErrorContains(t, err, tt.want)
			require.ErrorIs(t, s.Save(t.Context(), inv), gc.ErrConflict)
			require.ErrorIs(t, s.Save(t.Context(), nil), gc.ErrConflict)
		})
	}
}

func (f *fixture) patch(t *testing.T, name, patch string) {
	t.Helper()
	_, err := f.client.Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

// Somebody's ConfigMap has the name that a shard would get: it is stepped over.
func TestAttackForeignObjectInTheWay(t *testing.T) {
	f := setup(t)
	f.make(t, "inventory-1", nil)
	f.make(t, "inventory-2", func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{"gitopskit.dev/inventory": "another"})
	})
	s := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
	inv := numbered(20)
	save(t, s, inv)
	require.True(t, inv.Equal(load(t, configMapStore(t, f.cfg, f.ns, "inventory"))))
	save(t, s, nil)
	require.Equal(t, []string{"inventory-1", "inventory-2"}, f.names(t))
}

// Two stores whose names are alike do not take each other's objects.
func TestStoresWithNamesAlike(t *testing.T) {
	f := setup(t)
	one := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "a"), 1)
	two := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "a-0"), 1)
	invs := []gc.Inventory{numbered(30), numbered(40)[30:]}
	load(t, two)
	save(t, two, invs[1])
	load(t, one)
	save(t, one, invs[0])
	require.True(t, invs[0].Equal(load(t, configMapStore(t, f.cfg, f.ns, "a"))))
	require.True(t, invs[1].Equal(load(t, configMapStore(t, f.cfg, f.ns, "a-0"))))
	save(t, one, nil)
	save(t, two, nil)
	require.Empty(t, f.names(t))
}

// A ConfigMap that somebody else may write could hold a decompression bomb.
func TestAttackInventoryBomb(t *testing.T) {
	f := setup(t)
	s := configMapStore(t, f.cfg, f.ns, "bomb")
	save(t, s, numbered(1))
	bomb := base64.StdEncoding.EncodeToString(gzipped(t, make([]byte, 80<<20)))
	require.Less(t, len(bomb), 1<<20)
	f.patch(t, "bomb", `{"binaryData":{"changes":"`+bomb+`"}}`)
	_, err := s.Load(t.Context())
	require.ErrorContains(t, err, "inflates to more than")
}

// Another writer deletes the shards, and makes them again with the same content:
// this one, which has not read them again, still leaves nothing behind.
func TestShardsMadeAgain(t *testing.T) {
	f := setup(t)
	one, two := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1), gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
	inv := numbered(20)
	changed := append(gc.Inventory(nil), inv...)
	for i := range changed {
		changed[i].Intent = "changed"
	}
	for _, then := range []gc.Inventory{nil, changed} {
		load(t, one)
		save(t, one, inv)
		load(t, two)
		save(t, two, changed)
		save(t, two, inv)
		require.True(t, inv.Equal(load(t, one)))
		save(t, one, then)
		require.True(t, then.Equal(load(t, configMapStore(t, f.cfg, f.ns, "inventory"))))
	}
	save(t, one, nil)
	require.Empty(t, f.names(t))
}

func TestSecretStore(t *testing.T) {
	f := setup(t)
	s, err := gc.NewSecretStore(f.cfg, f.ns, "inventory", gc.StoreOptions{})
	require.NoError(t, err)
	save(t, gc.Shrunk(s, 1), numbered(12))
	client, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	secrets := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(f.ns)
	for _, name := range []string{"inventory", "inventory-0"} {
		u, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, "gitopskit.dev/inventory", u.Object["type"])
		require.Equal(t, "gitopskit", u.GetLabels()["app.kubernetes.io/managed-by"])
	}
	require.Empty(t, f.names(t), "nothing in ConfigMaps")
}

func TestInventoryTooLarge(t *testing.T) {
	s := configMapStore(t, &rest.Config{Host: "http://localhost:1"}, "a", "b")
	var inv gc.Inventory
	for i := range gc.MaxEntries + 1 {
		inv = append(inv, gc.Entry{Key: gc.Key{Kind: "ConfigMap", Name: fmt.Sprintf("%06d", i)}, Version: "v1", Resource: "configmaps"})
	}
	err := s.Save(t.Context(), inv)
	require.ErrorIs(t, err, gc.ErrTooLarge)
	require.ErrorContains(t, err, "500001 entries of at most 500000")
	err = s.Save(t.Context(), gc.Inventory{{Key: inv[0].Key}})
	require.ErrorContains(t, err, "ConfigMap 000000 lacks an API version")
}

// The identity of a set needs no more than to get, create, update and delete, in
// its own namespace: the server refuses everything else.
func TestStoreRights(t *testing.T) {
	f := setup(t)
	client, err := dynamic.NewForConfig(f.cfg)
	require.NoError(t, err)
	rbac := func(resource, kind string, fields map[string]any) {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": "store"}}}
		for k, v := range fields {
			u.Object[k] = v
		}
		gvr := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}
		_, err := client.Resource(gvr).Namespace(f.ns).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	rbac("roles", "Role", map[string]any{"rules": []any{map[string]any{
		"apiGroups": []any{""}, "resources": []any{"configmaps"}, "verbs": []any{"get", "create", "update", "delete"},
	}}})
	rbac("rolebindings", "RoleBinding", map[string]any{
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "store"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "store", "namespace": f.ns}},
	})
	f.cfg.Impersonate.UserName = "system:serviceaccount:" + f.ns + ":store"
	s := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
	require.Eventually(t, func() bool { // the server learns of the role
		_, err := s.Load(t.Context())
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	inv := numbered(30)
	save(t, s, inv)
	save(t, s, inv[9:])
	require.True(t, inv[9:].Equal(load(t, configMapStore(t, f.cfg, f.ns, "inventory"))))
	save(t, s, nil)
	require.Empty(t, f.names(t))

	secrets, err := gc.NewSecretStore(f.cfg, f.ns, "inventory", gc.StoreOptions{})
	require.NoError(t, err)
	_, err = secrets.Load(t.Context())
	require.True(t, apierrors.IsForbidden(err), "the test tests something")
}

func TestStoreErrorsAreTyped(t *testing.T) {
	f := setup(t)
	s := configMapStore(t, f.cfg, f.ns+"-missing", "inventory")
	err := s.Save(t.Context(), numbered(1))
	var failed *gc.StoreError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "save", failed.Op)
	require.True(t, apierrors.IsNotFound(err))
}
