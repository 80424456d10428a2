package main

import (
	"context"
	"errors"
	"testing"
	"time"

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
	require.NoError(t, work.Prepare(t.Context()))
	require.NoError(t, work.Do(t.Context()))
	require.GreaterOrEqual(t, env.Meter.Count().Sub(before).Requests, int64(count))
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
