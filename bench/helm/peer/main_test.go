package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestFindsNothingToDo(t *testing.T) {
	env := side.Env{Kubeconfig: testplane.Small(t).Kubeconfig(), Meter: &meter.Meter{}}
	work, err := noop(2)(t.Context(), env)
	require.NoError(t, err)
	before := env.Meter.Count()
	require.NoError(t, work.Do(t.Context()))
	require.Positive(t, env.Meter.Count().Sub(before).Requests)
}
