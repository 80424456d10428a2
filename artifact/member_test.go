package artifact_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// memberStarts finds the members of an archive of ours by what their headers say.
func memberStarts(t testing.TB, archive []byte) []int {
	t.Helper()
	var starts []int
	for at := 0; at < len(archive); at += int(binary.LittleEndian.Uint32(archive[at+16:])) {
		require.Equal(t, "\x1f\x8b\x08\x04", string(archive[at:at+4]))
		require.Equal(t, "\x08\x00GK\x04\x00", string(archive[at+10:at+16]))
		starts = append(starts, at)
	}
	return starts
}

// Members that say their length, members that do not, and both in any order, are
// expanded to the same bytes, which are those that the standard library sees.
func TestExpand(t *testing.T) {
	archive, _ := pack(t, large(), artifact.PackOptions{})
	starts := memberStarts(t, archive)
	require.Greater(t, len(starts), 8)
	want, err := artifact.Expand(bytes.NewReader(archive), artifact.Limits{})
	require.NoError(t, err)
	std, err := stdgzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	same, err := io.ReadAll(std)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, same))

	unmarked := func(members ...int) []byte {
		raw := slices.Clone(archive)
		for _, i := range members {
			raw[starts[i]+12] = 'X'
		}
		return raw
	}
	for name, raw := range map[string][]byte{
		"none says":          unmarked(0),
		"the first do":       unmarked(5),
		"all but the last":   unmarked(len(starts) - 1),
		"too long to hold":   patched(archive, starts[4]+16, 100<<20),
		"too short to be":    patched(archive, starts[4]+16, 27),
		"of another program": gzipped(t, want),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := artifact.Expand(bytes.NewReader(raw), artifact.Limits{Ratio: 1e6})
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		})
	}
	t.Run("byte by byte", func(t *testing.T) {
		raw := archive[:starts[3]]
		got, err := artifact.Expand(iotest.OneByteReader(bytes.NewReader(raw)), artifact.Limits{})
		require.NoError(t, err)
		require.True(t, bytes.Equal(want[:len(got)], got))
	})
}

func patched(raw []byte, at int, v uint32) []byte {
	raw = slices.Clone(raw)
	binary.LittleEndian.PutUint32(raw[at:], v)
	return raw
}

func gzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(raw)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// A member that lies about its length could show one tree to us and another one to
// everybody else.
func TestAttackMemberLengths(t *testing.T) {
	archive, _ := pack(t, large(), artifact.PackOptions{})
	starts := memberStarts(t, archive)
	length := uint32(starts[3] - starts[2])
	want, err := artifact.Expand(bytes.NewReader(archive), artifact.Limits{})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		raw []byte
		ok  bool // it is seen that this cannot be the length, and it is not used
	}{
		"two in one":        {patched(archive, starts[2]+16, uint32(starts[4]-starts[2])), false},
		"a byte more":       {patched(archive, starts[2]+16, length+1), true},
		"a byte less":       {patched(archive, starts[2]+16, length-1), true},
		"as short as it is": {patched(archive, starts[2]+16, 28), true},
		"behind the end":    {patched(archive, starts[len(starts)-1]+16, 1<<20), false},
		"holds less":        {patched(archive, starts[3]-4, 100), false},
		"holds nothing":     {patched(archive, starts[3]-4, 0), false},
		"holds more":        {patched(archive, starts[3]-4, 4<<20), false},
		"holds very much":   {patched(archive, starts[3]-4, 1<<32-1), false},
		"wrong checksum":    {flip(archive, starts[3]-8), false},
		"cut":               {archive[:starts[3]-1], false},
		"cut in a header":   {archive[:starts[3]+7], false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := artifact.Expand(bytes.NewReader(tt.raw), artifact.Limits{})
			require.Equal(t, tt.ok, err == nil, "%v", err)
			require.True(t, err != nil || bytes.Equal(want, got))
			require.NotErrorIs(t, err, io.EOF)
		})
	}
	// All members say that they hold as much as there can be.
	raw := slices.Clone(archive)
	for _, at := range starts[1:] {
		binary.LittleEndian.PutUint32(raw[at-4:], 4<<20)
	}
	heap(t, 100<<20, func() {
		_, err := artifact.Open(t.Context(), bytes.NewReader(raw), artifact.OpenOptions{})
		require.ErrorIs(t, err, artifact.ErrFormat)
	})
}

// Members are expanded ahead, but what comes out of them is bounded.
func TestAttackBombOfMembers(t *testing.T) {
	for name, lim := range map[string]artifact.Limits{
		"Ratio": {Ratio: 10},
		"Bytes": {Ratio: 1e6, Bytes: 20 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			raw := markedMembers(t, 60, make([]byte, 4<<20))
			heap(t, 100<<20, func() {
				_, err := artifact.Open(t.Context(), bytes.NewReader(raw), artifact.OpenOptions{Limits: lim})
				limit(t, err, name)
			})
		})
	}
}

// markedMembers makes members that say their length and hold the same.
func markedMembers(t testing.TB, n int, holds []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Extra = []byte("GK\x04\x00\x00\x00\x00\x00")
	_, err := w.Write(holds)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return bytes.Repeat(patched(buf.Bytes(), 16, uint32(buf.Len())), n)
}

// An error of the reader comes out as it is, wherever the archive breaks off, and
// nothing is left running.
func TestExpandErrors(t *testing.T) {
	archive, _ := pack(t, large(), artifact.PackOptions{})
	lost := errors.New("lost")
	for at := 0; at < len(archive); at += len(archive)/17 + 1 {
		_, err := artifact.Expand(io.MultiReader(bytes.NewReader(archive[:at]), failing{lost}), artifact.Limits{})
		require.ErrorIs(t, err, lost)
	}
}

// FuzzExpand: what we see in an archive is what the standard library sees, or an
// error.
func FuzzExpand(f *testing.F) {
	one := markedMembers(f, 1, []byte("some text, and some text"))
	two := append(slices.Clone(one), markedMembers(f, 1, []byte("more"))...)
	f.Add(two)
	f.Add(append(slices.Clone(two), gzipped(f, []byte("x"))...))
	f.Add(patched(two, 16, uint32(len(two))))
	f.Add(patched(two, len(one)-4, 10))
	f.Add(two[:len(one)+5])
	f.Add(append(slices.Clone(one), 0, 0, 0))
	f.Add(append(slices.Clone(one), "\x1f\x8b\b0000000"...))
	f.Add([]byte("\x1f\x8b\b0000000"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := artifact.Expand(bytes.NewReader(raw), artifact.Limits{Bytes: 1 << 20})
		if err != nil || len(raw) == 0 { // nothing is no archive, but that is for others to say
			return
		}
		std, err := stdgzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		want, err := io.ReadAll(std)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	})
}
