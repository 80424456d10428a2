package git_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

// randomTree is a tree of random names, modes, depths and contents, some of
// which are taken from an earlier one.
func randomTree(random *rand.Rand, old fstest.MapFS) fstest.MapFS {
	tree := files()
	for name, file := range old {
		if random.IntN(4) > 0 {
			tree[name] = file
		}
	}
	for range 5 + random.IntN(30) {
		name := fmt.Sprintf("f%d", random.IntN(50))
		for range random.IntN(4) {
			name = fmt.Sprintf("d%d/", random.IntN(4)) + name
		}
		file := &fstest.MapFile{Data: []byte(noise(random.Uint64N(20), random.IntN(3000))), Mode: 0o644}
		switch random.IntN(8) {
		case 0:
			file.Mode = 0o755
		case 1:
			file.Mode, file.Data = fs.ModeSymlink|0o777, fmt.Appendf(nil, "d%d", random.IntN(9))
		case 2:
			file.Data = nil
		}
		tree[name] = file
	}
	return tree
}

// Both engines, in every way, see what git sees, also of what was held already.
func TestEnginesAgree(t *testing.T) {
	const rounds = 20
	random := rand.New(rand.NewPCG(7, 7))
	f := newFixture(t)
	remotes := f.remotes()
	tree := files()
	for i := range rounds {
		tree = randomTree(random, tree)
		f.commit("main", tree, nil)
		if i%7 == 3 {
			f.git("", "repack", "-adfq", "--depth=50")
		}
		for name, r := range remotes {
			if random.IntN(3) == 0 {
				continue // it will have missed some
			}
			s := snapshot(t, r, git.Ref{})
			require.Equal(t, listed(t, f.Repo, s.Commit().Hash), seen(t, s), "%s, round %d", name, i)
		}
	}
}
