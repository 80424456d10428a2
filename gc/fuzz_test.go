package gc

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDecodeEntries(f *testing.F) {
	f.Add(columns(NewInventory(filled(1), filled(2), Entry{Key: Key{Kind: "ConfigMap", Name: "a"}})))
	f.Add([]byte{})
	f.Add([]byte{200, 200, 3, wordCount, textCount})
	read := func(t *testing.T, raw []byte) (Inventory, error) {
		return new(decoder).decode(zipped(t, raw), len(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		inv, err := read(t, raw)
		if err != nil {
			return
		}
		back, err := read(t, columns(inv))
		require.NoError(t, err)
		require.True(t, inv.Equal(back), "what was read is written and read the same")
	})
}

func zipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	_, err := zw.Write(raw)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	return buf.Bytes()
}

func FuzzDecodeIndex(f *testing.F) {
	x := index{Shards: []shardRef{{Number: 3, Digest: digestOf(nil), Entries: 1, Bytes: 1}}, Changes: NewInventory(filled(1)), Removed: Inventory{{Key: filled(2).Key}}}
	parts, err := x.encode()
	require.NoError(f, err)
	f.Add(parts[partShards], parts[partChanges], parts[partRemoved])
	for _, text := range []string{``, `{}`, `[`, `{"format":2}`, `{"format":2,"shards":[{}]}`, `{"format":2,"shards":[{"number":-1,"entries":1,"bytes":1}]}`} {
		f.Add([]byte(text), []byte(nil), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, shards, changes, removed []byte) {
		x, err := decodeIndex(map[string][]byte{partShards: shards, partChanges: changes, partRemoved: removed})
		if err != nil {
			return
		}
		parts, err := x.encode()
		require.NoError(t, err)
		back, err := decodeIndex(parts)
		require.NoError(t, err)
		was, err := json.Marshal(x)
		require.NoError(t, err)
		is, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(was), string(is))
	})
}
