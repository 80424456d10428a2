// Package hosted is what both sides of the benchmarks of git know of their
// repository and of the process that serves it. Every program links it, so it
// imports the standard library and the meter.
package hosted

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/internal/meter"
)

// Repo is a repository on the server.
type Repo struct {
	URL     string `json:"url"`     // for Git
	Control string `json:"control"` // for what is beside Git: Count and Change
	Facts
}

// Facts say what is in a repository.
type Facts struct {
	Main    Tree   `json:"main"`    // of the branch main
	Tagged  Tree   `json:"tagged"`  // of Tag
	Pinned  Tree   `json:"pinned"`  // of a commit in the middle of the history
	Tag     string `json:"tag"`     // the tag with the highest version, if there is one
	Changed string `json:"changed"` // the file that Change changes
}

// Tree is what has to come out.
type Tree struct {
	Commit string `json:"commit"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// Found holds that a commit is the tree's.
func (t Tree) Found(commit string) error {
	if commit != t.Commit {
		return fmt.Errorf("commit %q came out, not %q", commit, t.Commit)
	}
	return nil
}

// Read reads every file once and holds that it was all of the tree.
func (t Tree) Read(fsys fs.FS) error {
	return t.walk(fsys, func(name string, _ fs.DirEntry) (int64, error) {
		f, err := fsys.Open(name)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		return io.Copy(io.Discard, f)
	})
}

// Written holds that the files are there, by their sizes. Git's own folder does
// not count.
func (t Tree) Written(fsys fs.FS) error {
	return t.walk(fsys, func(_ string, e fs.DirEntry) (int64, error) {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	})
}

func (t Tree) walk(fsys fs.FS, size func(name string, e fs.DirEntry) (int64, error)) error {
	var files int
	var bytes int64
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".git":
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		n, err := size(name, e)
		files, bytes = files+1, bytes+n
		return err
	})
	if err != nil {
		return err
	}
	if files != t.Files || bytes != t.Bytes {
		return fmt.Errorf("%d files of %d bytes came out, not %d of %d", files, bytes, t.Files, t.Bytes)
	}
	return nil
}

// Count is the traffic of the server so far. Bytes are all that went through its
// connections, headers included, as the server sees them: a side must be alone.
func (r Repo) Count(ctx context.Context) (meter.Count, error) {
	var count meter.Count
	return count, r.ask(ctx, http.MethodGet, "/count", &count)
}

// Change puts a new commit on a branch, in which a line of one file is new, and
// returns what is in it. A branch that is not there begins at main.
func (r Repo) Change(ctx context.Context, branch string) (Tree, error) {
	var made Tree
	query := url.Values{"branch": {branch}, "file": {r.Changed}, "repo": {r.name()}}
	return made, r.ask(ctx, http.MethodPost, "/change?"+query.Encode(), &made)
}

// Archive is a tar.gz file of what is in a branch, as other tools make it.
type Archive struct {
	URL    string `json:"url"`
	Digest string `json:"digest"` // sha256 and hex
	Size   int64  `json:"size"`
}

// Archive makes an archive of the branch main, if there is none yet.
func (r Repo) Archive(ctx context.Context) (Archive, error) {
	var made Archive
	return made, r.ask(ctx, http.MethodPost, "/archive?"+url.Values{"repo": {r.name()}}.Encode(), &made)
}

// name is the folder of the repository at the server.
func (r Repo) name() string { return r.URL[strings.LastIndex(r.URL, "/")+1:] }

func (r Repo) ask(ctx context.Context, method, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, r.Control+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the Git server says %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, answer)
}
