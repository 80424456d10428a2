package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestNoopPairWorksAndIsCounted(t *testing.T) {
	plane := testplane.Small(t)
	pair := ssaNoop("ssa/noop-20", 20)
	requests := map[string]int64{}
	for side, setup := range map[string]Setup{oursSide: pair.Ours, peerSide: pair.Peer} {
		m := &meter.Meter{}
		work, err := setup(t.Context(), Env{Config: counted(plane.Config(), m), Side: side})
		require.NoError(t, err, side)
		before := m.Count()
		work.Prepare()
		require.NoError(t, work.Do(t.Context()), side)
		requests[side] = m.Count().Sub(before).Requests
	}
	require.Less(t, requests[oursSide], int64(20), "ours makes no request for each object")
	require.GreaterOrEqual(t, requests[peerSide], int64(20))
}
