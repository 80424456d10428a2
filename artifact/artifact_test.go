package artifact_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// The JSON that the sources of the GitOps Toolkit have in their status.
const status = `{
	"digest": "sha256:4a4c6e3ae8d1cc4a4c9d7b5b3f0c8d1a2b3c4d5e6f708192a3b4c5d6e7f80912",
	"lastUpdateTime": "2026-11-21T03:26:00Z",
	"metadata": {"org.opencontainers.image.revision": "main@sha1:0123"},
	"path": "gitrepository/apps/podinfo/0123.tar.gz",
	"revision": "main@sha1:0123456789abcdef0123456789abcdef01234567",
	"size": 42,
	"url": "http://source-controller.flux-system.svc.cluster.local./gitrepository/apps/podinfo/0123.tar.gz"
}`

func TestArtifactJSON(t *testing.T) {
	var a artifact.Artifact
	require.NoError(t, json.Unmarshal([]byte(status), &a))
	require.EqualValues(t, 42, *a.Size)
	require.NoError(t, a.Digest.Validate())
	require.Equal(t, time.Date(2026, 11, 21, 3, 26, 0, 0, time.UTC), a.LastUpdateTime)
	out, err := json.Marshal(a)
	require.NoError(t, err)
	require.JSONEq(t, status, string(out))

	out, err = json.Marshal(artifact.Artifact{Digest: digest.FromString("x")})
	require.NoError(t, err)
	require.NotContains(t, string(out), "size")
	require.NotContains(t, string(out), "metadata")
}

func TestArtifactDeepCopy(t *testing.T) {
	var a artifact.Artifact
	require.NoError(t, json.Unmarshal([]byte(status), &a))
	b := a.DeepCopy()
	require.Equal(t, a, *b)
	*b.Size, b.Metadata["x"] = 1, "y"
	require.NotEqual(t, *a.Size, *b.Size)
	require.NotContains(t, a.Metadata, "x")
	require.Nil(t, (*artifact.Artifact)(nil).DeepCopy())
}

func TestPath(t *testing.T) {
	d := digest.FromString("x")
	p, err := artifact.Path(app, d)
	require.NoError(t, err)
	require.Equal(t, "gitrepository/default/app/"+d.Encoded()+".tar.gz", p)
	_, err = artifact.Path("../x", d)
	require.ErrorAs(t, err, new(*artifact.NameError))
	_, err = artifact.Path(app, "sha256:x")
	require.ErrorContains(t, err, "digest")
}
