package git_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// hub is a server of several repositories, with large files, that notes what it
// is asked.
type hub struct {
	*httptest.Server
	gitserver.LFS
	t    *testing.T
	root string

	mu   sync.Mutex
	seen []string // "path Authorization"
}

func newHub(t *testing.T, opts gitserver.HTTPOptions) *hub {
	t.Helper()
	h := &hub{t: t, root: t.TempDir()}
	opts.LFS = &h.LFS
	return h.serve(opts, httptest.NewServer)
}

func (h *hub) serve(opts gitserver.HTTPOptions, start func(http.Handler) *httptest.Server) *hub {
	h.t.Helper()
	handler, err := gitserver.HTTP(h.t.Context(), h.root, opts)
	require.NoError(h.t, err)
	h.Server = start(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, req.URL.Path+" "+req.Header.Get("Authorization"))
		h.mu.Unlock()
		handler.ServeHTTP(w, req)
	}))
	h.t.Cleanup(h.Server.Close)
	return h
}

// count returns how many requests contained a text since the last call.
func (h *hub) count(text string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range h.seen {
		if strings.Contains(line, text) {
			n++
		}
	}
	h.seen = nil
	return n
}

func (h *hub) repo(name string) *gitserver.Repo {
	h.t.Helper()
	r, err := gitserver.Create(h.t.Context(), filepath.Join(h.root, name))
	require.NoError(h.t, err)
	return r
}

// commit puts a tree, with submodules as pairs of a path and a commit, onto the
// branch main of a repository, which is made if it is not there.
func (h *hub) commit(name string, tree fs.FS, links ...string) string {
	h.t.Helper()
	r := h.repo(name)
	hash, err := r.Tree(tree)
	require.NoError(h.t, err)
	if len(links) > 0 {
		hash = h.link(r, hash, links)
	}
	return h.commitTree(r, hash)
}

func (h *hub) commitTree(r *gitserver.Repo, tree string) string {
	h.t.Helper()
	commit, err := r.CommitTree(tree, nil, gitserver.CommitOptions{Message: "m"})
	require.NoError(h.t, err)
	require.NoError(h.t, r.SetRef(h.t.Context(), "refs/heads/main", commit))
	return commit
}

// link adds submodules to a tree.
func (h *hub) link(r *gitserver.Repo, tree string, links []string) string {
	h.t.Helper()
	var lines strings.Builder
	for i := 0; i < len(links); i += 2 {
		fmt.Fprintf(&lines, "160000 %s\t%s\n", links[i+1], links[i])
	}
	h.git(r, "", "read-tree", tree)
	h.git(r, lines.String(), "update-index", "--index-info")
	return h.git(r, "", "write-tree")
}

func (h *hub) git(r *gitserver.Repo, stdin string, args ...string) string {
	h.t.Helper()
	out, err := r.Git(h.t.Context(), strings.NewReader(stdin), args...)
	require.NoError(h.t, err)
	return out
}

func (h *hub) open(name string, opts git.Options) *git.Remote {
	h.t.Helper()
	return open(h.t, h.URL+"/"+name, opts)
}

// fetch brings a commit.
func fetch(t *testing.T, r *git.Remote, commit string, opts git.FetchOptions) *git.Snapshot {
	t.Helper()
	s, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, opts)
	require.NoError(t, err)
	return s
}

// fetchError fetches what must not be had.
func fetchError(t *testing.T, r *git.Remote, commit string, opts git.FetchOptions) error {
	t.Helper()
	s, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, opts)
	require.Error(t, err)
	require.Nil(t, s)
	return err
}

// modules is a .gitmodules with pairs of a path and a URL.
func modules(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "[submodule %q]\n\tpath = %s\n\turl = %s\n", pairs[i], pairs[i], pairs[i+1])
	}
	return b.String()
}

// contents are all files and links by their paths.
func contents(t *testing.T, fsys fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || e.IsDir():
			return err
		case e.Type() == fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			all[name] = "-> " + target
			return err
		}
		all[name] = string(readAll(t, fsys, name))
		return nil
	}))
	return all
}

// mustBeFS checks a tree as what it is, with all that is in it.
func mustBeFS(t *testing.T, fsys fs.FS) {
	t.Helper()
	var names []string
	for name := range contents(t, fsys) {
		names = append(names, name)
	}
	require.NoError(t, fstest.TestFS(fsys, names...))
}
