// Package repos makes the repositories that the benchmarks of git fetch, with
// the git command, and keeps them from one run to the next.
package repos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// Repos are the names of repositories, and how they are made.
func Repos() map[string]Kind {
	return map[string]Kind{
		// The sources of Kubernetes, as one commit.
		"large": {Version: kubernetes, Make: largeTree},
		// A history of many small changes with many releases in it.
		"history": {Version: "1", Make: History{Apps: 100, Commits: 4000, Tags: 1000}.Make},
		// Pull requests without end, of which a forge lists each.
		"references": {Version: "1", Make: History{Apps: 100, Commits: 200, Tags: 20, Branches: 3, Pulls: 100_000}.Make},
		// One file that cannot be compressed.
		"blob": {Version: "1", Make: oneFile(100_000_000)},
	}
}

// Kind is a kind of repository. Its version is another whenever its content is.
type Kind struct {
	Version string
	Make    func(ctx context.Context, repo *gitserver.Repo) error
}

// Kept returns the folder of a repository below cache, and makes it if it is not
// there yet.
func (k Kind) Kept(ctx context.Context, cache, name string, progress io.Writer) (string, error) {
	dir := filepath.Join(cache, name+"-"+k.Version+".git")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(progress, "making the repository %s, once\n", name)
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // what is left is not found by its name
	if err := k.Build(ctx, temp); err != nil {
		return "", fmt.Errorf("make the repository %s: %w", name, err)
	}
	err = os.Rename(temp, dir)
	if _, e := os.Stat(dir); e == nil {
		err = nil // another run may have been faster, with the same
	}
	return dir, err
}

// Build makes the repository in a folder.
func (k Kind) Build(ctx context.Context, dir string) error {
	repo, err := gitserver.Create(ctx, dir)
	if err != nil {
		return err
	}
	if err := k.Make(ctx, repo); err != nil {
		return err
	}
	return pack(ctx, repo)
}

// pack leaves the repository as a forge does after its housekeeping: one pack
// with a bitmap, no loose references.
func pack(ctx context.Context, repo *gitserver.Repo) error {
	if _, err := repo.Git(ctx, nil, "pack-refs", "--all"); err != nil {
		return err
	}
	_, err := repo.Git(ctx, nil, "repack", "-adfq", "--write-bitmap-index")
	return err
}

// Copy makes a copy that may be changed of a repository: the packs are the same
// files, where the file system can.
func Copy(ctx context.Context, from, to string) (*gitserver.Repo, error) {
	repo, err := gitserver.Create(ctx, from) // which leaves one that is there as it is
	if err != nil {
		return nil, err
	}
	if _, err := repo.Git(ctx, nil, "clone", "--quiet", "--mirror", "--local", "--template=", ".", to); err != nil {
		return nil, err
	}
	return gitserver.Create(ctx, to)
}

// Facts are what a benchmark has to find in a repository.
func Facts(ctx context.Context, repo *gitserver.Repo) (hosted.Facts, error) {
	var facts hosted.Facts
	commits, err := repo.Git(ctx, nil, "rev-list", "--first-parent", "main")
	if err != nil {
		return facts, err
	}
	history := strings.Fields(commits)
	if facts.Main, err = tree(ctx, repo, "main"); err != nil {
		return facts, err
	}
	if facts.Pinned, err = tree(ctx, repo, history[len(history)/2]); err != nil {
		return facts, err
	}
	if facts.Changed, err = middleFile(ctx, repo); err != nil {
		return facts, err
	}
	tags, err := repo.Git(ctx, nil, "for-each-ref", "--sort=-version:refname", "--count=1", "--format=%(refname:short)", "refs/tags")
	if err != nil || tags == "" {
		return facts, err
	}
	facts.Tag = tags
	facts.Tagged, err = tree(ctx, repo, tags)
	return facts, err
}

func tree(ctx context.Context, repo *gitserver.Repo, revision string) (hosted.Tree, error) {
	commit, err := repo.Git(ctx, nil, "rev-parse", "--verify", revision+"^{commit}")
	if err != nil {
		return hosted.Tree{}, err
	}
	sizes, err := repo.Git(ctx, nil, "ls-tree", "-r", "--format=%(objectsize)", commit)
	if err != nil {
		return hosted.Tree{}, err
	}
	found := hosted.Tree{Commit: commit}
	for size := range strings.FieldsSeq(sizes) {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return hosted.Tree{}, err
		}
		found.Files, found.Bytes = found.Files+1, found.Bytes+n
	}
	return found, nil
}

// middleFile is some file in the middle of the list.
func middleFile(ctx context.Context, repo *gitserver.Repo) (string, error) {
	out, err := repo.Git(ctx, nil, "ls-tree", "-r", "--name-only", "main")
	if err != nil {
		return "", err
	}
	names := strings.Split(out, "\n")
	return names[len(names)/2], nil
}

// Archive writes a tar.gz file of the branch main, as git makes it, with every
// file as it is.
func Archive(ctx context.Context, dir, file string) error {
	repo, err := gitserver.Create(ctx, dir)
	if err != nil {
		return err
	}
	attributes := filepath.Join(dir, "info", "attributes")
	if err := os.MkdirAll(filepath.Dir(attributes), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(attributes, []byte("* -export-subst -export-ignore\n"), 0o600); err != nil {
		return err
	}
	_, err = repo.Git(ctx, nil, "archive", "--format=tar.gz", "--output", file, "main^{tree}") // of a commit there is a header for all files
	return err
}

// Change commits a new line at the end of a file to a branch, which begins at
// main if it is not there. The number makes the line a new one.
func Change(ctx context.Context, dir, branch, file string, number int) (hosted.Tree, error) {
	repo, err := gitserver.Create(ctx, dir)
	if err != nil {
		return hosted.Tree{}, err
	}
	from, err := repo.Git(ctx, nil, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
	if err != nil {
		if from, err = repo.Git(ctx, nil, "rev-parse", "--verify", "main"); err != nil {
			return hosted.Tree{}, err
		}
	}
	content, err := repo.Git(ctx, nil, "cat-file", "blob", from+":"+file)
	if err != nil {
		return hosted.Tree{}, err
	}
	var stream stream
	stream.commit(branch, from, fmt.Sprintf("Change %d", number))
	stream.file(file, fmt.Appendf(nil, "%s\n// change %d\n", content, number))
	if err := stream.write(ctx, repo); err != nil {
		return hosted.Tree{}, err
	}
	return tree(ctx, repo, "refs/heads/"+branch)
}

const kubernetes = "v1.37.0"

// largeTree commits the sources of Kubernetes from the module cache.
func largeTree(ctx context.Context, repo *gitserver.Repo) error {
	dir, err := moduleDir(ctx, "k8s.io/kubernetes@"+kubernetes)
	if err != nil {
		return err
	}
	_, err = repo.Commit(ctx, os.DirFS(dir), gitserver.CommitOptions{Branch: "main", Message: "Kubernetes " + kubernetes})
	return err
}

func moduleDir(ctx context.Context, module string) (string, error) {
	out, err := command(ctx, "go", "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return "", err
	}
	if found.Dir == "" {
		return "", errors.New("go mod download did not say where " + module + " is")
	}
	return found.Dir, nil
}
