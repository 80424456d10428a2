package controlplane_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	configMaps   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	pods         = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	claims       = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	nodes        = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	roles        = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	roleBindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
)

func TestStart(t *testing.T) {
	var told []controlplane.Progress
	p := start(t, controlplane.Options{Progress: func(p controlplane.Progress) { told = append(told, p) }})

	require.Equal(t, []controlplane.Progress{
		{Stage: controlplane.Starting, Name: "etcd"},
		{Stage: controlplane.Starting, Name: "kube-apiserver"},
	}, told)

	client, err := discovery.NewDiscoveryClientForConfig(p.Config())
	require.NoError(t, err)
	version, err := client.ServerVersion()
	require.NoError(t, err)
	require.Regexp(t, `^v1\.\d+\.\d+$`, version.GitVersion)

	applyConfigMap(t, p.Config(), "default", "a")

	require.NoError(t, p.Close())
	require.NoError(t, p.Close(), "closing twice does nothing")
	require.Error(t, p.StopServer())
	require.Error(t, p.StartServer(t.Context()))
}

func TestStartRefusesNegativeNodes(t *testing.T) {
	_, err := controlplane.Start(t.Context(), controlplane.Options{Nodes: -1})
	require.ErrorContains(t, err, "-1 nodes")
}

func TestPlanesAreApart(t *testing.T) {
	one, other := testplane.Small(t), start(t, controlplane.Options{})
	require.NotEqual(t, one.Config().Host, other.Config().Host)

	applyConfigMap(t, one.Config(), "default", "only-in-one")
	_, err := dynamicClient(t, other.Config()).Resource(configMaps).Namespace("default").
		Get(t.Context(), "only-in-one", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "got %v", err)

	stranger := other.Config()
	stranger.CAData = one.Config().CAData
	stranger.CertData, stranger.KeyData = one.Config().CertData, one.Config().KeyData
	_, err = dynamicClient(t, stranger).Resource(configMaps).List(t.Context(), metav1.ListOptions{})
	require.ErrorContains(t, err, "certificate", "each plane has an authority of its own")
}

func TestConfigIsACopy(t *testing.T) {
	p := testplane.Small(t)
	changed := p.Config()
	changed.Host, changed.CertData = "https://elsewhere.example", nil
	applyConfigMap(t, p.Config(), "default", "copy")
}

func TestKubeconfig(t *testing.T) {
	p := testplane.Small(t)
	config, err := clientcmd.RESTConfigFromKubeConfig(p.Kubeconfig())
	require.NoError(t, err)
	require.Equal(t, p.Config().Host, config.Host)
	applyConfigMap(t, config, "default", "kubeconfig")
}

func TestUser(t *testing.T) {
	p := testplane.Small(t)
	ns := testplane.Namespace(t, p)
	admin := dynamicClient(t, p.Config())

	_, err := p.User("")
	require.ErrorContains(t, err, "name")
	alice, err := p.User("alice", "readers")
	require.NoError(t, err)
	read := func() error {
		_, err := dynamicClient(t, alice).Resource(configMaps).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		return err
	}
	err = read()
	require.True(t, apierrors.IsForbidden(err), "got %v", err)
	require.ErrorContains(t, err, `User "alice"`)

	create(t, admin, roles, ns, map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
		"metadata": map[string]any{"name": "read"},
		"rules": []any{map[string]any{
			"apiGroups": []any{""}, "resources": []any{"configmaps"}, "verbs": []any{"list"},
		}},
	})
	create(t, admin, roleBindings, ns, map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
		"metadata": map[string]any{"name": "read"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"},
		"subjects": []any{map[string]any{
			"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers",
		}},
	})
	// The authorizer learns of a binding through a watch.
	require.Eventually(t, func() bool { return read() == nil }, 10*time.Second, 50*time.Millisecond)
}

