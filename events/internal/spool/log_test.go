package spool_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/internal/spool"
)

const room = 64 << 20

func open(t testing.TB, dir string, maxBytes int64) (*spool.Log, spool.Restored) {
	t.Helper()
	log, old, err := spool.Open(dir, maxBytes)
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	return log, old
}

func record(seq uint64, text string) spool.Record {
	return spool.Record{Seq: seq, Payload: []byte(text)}
}

func write(t testing.TB, log *spool.Log, done []uint64, add ...spool.Record) {
	t.Helper()
	n, err := log.Write(done, add)
	require.NoError(t, err)
	require.Len(t, add, n)
}

// files lists the spool's files, without the lock.
func files(t testing.TB, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "0*"))
	require.NoError(t, err)
	return all
}

func TestRestoresWhatIsNotDone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	log, old := open(t, dir, room)
	require.Equal(t, spool.Restored{}, old)
	write(t, log, nil, record(1, "one"), record(2, "two"), record(3, ""))
	write(t, log, []uint64{2, 77}, record(4, "four"))
	require.NoError(t, log.Sync())
	require.NoError(t, log.Close())
	for range 2 { // what is read stays
		log, old = open(t, dir, room)
		require.Equal(t, spool.Restored{Records: []spool.Record{record(1, "one"), record(3, ""), record(4, "four")}, Last: 4}, old)
		require.NoError(t, log.Close())
	}
	log, _ = open(t, dir, room)
	write(t, log, []uint64{1, 3, 4}, record(5, "five"))
	require.NoError(t, log.Close())
	_, old = open(t, dir, room)
	require.Equal(t, []spool.Record{record(5, "five")}, old.Records)
	require.Len(t, files(t, dir), 1)
}

func TestFilesAreForTheirOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	log, _ := open(t, dir, room)
	write(t, log, nil, record(1, "secret"))
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, dir, room)
	_, _, err := spool.Open(dir, room)
	require.ErrorIs(t, err, spool.ErrInUse)
	require.NoError(t, log.Close())
	open(t, dir, room)
}

// Cut off at each byte, a file holds what was written whole before.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, dir, room)
	all := []spool.Record{record(1, "one"), record(2, "two"), record(3, "three")}
	write(t, log, nil)
	ends := []int{}
	for _, r := range all {
		write(t, log, nil, r)
		info, err := os.Stat(files(t, dir)[0])
		require.NoError(t, err)
		ends = append(ends, int(info.Size()))
	}
	require.NoError(t, log.Close())
	name := files(t, dir)[0]
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	for _, tail := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff", strings.Repeat("a", 100)} {
		for n := range len(whole) + 1 {
			require.NoError(t, os.WriteFile(name, append(bytes.Clone(whole[:n]), tail...), 0o600))
			log, old, err := spool.Open(dir, room)
			require.NoError(t, err)
			want := 0
			for want < len(ends) && n >= ends[want] {
				want++
			}
			require.Len(t, old.Records, want, "cut at %d", n)
			require.NoError(t, log.Close())
		}
	}
}

// After damage nothing is written behind it, where nobody would read it.
func TestWritesOnAfterDamage(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, dir, room)
	write(t, log, nil, record(1, "one"), record(2, "two"))
	require.NoError(t, log.Close())
	name := files(t, dir)[0]
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	whole[len(whole)-1] ^= 1
	require.NoError(t, os.WriteFile(name, whole, 0o600))

	log, old := open(t, dir, room)
	require.Equal(t, []spool.Record{record(1, "one")}, old.Records)
	require.EqualValues(t, 8+9+3, old.Damaged)
	write(t, log, nil, record(3, "three"))
	require.NoError(t, log.Close())
	_, old = open(t, dir, room)
	require.Equal(t, spool.Restored{Records: []spool.Record{record(1, "one"), record(3, "three")}, Last: 3}, old)
}

