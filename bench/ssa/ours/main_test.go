package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestNoopWorksAndIsCounted(t *testing.T) {
	const count = 20
	env := side.Env{Kubeconfig: testplane.Small(t).Kubeconfig(), Meter: &meter.Meter{}}
	work, err := noop(count)(t.Context(), env)
	require.NoError(t, err)
	before := env.Meter.Count()
	require.GreaterOrEqual(t, before.Requests, int64(count), "the setup applies every object")
	require.NoError(t, work.Prepare(t.Context()))
	require.NoError(t, work.Do(t.Context()))
	requests := env.Meter.Count().Sub(before).Requests
	require.Positive(t, requests)
	require.Less(t, requests, int64(count), "no request for each object")
}
