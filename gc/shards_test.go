package gc

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// filled is an entry with something in every field, whatever fields there are.
func filled(n int) Entry {
	var e Entry
	fill(reflect.ValueOf(&e).Elem(), n)
	return e
}

func fill(v reflect.Value, n int) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fill(f, n)
		case reflect.String:
			f.SetString(fmt.Sprint(v.Type().Field(i).Name, n))
		case reflect.Int64:
			f.SetInt(int64(n))
		case reflect.Bool:
			f.SetBool(true)
		default:
			panic("a kind of field that fill does not know: " + f.Kind().String())
		}
	}
}

// Who adds a field to Entry must add it to the stored form as well.
func TestEveryFieldOfAnEntryIsStored(t *testing.T) {
	want := Inventory{filled(1), filled(2)}
	data, size, err := encodeEntries(want)
	require.NoError(t, err)
	got, err := new(decoder).decode(data, size)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestPackGivesBackTheSameText(t *testing.T) {
	tests := []struct {
		text string
		form form
	}{
		{"", plain},
		{"0", decimal},
		{"18446744073709551615", decimal},
		{"18446744073709551616", packed16}, // too large for a number
		{"007", plain},
		{"-1", plain},
		{"+1", plain},
		{"00112233-4455-6677-8899-aabbccddeeff", packedID},
		{"00112233-4455-6677-8899-AABBCCDDEEFF", plain},
		{"001122334-455-6677-8899-aabbccddeeff", plain},
		{"zz112233-4455-6677-8899-aabbccddeeff", plain},
		{"deadbeefdeadbeef", packed16},
		{"DEADBEEFDEADBEEF", packed64},
		{"AAECAwQFBgcICQoLDA0ODw", packed64},
		{"AAECAwQFBgcICQoLDA0ODx", plain}, // its last bits are not zero
		{"AAECAwQFBgcICQoLDA0ODw==", plain},
		{"AAECAwQ\nFBgcICQoLDA0ODw", plain},
		{"sha256:deadbeef", plain},
	}
	for _, tt := range tests {
		f, b := pack(tt.text)
		require.Equal(t, tt.form, f, tt.text)
		got, err := unpack(nil, f, b)
		require.NoError(t, err)
		require.Equal(t, tt.text, string(got))
	}
}

var smallSizes = sizesOf(1)

// number makes the entry of a number; versions tell its states apart.
func number(i, version int) Entry {
	return Entry{Key: Key{Kind: "ConfigMap", Namespace: "n", Name: fmt.Sprintf("%04d", i)}, Version: "v1", Resource: "configmaps", Generation: int64(version)}
}

// stow does what Save and Load do, without a cluster.
func stow(t *testing.T, leaves []leaf, inv Inventory, next *int) (index, []leaf, int) {
	t.Helper()
	x, pieces, err := plan(leaves, inv, smallSizes)
	require.NoError(t, err)
	blocks, err := encodeBlocks(pieces)
	require.NoError(t, err)
	var out []leaf
	written := 0
	for _, b := range blocks {
		if b.same != nil {
			out = append(out, *b.same)
			continue
		}
		written++
		*next++
		b.ref.Number = *next
		out = append(out, newLeaf(b.ref, "", b.data, b.entries))
	}
	return x, out, written
}

// allOf are the entries of the leaves, as Load has them.
func allOf(t *testing.T, leaves []leaf) Inventory {
	t.Helper()
	var out Inventory
	for _, l := range leaves {
		entries, err := l.entries()
		require.NoError(t, err)
		require.True(t, l.holds(entries))
		out = append(out, entries...)
	}
	return out
}

// Over random histories, what is put together again is what was stored, shards
// keep to their sizes, and those without changes are not written.
func TestRandomHistoriesOfShards(t *testing.T) {
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var leaves []leaf
		next := 0
		state := map[int]int{}
		for step := range 40 {
			for range 1 + rnd.IntN(1+rnd.IntN(30)) {
				i := rnd.IntN(80)
				if grow := step%20 < 10; rnd.IntN(10) < 7 == grow {
					state[i]++
				} else {
					delete(state, i)
				}
			}
			var inv Inventory
			for i, version := range state {
				inv = append(inv, number(i, version))
			}
			inv = NewInventory(inv...)
			x, now, _ := stow(t, leaves, inv, &next)
			got, err := x.whole(now, allOf(t, now))
			require.NoError(t, err)
			require.True(t, inv.Equal(got), "seed %d step %d", seed, step)
			for _, l := range now {
				require.NotZero(t, l.ref.Entries)
				require.LessOrEqual(t, l.ref.Entries, smallSizes.largest)
			}
			if len(now) > 0 {
				require.LessOrEqual(t, len(x.Changes)+len(x.Removed), smallSizes.changes)
				require.Greater(t, len(inv), smallSizes.shrink)
			}
			leaves = now
		}
	}
}

