package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

const count = 20

// requests does the work twice, as the second time shows whether it can be done
// again, and returns what the second one cost.
func requests(t *testing.T, plane *controlplane.Plane, setup side.Setup) (int64, side.Work) {
	t.Helper()
	env := side.Env{Kubeconfig: plane.Kubeconfig(), Meter: &meter.Meter{}}
	work, err := setup(t.Context(), env)
	require.NoError(t, err)
	var before meter.Count
	for range 2 {
		require.NoError(t, work.Prepare(t.Context()))
		before = env.Meter.Count()
		require.NoError(t, work.Do(t.Context()))
	}
	return env.Meter.Count().Sub(before).Requests, work
}

func TestWorksAndIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		setup       side.Setup
		least, most int64
	}{
		"noop":   {revise(count, 0), 0, 1},
		"one":    {revise(count, 1), 1, 2},
		"change": {revise(count, count), count, count + 1}, // one look for what is to be left alone
		"create": {create(count), count, count},
		"delete": {remove(count), count, 2 * count},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := requests(t, testplane.Small(t), c.setup)
			require.GreaterOrEqual(t, n, c.least)
			require.LessOrEqual(t, n, c.most)
		})
	}
}

func TestWaitWorksAndIsCounted(t *testing.T) {
	n, work := requests(t, testplane.Full(t), wait(4, 2))
	require.LessOrEqual(t, n, int64(2), "a list and a watch")
	require.Positive(t, work.Took())
}
