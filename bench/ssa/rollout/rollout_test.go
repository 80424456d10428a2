package rollout

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/bench/ssa/objects"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
)

const healthy = `{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1,
"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`

func TestLagIsWhatComesAfterTheLast(t *testing.T) {
	plane := testplane.Small(t)
	namespace := testplane.Namespace(t, plane)
	client, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	deployments := client.Resource(Deployments).Namespace(namespace)
	list := objects.Deployments(namespace, 3)
	for _, obj := range list {
		_, err := deployments.Create(t.Context(), obj, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	r, err := Watch(t.Context(), plane.Config(), namespace)
	require.NoError(t, err)
	lag, err := r.Lag(func() error {
		for _, obj := range list {
			if _, err := deployments.Patch(t.Context(), obj.GetName(), types.MergePatchType, []byte(healthy), metav1.PatchOptions{}, "status"); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, lag, grain)

	_, err = Watch(t.Context(), plane.Config(), namespace)
	require.ErrorIs(t, err, errHealthy)
	require.NoError(t, Settle(t.Context(), plane.Config(), namespace))
}

func TestWaitsThatFailAreTold(t *testing.T) {
	plane := testplane.Small(t)
	namespace := testplane.Namespace(t, plane)
	client, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	_, err = client.Resource(Deployments).Namespace(namespace).Create(t.Context(), objects.Deployments(namespace, 1)[0], metav1.CreateOptions{})
	require.NoError(t, err)
	r, err := Watch(t.Context(), plane.Config(), namespace)
	require.NoError(t, err)
	_, err = r.Lag(func() error { return errors.New("no such thing") })
	require.EqualError(t, err, "no such thing")
}
