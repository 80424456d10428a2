package git_test

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// listed is what the git command says is in a commit: "mode hash" by path.
func listed(t *testing.T, repo *gitserver.Repo, commit string) map[string]string {
	t.Helper()
	out, err := repo.Git(t.Context(), nil, "ls-tree", "-r", "-t", "-z", "--full-tree", commit)
	require.NoError(t, err)
	all := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if line == "" {
			continue
		}
		head, name, ok := strings.Cut(line, "\t")
		require.True(t, ok, line)
		fields := strings.Fields(head)
		all[name] = fields[0] + " " + fields[2]
	}
	return all
}

// seen is the same of a snapshot, from what its files really hold.
func seen(t *testing.T, s *git.Snapshot) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, fs.WalkDir(s, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := e.Info()
		require.NoError(t, err)
		switch {
		case e.IsDir():
			hash, err := s.TreeHash(name)
			require.NoError(t, err)
			all[name] = "040000 " + hash
		case e.Type() == fs.ModeSymlink:
			target, err := s.ReadLink(name)
			require.NoError(t, err)
			all[name] = "120000 " + hashOf("blob", []byte(target))
		default:
			content := readAll(t, s, name)
			require.EqualValues(t, len(content), info.Size())
			mode := "100644 "
			if info.Mode()&0o111 != 0 {
				mode = "100755 "
			}
			all[name] = mode + hashOf("blob", content)
			hash, err := s.ContentID(name)
			require.NoError(t, err)
			require.Equal(t, mode+hash, all[name])
		}
		return nil
	}))
	return all
}

func readAll(t *testing.T, fsys fs.FS, name string) []byte {
	t.Helper()
	file, err := fsys.Open(name)
	require.NoError(t, err)
	defer file.Close()
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	return content
}

// requireSame compares every path, mode and content with what git itself sees.
func (f *fixture) requireSame(t *testing.T, s *git.Snapshot) {
	t.Helper()
	require.Equal(t, listed(t, f.Repo, s.Commit().Hash), seen(t, s))
	tree, err := f.Git(t.Context(), nil, "rev-parse", s.Commit().Hash+"^{tree}")
	require.NoError(t, err)
	hash, err := s.TreeHash(".")
	require.NoError(t, err)
	require.Equal(t, tree, hash)
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
}
