package controlplane_test

import (
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/stretchr/testify/require"
)

func TestStart(t *testing.T) {
	began := time.Now()
	p, err := controlplane.Start(t.Context(), controlplane.Options{Progress: func(p controlplane.Progress) { t.Log(time.Since(began), p) }})
	require.NoError(t, err)
	t.Log("ready after", time.Since(began))
	began = time.Now()
	require.NoError(t, p.Close())
	t.Log("closed after", time.Since(began))
}
func TestStartFull(t *testing.T) {
	began := time.Now()
	p, err := controlplane.Start(t.Context(), controlplane.Options{Workloads: true, Progress: func(p controlplane.Progress) { t.Log(time.Since(began), p) }})
	require.NoError(t, err)
	t.Log("ready after", time.Since(began))
	began = time.Now()
	require.NoError(t, p.Close())
	t.Log("closed after", time.Since(began))
}
