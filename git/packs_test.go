package git_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// git runs the command and returns what it printed, byte for byte.
func (f *fixture) git(stdin string, args ...string) []byte {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), "git", args...)
	cmd.Dir, cmd.Env = f.Dir(), append(gitserver.Environ(), "GIT_DIR=.")
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(f.t, err, errs.String())
	return out
}

// history makes commits of files that change a little each time.
func (f *fixture) history(commits int) {
	f.t.Helper()
	tree := files()
	for i := range 20 {
		put(tree, fmt.Sprintf("d%d/f%d", i%3, i), noise(uint64(i), 400)+strings.Repeat("line\n", 200))
	}
	var tip string
	for i := range commits {
		name := fmt.Sprintf("d%d/f%d", i%3, i%3)
		tip = f.commit("main", put(tree, name, string(tree[name].Data)+fmt.Sprintln("change", i)), nil)
	}
	f.tag("v1.0.0", tip, nil)
}

// Whatever git packs is read, each object under the id that git gives it.
func TestPacksOfGit(t *testing.T) {
	f := newFixture(t)
	f.history(60)
	var want []string
	for line := range strings.Lines(string(f.git("", "rev-list", "--objects", "--all"))) {
		want = append(want, line[:40])
	}
	for name, args := range map[string][]string{
		"offset deltas":    {"--delta-base-offset"},
		"reference deltas": {},
		"deep chains":      {"--delta-base-offset", "--depth=250", "--window=250"},
		"no deltas":        {"--depth=0"},
		"deep, by name":    {"--depth=250", "--window=250"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := f.git("", append([]string{"pack-objects", "--all", "--stdout", "-q", "--no-reuse-delta"}, args...)...)
			got, err := git.PackObjects(t.Context(), raw, nil, git.Limits{})
			require.NoError(t, err)
			requireObjects(t, want, got)
		})
	}
	t.Run("thin", func(t *testing.T) {
		base := f.git("main~1\n", "pack-objects", "--revs", "--stdout", "-q")
		thin := f.git("main\n^main~1\n", "pack-objects", "--revs", "--thin", "--stdout", "-q", "--no-reuse-delta", "--delta-base-offset")
		got, err := git.PackObjects(t.Context(), thin, base, git.Limits{})
		require.NoError(t, err)
		var want []string
		for line := range strings.Lines(string(f.git("", "rev-list", "--objects", "main", "^main~1"))) {
			want = append(want, line[:40])
		}
		requireObjects(t, want, got)
		_, err = git.PackObjects(t.Context(), thin, nil, git.Limits{})
		require.ErrorIs(t, err, git.ErrMalformed, "without what it builds upon")
	})
}

// requireObjects makes sure that these objects are there, no others, and that
// each is what its id says.
func requireObjects(t *testing.T, want []string, got map[string]string) {
	t.Helper()
	require.Len(t, got, len(want))
	for _, hash := range want {
		require.Contains(t, got, hash)
	}
	requireHashes(t, got)
}

func requireHashes(t *testing.T, objects map[string]string) {
	t.Helper()
	for hash, object := range objects {
		kind, content, _ := strings.Cut(object, " ")
		require.Equal(t, hash, hashOf(kind, []byte(content)))
	}
}

// A chain of deltas in the worst order: each one before its base.
func TestPackOfDeltasBeforeTheirBases(t *testing.T) {
	const long = 10_000
	content := []byte("0")
	contents := [][]byte{content}
	var deltas []packed
	for i := range long {
		next := fmt.Appendf(nil, "%d of many", i+1)
		base, err := hex.DecodeString(hashOf("blob", content))
		require.NoError(t, err)
		delta := binary.AppendUvarint(nil, uint64(len(content)))
		delta = binary.AppendUvarint(delta, uint64(len(next)))
		deltas = append(deltas, packed{7, -1, base, append(append(delta, byte(len(next))), next...)})
		contents = append(contents, next)
		content = next
	}
	var backwards []packed
	for i := range deltas {
		backwards = append(backwards, deltas[len(deltas)-1-i])
	}
	got, err := git.PackObjects(t.Context(), pack(long+1, append(backwards, packed{3, -1, nil, contents[0]})...), nil, git.Limits{})
	require.NoError(t, err)
	require.Len(t, got, long+1)
	for _, content := range contents {
		require.Equal(t, "blob "+string(content), got[hashOf("blob", content)])
	}
	t.Run("with some by offset", func(t *testing.T) {
		// A reference to what comes last; then, by offset, one that builds upon it.
		first := pack(1, packed{7, deltas[0].size, deltas[0].head, deltas[0].data})
		distance := byte(len(first) - 12 - 20)
		got, err := git.PackObjects(t.Context(), pack(3, deltas[0],
			packed{6, -1, []byte{distance}, deltas[1].data}, packed{3, -1, nil, contents[0]}), nil, git.Limits{})
		require.NoError(t, err)
		require.Equal(t, "blob "+string(contents[2]), got[hashOf("blob", contents[2])])
	})
}

// Sizes around those at which something else is done.
func TestFilesOfEverySize(t *testing.T) {
	f := newFixture(t)
	tree := files()
	const batch = 256 << 10
	for i, size := range []int{0, 1, 65535, 65536, batch - 1, batch, batch + 1, 4<<20 - 1, 4 << 20, 4<<20 + 1, 8 << 20} {
		put(tree, fmt.Sprintf("random/%d", size), noise(uint64(i), size))
		put(tree, fmt.Sprintf("zeros/%d", size), strings.Repeat("\x00", size))
	}
	put(tree, "large", strings.Repeat("all the same\n", 3<<20))
	f.commit("main", tree, nil)
	for i, engine := range []git.Engine{git.EngineFast, git.EngineCompatible} {
		t.Run(string(engine), func(t *testing.T) {
			r := open(t, f.http.URL+"/repo.git", git.Options{Engine: engine})
			s := snapshot(t, r, git.Ref{})
			f.requireSame(t, s)
			for _, name := range []string{"random/8388608", "large", "random/262145", "zeros/0"} {
				requireReaders(t, s, name, tree[name].Data)
			}
			// A delta of something large.
			changed, content := maps.Clone(tree), []byte(noise(10, 8<<20))
			copy(content[5<<20:], fmt.Sprint("changed", i))
			f.commit("next", put(changed, "random/8388608", string(content)), nil)
			next := snapshot(t, r, git.Ref{Branch: "next"})
			requireReaders(t, next, "random/8388608", content)
		})
	}
}

// requireReaders reads a file in every way.
func requireReaders(t *testing.T, s *git.Snapshot, name string, want []byte) {
	t.Helper()
	opened, err := s.Open(name)
	require.NoError(t, err)
	defer opened.Close()
	file, ok := opened.(interface {
		io.ReaderAt
		io.ReadSeeker
		io.WriterTo
	})
	require.True(t, ok)
	var all bytes.Buffer
	n, err := file.WriteTo(&all)
	require.NoError(t, err)
	require.EqualValues(t, len(want), n)
	require.True(t, bytes.Equal(want, all.Bytes()), name)
	at := int64(len(want) / 2)
	piece := make([]byte, min(100, len(want)-int(at)))
	if len(piece) > 0 {
		_, err = file.ReadAt(piece, at)
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(want[at:at+int64(len(piece))], piece), name)
	_, err = file.ReadAt(make([]byte, 1), int64(len(want)))
	require.ErrorIs(t, err, io.EOF)
	_, err = file.Seek(-at, io.SeekEnd)
	require.NoError(t, err)
	rest, err := io.ReadAll(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want[int64(len(want))-at:], rest), name)
}
