package controlplane_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/stretchr/testify/require"
)

func TestProgressString(t *testing.T) {
	for want, p := range map[string]controlplane.Progress{
		"waiting for another process that builds the control plane": {Stage: controlplane.Waiting},
		"downloading modules of etcd: 7":                            {Stage: controlplane.Downloading, Name: "etcd", Done: 7},
		"building etcd: 7 of 9 packages":                            {Stage: controlplane.Building, Name: "etcd", Done: 7, Total: 9},
		"starting etcd":                                             {Stage: controlplane.Starting, Name: "etcd"},
	} {
		require.Equal(t, want, p.String())
	}
}

func TestPrinterOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()

	report, done := controlplane.Printer(f)
	for i := range 100 {
		report(controlplane.Progress{Stage: controlplane.Building, Name: "etcd", Done: i, Total: 100})
	}
	report(controlplane.Progress{Stage: controlplane.Starting, Name: "etcd"})
	done()

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "building etcd: 0 of 100 packages\nstarting etcd\n", string(data))
}
