package artifact_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/artifacttest"
)

func TestDisk(t *testing.T) {
	disk, err := artifact.NewDisk(t.TempDir())
	require.NoError(t, err)
	artifacttest.TestBackend(t, disk)
}

func TestAttackKeys(t *testing.T) {
	disk, err := artifact.NewDisk(t.TempDir())
	require.NoError(t, err)
	const temporary = "tmp" // where a store writes what has no name yet
	for _, key := range []string{temporary + "/x", "names/../" + temporary + "/x", "../../etc/passwd", "names/..", "sha256/\x00"} {
		_, err := disk.Stat(t.Context(), key)
		require.ErrorAs(t, err, new(*artifact.KeyError), key)
	}
}
