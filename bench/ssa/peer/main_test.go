package main

import (
	"context"
	"errors"
	"testing"
	"time"

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
		setup side.Setup
		want  int64
	}{
		"noop":   {revise(count, 0), 2 * count},
		"one":    {revise(count, 1), 2*count + 1},
		"change": {revise(count, count), 3 * count},
		"create": {create(count), 3 * count},
		"delete": {remove(count), 2 * count},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := requests(t, testplane.Small(t), c.setup)
			require.Equal(t, c.want, n)
		})
	}
}

func TestWaitWorksAndIsCounted(t *testing.T) {
	n, work := requests(t, testplane.Full(t), wait(4, 2))
	require.Positive(t, n)
	require.Positive(t, work.Took())
}

func TestFastestSetting(t *testing.T) {
	best, err := fastest(t.Context(), []int{30, 1, 20}, func(_ context.Context, ms int) error {
		for start := time.Now(); time.Since(start) < time.Duration(ms)*time.Millisecond; {
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, best)
	_, err = fastest(t.Context(), []int{1}, func(context.Context, int) error { return errors.New("no") })
	require.Error(t, err)
	_, err = fastest(t.Context(), nil, nil)
	require.Error(t, err)
}