func TestBounded(t *testing.T) {
	const most = 1 << 20
	dir := t.TempDir()
	log, _ := open(t, dir, most)
	text := strings.Repeat("a", 1000)
	live := map[uint64]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	full := 0
	for seq := uint64(1); seq <= 20_000; seq++ {
		var done []uint64
		for s := range live {
			if len(live) > 100 && random.IntN(2) == 0 {
				done = append(done, s)
				delete(live, s)
			}
			if len(done) == 3 {
				break
			}
		}
		n, err := log.Write(done, []spool.Record{record(seq, text)})
		if err != nil {
			require.ErrorIs(t, err, spool.ErrFull)
			full++
		}
		if n == 1 {
			live[seq] = true
		}
		var total int64
		for _, f := range files(t, dir) {
			info, err := os.Stat(f)
			require.NoError(t, err)
			total += info.Size()
		}
		require.LessOrEqual(t, total, int64(most))
	}
	require.Zero(t, full, "there was room for what is live")
	require.NoError(t, log.Close())
	_, old := open(t, dir, most)
	require.Len(t, old.Records, len(live))
}

func TestFull(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, dir, 8<<10)
	text := strings.Repeat("a", 1000)
	var all []spool.Record
	for seq := range uint64(10) {
		all = append(all, record(seq+1, text))
	}
	n, err := log.Write(nil, all)
	require.ErrorIs(t, err, spool.ErrFull)
	require.Equal(t, 4, n)
	write(t, log, []uint64{1, 2})
	n, err = log.Write(nil, all[4:])
	require.ErrorIs(t, err, spool.ErrFull)
	require.Equal(t, 2, n, "room again")
	require.NoError(t, log.Close())

	_, _, err = spool.Open(dir, 2<<10)
	require.ErrorIs(t, err, spool.ErrFull, "nothing is thrown away because a limit is lower now")
	_, old := open(t, dir, 8<<10)
	require.Len(t, old.Records, 4)

	_, err = log.Write(nil, []spool.Record{{Seq: 99, Payload: make([]byte, spool.MaxPayload+1)}})
	require.Error(t, err)
}

// A disk that fails is written to again as soon as it does not.
func TestDiskThatFails(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, dir, room)
	inTheWay := filepath.Join(dir, fmt.Sprintf("%020d.spool.partial", 1))
	require.NoError(t, os.Mkdir(inTheWay, 0o700))
	for range 2 {
		n, err := log.Write(nil, []spool.Record{record(1, "one")})
		require.ErrorContains(t, err, "is a directory")
		require.Zero(t, n)
	}
	require.NoError(t, os.Remove(inTheWay))
	write(t, log, nil, record(1, "one"))
	require.NoError(t, log.Close())
	_, old := open(t, dir, room)
	require.Equal(t, []spool.Record{record(1, "one")}, old.Records)
}

// A length that lies takes no memory.
func TestAttackLengthThatLies(t *testing.T) {
	data := append(spool.File(nil), 0xff, 0xff, 0x3f, 0, 1, 2, 3, 4) // just below 4 MiB
	old, err := spool.Read(data)
	require.NoError(t, err)
	require.Empty(t, old.Records)
	require.EqualValues(t, 8, old.Damaged)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = spool.Read(data)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestAttackFolderThatLeadsElsewhere(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(elsewhere, []byte("keep"), 0o600))
	for _, name := range []string{"lock", fmt.Sprintf("%020d.spool", 1), fmt.Sprintf("%020d.spool.partial", 1)} {
		link := filepath.Join(dir, name)
		require.NoError(t, os.Symlink(elsewhere, link))
		log, _, err := spool.Open(dir, room)
		if err == nil {
			_, err = log.Write(nil, []spool.Record{record(1, "one")})
			require.NoError(t, log.Close())
		}
		require.Error(t, err, name)
		kept, err := os.ReadFile(elsewhere)
		require.NoError(t, err)
		require.Equal(t, "keep", string(kept))
		require.NoError(t, os.Remove(link))
	}
}