func TestOnlyShardsWithChangesAreWritten(t *testing.T) {
	var inv Inventory
	for i := range 100 {
		inv = append(inv, number(i, 0))
	}
	next := 0
	_, leaves, written := stow(t, nil, inv, &next)
	require.Equal(t, 20, written)

	change := func(n int) Inventory {
		out := append(Inventory(nil), inv...)
		for i := range n {
			out[50+i].Generation = 1
		}
		return out
	}
	x, same, written := stow(t, leaves, change(4), &next)
	require.Zero(t, written, "few changes stay in the index")
	require.Len(t, x.Changes, 4)
	require.Equal(t, leaves, same)

	x, _, written = stow(t, leaves, change(5), &next)
	require.Equal(t, 1, written, "all of them lie in one shard")
	require.Empty(t, x.Changes)

	_, leaves, written = stow(t, leaves, append(change(0), number(200, 0), number(201, 0), number(202, 0), number(203, 0), number(204, 0), number(205, 0)), &next)
	require.Equal(t, 3, written, "the last shard is split, and the others stay")
	require.Len(t, leaves, 22)
}

func TestTooLargeForOneObjectIsHalved(t *testing.T) {
	var inv Inventory
	random := rand.NewChaCha8([32]byte{})
	for i := range 8 {
		e := number(i, 0)
		noise := make([]byte, 200<<10)
		_, _ = random.Read(noise)
		e.Intent = string(noise)
		inv = append(inv, e)
	}
	_, err := index{Changes: inv}.encode()
	require.ErrorIs(t, err, ErrTooLarge)
	blocks, err := encodeBlocks(rewrite(nil, inv, defaultSizes))
	require.NoError(t, err)
	require.Len(t, blocks, 2)
	for _, b := range blocks {
		require.LessOrEqual(t, len(b.data), MaxStoredBytes)
	}
	e := number(0, 0)
	e.Intent = strings.Repeat("!", maxInflatedBytes)
	_, err = encodeBlocks([]piece{{entries: Inventory{e}}})
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "ConfigMap n/0000")
}

func TestOverlappingShardsAreDamage(t *testing.T) {
	inv := Inventory{number(1, 0), number(3, 0), number(2, 0)}
	leaves := []leaf{newLeaf(shardRef{Entries: 2}, "", nil, inv[:2]), newLeaf(shardRef{Entries: 1}, "", nil, inv[2:])}
	_, err := index{}.whole(leaves, inv)
	require.ErrorContains(t, err, "begins before the one ahead of it ends")
}

// Whoever may write the objects can claim what they like, within bounds.
func TestAttackClaims(t *testing.T) {
	header := func(n uint64) []byte { // entries that are claimed and not there
		return append(appendUvarints(n), wordCount, textCount)
	}
	_, err := new(decoder).decode(zipped(t, header(1<<40)), 1<<20)
	require.ErrorContains(t, err, "claims to hold")
	_, err = new(decoder).decode(zipped(t, append(header(5000), make([]byte, 100)...)), 1<<20)
	require.ErrorContains(t, err, "claims to hold")
	_, err = new(decoder).decode(zipped(t, append(header(1), 200, 200, 200, 200, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 1<<20)
	require.ErrorContains(t, err, "words for 1 entries")

	shards := func(n, entries, bytes int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"number":%d,"entries":%d,"bytes":%d}`, i, entries, bytes)
		}
		return `{"format":2,"shards":[` + strings.Join(list, ",") + `]}`
	}
	for text, want := range map[string]string{
		shards(maxShards+1, 1, 1):        "of at most 2000",
		shards(1, maxBlockEntries+1, 1):  "of at most 10000",
		shards(1, 1, maxInflatedBytes+1): "of at most 8388608",
		shards(51, maxBlockEntries, 1):   "of at most 500000",
		shards(33, 1, maxInflatedBytes):  "of at most 268435456",
		`{"format":2,"shards":[{"number":1,"entries":1,"bytes":1},{"number":1,"entries":1,"bytes":1}]}`: "named twice",
		`{"format":2,"shards":[{"number":10000,"entries":1,"bytes":1}]}`:                                "out of range",
		`{"format":2,"shards":[{"number":1,"entries":1,"bytes":1}],"stale":[{"number":1}]}`:             "in use",
		`{"format":2,"stale":[` + strings.Repeat(`{},`, maxStale) + `{}]}`:                              "of at most 4000",
		`{"format":3}`: "its format is 3 and this version reads 2",
		``:             "it is missing",
	} {
		_, err := decodeIndex(map[string][]byte{partShards: []byte(text)})
		require.ErrorContains(t, err, want)
	}
}

func appendUvarints(n uint64) []byte {
	var out []byte
	for n >= 0x80 {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(out, byte(n))
}
