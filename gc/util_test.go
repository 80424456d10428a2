package gc_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
)

// realistic makes an entry whose random parts compress as badly as real ones.
func realistic(i int) gc.Entry {
	rnd := rand.New(rand.NewPCG(uint64(i), 7))
	bits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return base64.RawStdEncoding.EncodeToString(b)
	}
	return gc.Entry{
		Key:     gc.Key{Group: "apps", Kind: "Deployment", Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprint("service-", i)},
		Version: "v1", Resource: "deployments",
		UID:             types.UID(fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", rnd.Uint32(), rnd.IntN(1<<16), rnd.IntN(1<<12), rnd.IntN(1<<12), rnd.Int64N(1<<48))),
		ResourceVersion: fmt.Sprint(rnd.IntN(1 << 24)), Generation: 1,
		Intent: bits(16), Owned: bits(12),
	}
}

// A ConfigMap that somebody else may write could hold a decompression bomb.
func TestAttackInventoryBomb(t *testing.T) {
	f := setup(t)
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	require.NoError(t, err)
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 80 {
		_, err := zw.Write(chunk)
		require.NoError(t, err)
	}
	require.NoError(t, zw.Close())
	require.Less(t, buf.Len(), 1<<20)
	cm := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "bomb"},
		"binaryData": map[string]any{"inventory.json.gz": base64.StdEncoding.EncodeToString(buf.Bytes())},
	}}
	_, err = f.client.Create(t.Context(), cm, metav1.CreateOptions{})
	require.NoError(t, err)

	s, err := gc.NewConfigMapStore(f.cfg, f.ns, "bomb", gc.ConfigMapStoreOptions{})
	require.NoError(t, err)
	_, err = s.Load(t.Context())
	require.ErrorContains(t, err, "inflates to more than")
}
