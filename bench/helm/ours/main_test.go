package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// requests does the work twice, as the second time shows whether it can be done
// again, and returns what the second one cost.
func requests(t *testing.T, plane *controlplane.Plane, setup side.Setup) int64 {
	t.Helper()
	env := side.Env{Kubeconfig: plane.Kubeconfig(), Meter: &meter.Meter{}}
	work, err := setup(t.Context(), env)
	require.NoError(t, err)
	var cost int64
	for range 2 {
		before := env.Meter.Count()
		require.NoError(t, work.Do(t.Context()))
		cost = env.Meter.Count().Sub(before).Requests
		if work.Finish != nil {
			require.NoError(t, work.Finish(t.Context()))
		}
	}
	return cost
}

func TestReleaseThatIsAsItShouldBeCostsOneRequest(t *testing.T) {
	require.EqualValues(t, 5, requests(t, testplane.Small(t), noop(5)))
}

func TestInstallAndUpgradeWork(t *testing.T) {
	require.Less(t, requests(t, testplane.Full(t), install), int64(30))
	require.Less(t, requests(t, testplane.Full(t), upgrade), int64(30))
}
