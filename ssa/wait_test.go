package ssa_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/ssa"
)

const ready = `{"status":{"observedGeneration":1,"replicas":2,"updatedReplicas":2,"readyReplicas":2,"availableReplicas":2,
"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`

const stuck = `{"status":{"observedGeneration":1,"replicas":2,"updatedReplicas":2,
"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded","message":"it takes too long"}]}}`

func TestWaitFollowsTheWatch(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	var seen []ssa.Health
	patched := make(chan error, 1)
	becomeReady := func() {
		_, err := f.others.Resource(deployments).Namespace(f.ns).Patch(t.Context(), "web", types.MergePatchType, []byte(ready), metav1.PatchOptions{}, "status")
		patched <- err
	}
	before := f.meter.Count()
	health, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: time.Minute, Progress: func(h ssa.Health) {
		if h.Key.Kind != "Deployment" {
			return
		}
		seen = append(seen, h)
		if h.Status == ssa.InProgress && len(seen) == 1 {
			go becomeReady()
		}
	}})
	require.NoError(t, err)
	require.NoError(t, <-patched)
	require.Len(t, health, 5)
	require.Equal(t, ssa.InProgress, seen[0].Status)
	require.Equal(t, ssa.Current, seen[len(seen)-1].Status)
	require.EqualValues(t, 3, f.meter.Count().Sub(before).Requests, "list and watch of Deployments, list of Services")
}

func TestWaitEndsEarlyOnFailure(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	f.patch(t, deployments, "web", "controller", types.MergePatchType, stuck, "status")
	_, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: time.Minute})
	var unhealthy *ssa.HealthError
	require.ErrorAs(t, err, &unhealthy)
	require.ErrorContains(t, err, "Deployment.apps "+f.ns+"/web is Failed")
	require.False(t, errors.Is(err, context.DeadlineExceeded))
}

func TestWaitTimesOutWithReasons(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	health, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test", Timeout: 300 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "1 of 5 objects are not ready after 300ms: Deployment.apps "+f.ns+"/web is InProgress")
	require.Len(t, health, 5)
}

func TestWaitIsCancelled(t *testing.T) {
	f := setup(t)
	res := f.apply(t, objects(t, app), f.options())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := f.applier.Wait(ctx, res.Entries, ssa.WaitOptions{Owner: "test", Progress: func(h ssa.Health) {
		if h.Key.Kind == "Deployment" {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "the wait was cancelled")
}
