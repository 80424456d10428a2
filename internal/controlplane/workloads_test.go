package controlplane_test

import (
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// patience is how long anything that a controller does may take.
const patience = 60 * time.Second

func TestStartWorkloads(t *testing.T) {
	p := start(t, controlplane.Options{Workloads: true, Nodes: 3})
	client := dynamicClient(t, p.Config())
	list, err := client.Resource(nodes).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 3)
	for _, node := range list.Items {
		require.Equal(t, "True", condition(&node, "Ready"), node.GetName())
	}

	require.NoError(t, p.StopServer())
	require.NoError(t, p.StartServer(t.Context()))
	deploy(t, client, testplane.Namespace(t, p)) // the controllers find the server again
}

func TestDeploymentBecomesReady(t *testing.T) {
	p := testplane.Full(t)
	deploy(t, dynamicClient(t, p.Config()), testplane.Namespace(t, p))
}

func TestPodCanBeCreatedAtOnce(t *testing.T) {
	for name, p := range map[string]*controlplane.Plane{"small": testplane.Small(t), "full": testplane.Full(t)} {
		t.Run(name, func(t *testing.T) {
			create(t, dynamicClient(t, p.Config()), pods, testplane.Namespace(t, p), map[string]any{
				"apiVersion": "v1", "kind": "Pod",
				"metadata": map[string]any{"name": "p"},
				"spec":     podSpec(),
			})
		})
	}
}

func TestClaimIsBound(t *testing.T) {
	p := testplane.Full(t)
	client := dynamicClient(t, p.Config())
	ns := testplane.Namespace(t, p)
	create(t, client, claims, ns, map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim",
		"metadata": map[string]any{"name": "data"},
		"spec": map[string]any{
			"accessModes": []any{"ReadWriteOnce"},
			"resources":   map[string]any{"requests": map[string]any{"storage": "1Gi"}},
		},
	})
	eventually(t, func() bool {
		claim, err := client.Resource(claims).Namespace(ns).Get(t.Context(), "data", metav1.GetOptions{})
		require.NoError(t, err)
		phase, _, _ := unstructured.NestedString(claim.Object, "status", "phase")
		return phase == "Bound"
	})
}

func TestNamespaceIsDeleted(t *testing.T) {
	p := testplane.Full(t)
	client := dynamicClient(t, p.Config())
	ns := testplane.Namespace(t, p)
	deploy(t, client, ns)
	applyConfigMap(t, p.Config(), ns, "content")

	require.NoError(t, client.Resource(namespaces).Delete(t.Context(), ns, metav1.DeleteOptions{}))
	eventually(t, func() bool {
		_, err := client.Resource(namespaces).Get(t.Context(), ns, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func TestDependentsGoWithTheirOwner(t *testing.T) {
	p := testplane.Full(t)
	ns := testplane.Namespace(t, p)
	client := dynamicClient(t, p.Config())
	configMap := func(name string, owners ...any) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": name, "ownerReferences": owners},
		}
	}
	owner := create(t, client, configMaps, ns, configMap("owner"))
	create(t, client, configMaps, ns, configMap("dependent", map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": string(owner.GetUID()),
	}))

	require.NoError(t, client.Resource(configMaps).Namespace(ns).Delete(t.Context(), "owner", metav1.DeleteOptions{}))
	eventually(t, func() bool {
		_, err := client.Resource(configMaps).Namespace(ns).Get(t.Context(), "dependent", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// deploy makes a Deployment of three replicas and waits until they are ready.
func deploy(t *testing.T, client dynamic.Interface, ns string) {
	t.Helper()
	began := time.Now()
	create(t, client, deployments, ns, map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web"},
		"spec": map[string]any{
			"replicas": int64(3),
			"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "web"}},
				"spec":     podSpec(),
			},
		},
	})
	eventually(t, func() bool {
		d, err := client.Resource(deployments).Namespace(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return false
		}
		ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas")
		return ready == 3
	})
	t.Logf("3 of 3 ready after %s", time.Since(began).Round(time.Millisecond))
}

func podSpec() map[string]any {
	return map[string]any{"containers": []any{map[string]any{"name": "web", "image": "example.com/web:1"}}}
}

func condition(object *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			status, _ := c["status"].(string)
			return status
		}
	}
	return ""
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, 50*time.Millisecond)
}
