package repos

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func build(t *testing.T, kind Kind) *gitserver.Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo.git")
	require.NoError(t, kind.Build(t.Context(), dir))
	repo, err := gitserver.Create(t.Context(), dir)
	require.NoError(t, err)
	return repo
}

func ask(t *testing.T, repo *gitserver.Repo, args ...string) string {
	t.Helper()
	out, err := repo.Git(t.Context(), nil, args...)
	require.NoError(t, err)
	return out
}

func TestHistory(t *testing.T) {
	history := History{Apps: 5, Commits: 40, Tags: 11, Branches: 2, Pulls: 100}
	repo := build(t, Kind{Make: history.Make})
	require.Empty(t, ask(t, repo, "fsck", "--strict", "--no-dangling"))
	require.Equal(t, "40", ask(t, repo, "rev-list", "--count", "main"))
	count := func(prefix string) int {
		return len(strings.Fields(ask(t, repo, "for-each-ref", "--format=%(refname)", prefix)))
	}
	require.Equal(t, 11, count("refs/tags/"))
	require.Equal(t, 3, count("refs/heads/"))
	require.Equal(t, 100, count("refs/pull/"))
	require.Equal(t, "count: 0", strings.Split(ask(t, repo, "count-objects", "-v"), "\n")[0], "all in a pack")

	facts, err := Facts(t.Context(), repo)
	require.NoError(t, err)
	require.Equal(t, "v0.1.0", facts.Tag, "the eleventh")
	require.Equal(t, facts.Main, facts.Tagged, "the highest version is of the last commit")
	require.Equal(t, 15, facts.Main.Files)
	require.Greater(t, facts.Main.Bytes, int64(15*1000))
	require.NotEqual(t, facts.Main.Commit, facts.Pinned.Commit)
	require.True(t, strings.HasSuffix(facts.Changed, ".yaml"))
	for rev := range strings.FieldsSeq(ask(t, repo, "rev-list", "--max-count=39", "main")) {
		require.Len(t, strings.Fields(ask(t, repo, "diff-tree", "--no-commit-id", "--name-only", "-r", rev)), 1, "one file each")
	}

	again := build(t, Kind{Make: history.Make})
	require.Equal(t, ask(t, repo, "for-each-ref"), ask(t, again, "for-each-ref"), "the same each time")
}

func TestTagsAreAtEvenDistances(t *testing.T) {
	repo := build(t, Kind{Make: History{Apps: 5, Commits: 12, Tags: 3}.Make})
	for tag, behind := range map[string]string{"v0.0.0": "8", "v0.0.1": "4", "v0.0.2": "0"} {
		require.Equal(t, behind, ask(t, repo, "rev-list", "--count", tag+"..main"), tag)
	}
}

func TestOneFile(t *testing.T) {
	repo := build(t, Kind{Make: oneFile(100_000)})
	facts, err := Facts(t.Context(), repo)
	require.NoError(t, err)
	require.Equal(t, 1, facts.Main.Files)
	require.EqualValues(t, 100_000, facts.Main.Bytes)
	require.Empty(t, facts.Tag)
	packs, err := filepath.Glob(filepath.Join(repo.Dir(), "objects", "pack", "*.pack"))
	require.NoError(t, err)
	require.Len(t, packs, 1)
	info, err := os.Stat(packs[0])
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(100_000), "it cannot be compressed")
}

func TestKeptIsMadeOnce(t *testing.T) {
	made := 0
	kind := Kind{Version: "7", Make: func(ctx context.Context, repo *gitserver.Repo) error {
		made++
		return History{Apps: 5, Commits: 1}.Make(ctx, repo)
	}}
	cache := t.TempDir()
	for range 2 {
		dir, err := kind.Kept(t.Context(), cache, "small", io.Discard)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(cache, "small-7.git"), dir)
	}
	require.Equal(t, 1, made)
	kind.Version = "8"
	_, err := kind.Kept(t.Context(), cache, "small", io.Discard)
	require.NoError(t, err)
	require.Equal(t, 2, made)

	failing := Kind{Version: "1", Make: func(context.Context, *gitserver.Repo) error { return fmt.Errorf("no such thing") }}
	_, err = failing.Kept(t.Context(), cache, "bad", io.Discard)
	require.EqualError(t, err, "make the repository bad: no such thing")
	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left of it")
}

// What is done to a copy is not done to what is kept.
func TestCopy(t *testing.T) {
	repo := build(t, Kind{Make: History{Apps: 5, Commits: 5, Tags: 2, Pulls: 10}.Make})
	before := ask(t, repo, "for-each-ref")
	copied, err := Copy(t.Context(), repo.Dir(), filepath.Join(t.TempDir(), "copy.git"))
	require.NoError(t, err)
	require.Equal(t, before, ask(t, copied, "for-each-ref"))
	bitmaps, err := filepath.Glob(filepath.Join(copied.Dir(), "objects", "pack", "*.bitmap"))
	require.NoError(t, err)
	require.Len(t, bitmaps, 1)

	facts, err := Facts(t.Context(), copied)
	require.NoError(t, err)
	made, err := Change(t.Context(), copied.Dir(), "new", facts.Changed, 1)
	require.NoError(t, err)
	require.Equal(t, facts.Main.Commit, ask(t, copied, "rev-parse", made.Commit+"^"))
	require.Equal(t, facts.Changed, ask(t, copied, "diff-tree", "--no-commit-id", "--name-only", "-r", made.Commit))
	require.Equal(t, before, ask(t, repo, "for-each-ref"))
	_, err = repo.Git(t.Context(), nil, "cat-file", "-e", made.Commit)
	require.Error(t, err)
}

func TestModuleDir(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	_, err := moduleDir(t.Context(), "example.test/none@v1.0.0")
	require.ErrorContains(t, err, "go mod download")
}
