package spool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/internal/spool"
)

// Whatever a file holds, what is read from it can be written and read again.
func FuzzSpool(f *testing.F) {
	dir := f.TempDir()
	log, _, err := spool.Open(dir, room)
	require.NoError(f, err)
	write(f, log, nil, record(1, "one"), record(2, "two"))
	write(f, log, []uint64{1}, record(3, "three"), record(3, "again"))
	require.NoError(f, log.Close())
	valid, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%020d.spool", 1)))
	require.NoError(f, err)
	f.Add(valid)
	f.Add(valid[:len(valid)-1])
	f.Add([]byte{})
	f.Add([]byte("gkspool1"))
	f.Add([]byte("gkspool2"))
	f.Add([]byte("gkspool1\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Add(append(valid[:8:8], valid[len(valid)-20:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		old, err := spool.Read(data)
		require.NoError(t, err)
		seen := map[uint64]bool{}
		for _, r := range old.Records {
			require.False(t, seen[r.Seq])
			seen[r.Seq] = true
			require.LessOrEqual(t, r.Seq, old.Last)
		}
		again, err := spool.Read(spool.File(old.Records))
		require.NoError(t, err)
		require.ElementsMatch(t, old.Records, again.Records)
		require.Zero(t, again.Damaged)
	})
}
