package gc

import (
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDecode(f *testing.F) {
	good, err := encode(NewInventory(Entry{Key: Key{Kind: "ConfigMap", Name: "a"}, Version: "v1", Resource: "configmaps"}))
	require.NoError(f, err)
	f.Add(good)
	for _, text := range []string{``, `{}`, `{"format":1}`, `{"format":1,"entries":[{}]}`, `{"format":2}`, `[`} {
		var buf bytes.Buffer
		zw := gzip.NewWriter(&buf)
		_, err := zw.Write([]byte(text))
		require.NoError(f, err)
		require.NoError(f, zw.Close())
		f.Add(buf.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := decode(data)
		if err != nil {
			return
		}
		again, err := encode(inv)
		if err != nil {
			require.ErrorIs(t, err, ErrTooLarge)
			return
		}
		back, err := decode(again)
		require.NoError(t, err)
		require.True(t, inv.Equal(back), "what was read is written and read the same")
	})
}
