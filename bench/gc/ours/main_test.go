package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestInventoryWorksAndIsCounted(t *testing.T) {
	env := side.Env{Kubeconfig: testplane.Small(t).Kubeconfig(), Meter: &meter.Meter{}}
	work, err := inventory(8000)(t.Context(), env)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, work.Prepare(t.Context()))
		before := env.Meter.Count()
		require.NoError(t, work.Do(t.Context()))
		require.GreaterOrEqual(t, env.Meter.Count().Sub(before).Requests, int64(2))
		require.NoError(t, work.Finish(t.Context()))
	}
}