func TestStopServerKeepsData(t *testing.T) {
	p := testplane.Small(t)
	t.Cleanup(func() { _ = p.StartServer(context.WithoutCancel(t.Context())) }) // others share it
	client := dynamicClient(t, p.Config()).Resource(configMaps).Namespace("default")
	applyConfigMap(t, p.Config(), "default", "kept")

	require.NoError(t, p.StopServer())
	require.NoError(t, p.StopServer(), "stopping twice does nothing")
	_, err := client.Get(t.Context(), "kept", metav1.GetOptions{})
	require.ErrorContains(t, err, "connection refused")

	require.NoError(t, p.StartServer(t.Context()))
	require.NoError(t, p.StartServer(t.Context()), "starting twice does nothing")
	_, err = client.Get(t.Context(), "kept", metav1.GetOptions{})
	require.NoError(t, err, "an old client finds the data at the old address")
}

func TestStartSaysWhatFailed(t *testing.T) {
	bin := t.TempDir()
	program := func(name, script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	t.Setenv("KUBEBUILDER_ASSETS", bin)

	tests := map[string]struct {
		etcd, server string
		want         []string
	}{
		"the server ends": {
			etcd: "exec sleep 60", server: "echo bad flag >&2; exit 3",
			want: []string{"kube-apiserver: ended (exit status 3)", "bad flag"},
		},
		"etcd ends while the server waits for it": {
			etcd: "echo no disk; exit 4", server: "exec sleep 60",
			want: []string{"etcd: ended (exit status 4)", "no disk"},
		},
		"not a program": {
			etcd: "exec sleep 60", server: "exec /does/not/exist",
			want: []string{"kube-apiserver: ended (exit status 127)"},
		},
		"no word": {
			etcd: "exec sleep 60", server: "exit 5",
			want: []string{"kube-apiserver: ended (exit status 5); it logged nothing"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			program("etcd", tt.etcd)
			program("kube-apiserver", tt.server)
			_, err := controlplane.Start(t.Context(), controlplane.Options{})
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Empty(t, entries(t, temp), "the data is removed")
		})
	}
}

func TestStartTriesAnotherPort(t *testing.T) {
	bin := t.TempDir()
	attempts := filepath.Join(t.TempDir(), "attempts")
	program := func(name, script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	t.Setenv("KUBEBUILDER_ASSETS", bin)
	program("etcd", "exec sleep 60")
	program("kube-apiserver", "echo try >>"+attempts+"; echo 'listen tcp: bind: address already in use'; exit 1")

	_, err := controlplane.Start(t.Context(), controlplane.Options{})
	require.ErrorContains(t, err, "address already in use")
	data, err := os.ReadFile(attempts)
	require.NoError(t, err)
	require.Equal(t, "try\ntry\ntry\ntry\ntry\n", string(data))
}

func TestStartEndsWithItsContext(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexec sleep 60"), 0o755))
	}
	t.Setenv("KUBEBUILDER_ASSETS", bin)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := controlplane.Start(ctx, controlplane.Options{Progress: func(p controlplane.Progress) {
		if p.Name == "kube-apiserver" {
			cancel(reason)
		}
	}})
	require.ErrorIs(t, err, reason)
	require.ErrorContains(t, err, "kube-apiserver")
}

// start starts a plane for one test.
func start(t *testing.T, opts controlplane.Options) *controlplane.Plane {
	t.Helper()
	began := time.Now()
	p, err := controlplane.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func dynamicClient(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func applyConfigMap(t *testing.T, config *rest.Config, namespace, name string) {
	t.Helper()
	_, err := dynamicClient(t, config).Resource(configMaps).Namespace(namespace).Apply(t.Context(), name,
		&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": name},
			"data":     map[string]any{"key": "value"},
		}}, metav1.ApplyOptions{FieldManager: "test"})
	require.NoError(t, err)
}

func create(t *testing.T, client dynamic.Interface, resource schema.GroupVersionResource, namespace string, object map[string]any) *unstructured.Unstructured {
	t.Helper()
	created, err := client.Resource(resource).Namespace(namespace).
		Create(t.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	require.NoError(t, err)
	return created
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
