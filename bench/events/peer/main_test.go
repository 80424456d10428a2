package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func TestWorks(t *testing.T) {
	for name, setup := range map[string]side.Setup{"emit": emit(20), "throughput": throughput(20)} {
		t.Run(name, func(t *testing.T) {
			work, err := setup(t.Context(), side.Env{})
			require.NoError(t, err)
			for range 2 {
				require.NoError(t, work.Prepare(t.Context()))
				require.NoError(t, work.Do(t.Context()))
				require.NoError(t, work.Finish(t.Context()))
			}
			require.Error(t, work.Finish(t.Context()), "nothing was done")
		})
	}
}
