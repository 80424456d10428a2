package git_test

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
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

// A server whose version 2 is broken is read with go-git, from then on at once.
func TestCompatibleEngineIsChosen(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", files("a", "1"), nil)
	backend, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{Version0: true})
	require.NoError(t, err)
	var broken atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Git-Protocol") != "" {
			broken.Add(1)
			w.Header().Set("Content-Type", advertised)
			_, _ = io.WriteString(w, pkt("version 2\n")+pkt("fetch\n")+"0001")
			return
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)

	s := snapshot(t, open(t, server.URL+"/repo.git", git.Options{}), git.Ref{})
	require.Equal(t, commit, s.Commit().Hash)
	require.EqualValues(t, 1, broken.Load())

	_, err = open(t, server.URL+"/repo.git", git.Options{Engine: git.EngineFast}).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrProtocol)

	_, err = git.Open(server.URL+"/repo.git", git.Options{Engine: "libgit2"})
	require.ErrorIs(t, err, git.ErrInvalidOptions)
	require.True(t, terminal(t, err))
}
