package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

var withSubmodules = git.FetchOptions{Submodules: &git.Submodules{}}

// estateOf3 makes repo.git with a submodule in a submodule in a submodule, and
// returns the commits from the top down.
func (h *hub) estateOf3() (commits [4]string) {
	commits[3] = h.commit("leaf.git", files("leaf", "3"))
	commits[2] = h.commit("mid.git", files("mid", "2", ".gitmodules", modules("deep/leaf", "../leaf.git")), "deep/leaf", commits[3])
	lib := files("lib", "1", "dir/file", "in lib", ".gitmodules", modules("mid", "./../mid.git"))
	lib["up"] = link("../../top")
	commits[1] = h.commit("lib.git", lib, "mid", commits[2])
	top := files("top", "0", ".gitmodules", modules("vendor/lib", "../lib.git", "unused", "../unused.git"))
	top["into"] = link("vendor/lib/mid/deep/leaf/leaf")
	commits[0] = h.commit("repo.git", top, "vendor/lib", commits[1])
	return commits
}

// cloned is what the git command makes of it.
func (h *hub) cloned() map[string]string {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "clone")
	cmd := exec.CommandContext(h.t.Context(), "git", "clone", "--quiet", "--recurse-submodules", h.URL+"/repo.git", dir)
	cmd.Env = gitserver.Environ()
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, string(out))
	all := contents(h.t, os.DirFS(dir))
	for name := range all {
		if strings.HasPrefix(name, ".git/") || strings.HasSuffix(name, "/.git") {
			delete(all, name)
		}
	}
	return all
}

func TestFetchSubmodules(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	commits := h.estateOf3()
	want := h.cloned()
	require.Equal(t, "3", want["vendor/lib/mid/deep/leaf/leaf"])
	user := sshSigner(t)
	shell, err := gitserver.ServeSSH(t.Context(), h.root, gitserver.SSHOptions{Keys: []ssh.PublicKey{user.Key()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shell.Close()) })
	key, err := user.PrivateKey()
	require.NoError(t, err)
	for name, r := range map[string]*git.Remote{
		"http":        h.open("repo.git", git.Options{}),
		"http go-git": h.open("repo.git", git.Options{Engine: git.EngineCompatible}),
		"ssh":         open(t, shell.URL+"/repo.git", git.Options{Auth: git.Auth{SSHKey: key, KnownHosts: shell.KnownHosts}}),
	} {
		t.Run(name, func(t *testing.T) {
			bare := fetch(t, r, commits[0], git.FetchOptions{})
			s := fetch(t, r, commits[0], withSubmodules)
			require.Equal(t, want, contents(t, s))
			mustBeFS(t, s)
			d := newOnDisk(t)
			require.NoError(t, s.Checkout(t.Context(), d.Root, git.CheckoutOptions{}))
			require.Equal(t, want, contents(t, d.FS()))

			for _, plain := range []*git.Snapshot{bare, fetch(t, r, commits[0], git.FetchOptions{})} {
				require.Len(t, contents(t, plain), 3)
				list, err := plain.ReadDir("vendor/lib")
				require.NoError(t, err)
				require.Empty(t, list)
			}
		})
	}
}

// What a snapshot says of the parts of the tree that are other repositories.
func TestSnapshotWithSubmodules(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	commits := h.estateOf3()
	s := fetch(t, h.open("repo.git", git.Options{}), commits[0], withSubmodules)
	for dir, want := range map[string]string{
		".": h.git(h.repo("repo.git"), "", "rev-parse", "main^{tree}"), "vendor": h.git(h.repo("repo.git"), "", "rev-parse", "main:vendor"),
		"vendor/lib": commits[1], "vendor/lib/mid": commits[2], "vendor/lib/mid/deep/leaf": commits[3],
		"vendor/lib/dir": h.git(h.repo("lib.git"), "", "rev-parse", "main:dir"),
	} {
		got, err := s.TreeHash(dir)
		require.NoError(t, err)
		require.Equal(t, want, got, dir)
	}
	for name, content := range map[string]string{
		"vendor/lib/up": "0", "into": "3", "vendor/lib/mid/../dir/../lib": "", "vendor/lib/mid/mid": "2",
	} {
		id, err := s.ContentID(name)
		if content == "" {
			require.ErrorIs(t, err, fs.ErrInvalid)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, hashOf("blob", []byte(content)), id, name)
	}
	sub, err := fs.Sub(s, "vendor/lib")
	require.NoError(t, err)
	ids, ok := sub.(interface {
		ContentID(name string) (string, error)
		TreeHash(dir string) (string, error)
	})
	require.True(t, ok, "what the whole has, a part has too")
	id, err := ids.ContentID("up")
	require.NoError(t, err)
	require.Equal(t, hashOf("blob", []byte("0")), id)
	hash, err := ids.TreeHash("mid")
	require.NoError(t, err)
	require.Equal(t, commits[2], hash)
	raw, err := fs.ReadFile(sub, "up")
	require.NoError(t, err)
	require.Equal(t, "0", string(raw), "as a checkout would have it")
	raw, err = fs.ReadFile(sub, "mid/deep/leaf/leaf")
	require.NoError(t, err)
	require.Equal(t, "3", string(raw))
	info, err := s.Stat("vendor/lib")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o755, info.Mode())
}

func TestFetchSubmodulesBringsOnlyWhatIsNew(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	var m meter.Meter
	opts := git.Options{WrapTransport: m.Wrap}
	asking := git.FetchOptions{Submodules: &git.Submodules{Options: func(context.Context, string) (git.Options, error) { return opts, nil }}}
	dir := filepath.Join(t.TempDir(), "kept")
	for name, how := range map[string]struct {
		dir string
		git.FetchOptions
	}{"in memory": {"", withSubmodules}, "asking": {"", asking}, "on disk": {dir, withSubmodules}, "on disk, asking": {dir + "2", asking}} {
		t.Run(name, func(t *testing.T) {
			opts := opts
			opts.Dir = how.dir
			big := files("big", noise(9, 100_000), "v", "1")
			lib := h.commit("lib.git", big)
			top := files("top", "0", ".gitmodules", modules("lib", "../lib.git"))
			commit := h.commit("repo.git", top, "lib", lib)
			r := h.open("repo.git", opts)
			fetch(t, r, commit, how.FetchOptions)
			before := m.Count()
			fetch(t, r, commit, how.FetchOptions)
			require.Zero(t, m.Count().Sub(before).Requests, "all of it is held")

			commit = h.commit("repo.git", put(top, "top", noise(m64(), 10)), "lib", lib)
			h.count("")
			fetch(t, r, commit, how.FetchOptions)
			require.Zero(t, h.count("/lib.git"), "the submodule has not changed")

			if how.dir != "" {
				require.NoError(t, r.Close())
				r = h.open("repo.git", opts)
				before = m.Count()
				fetch(t, r, commit, how.FetchOptions)
				require.Zero(t, m.Count().Sub(before).Requests, "all of it is held after a restart")
			}
			lib = h.commit("lib.git", put(big, "v", "2"))
			commit = h.commit("repo.git", top, "lib", lib)
			var s *git.Snapshot
			require.Less(t, received(&m, func() { s = fetch(t, r, commit, how.FetchOptions) }), int64(4096))
			raw, err := s.ReadFile("lib/v")
			require.NoError(t, err)
			require.Equal(t, "2", string(raw))
		})
	}
}

// What is on the disk is read once, however often the caller says how to open it.
func TestFetchSubmodulesReadsItsDirectoryOnce(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	lib := h.commit("lib.git", files("lib", "1"))
	commit := h.commit("repo.git", files(".gitmodules", modules("lib", "../lib.git")), "lib", lib)
	dir := t.TempDir()
	r := h.open("repo.git", git.Options{Dir: dir})
	asking := git.FetchOptions{Submodules: &git.Submodules{Options: func(context.Context, string) (git.Options, error) { return git.Options{}, nil }}}
	fetch(t, r, commit, asking)
	inside, err := filepath.Glob(filepath.Join(dir, "submodule-*"))
	require.NoError(t, err)
	require.Len(t, inside, 1)
	old := filepath.Join(inside[0], "gitopskit-old") // would be removed by who reads it anew
	require.NoError(t, os.WriteFile(old, nil, 0o600))
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-24*time.Hour)))
	fetch(t, r, commit, asking)
	require.FileExists(t, old)
	require.NoError(t, r.Close())
	fetch(t, h.open("repo.git", git.Options{Dir: dir}), commit, asking)
	require.NoFileExists(t, old)
}

func TestFetchSubmodulesLimits(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	commits := h.estateOf3()
	wide := h.commit("wide.git", files(".gitmodules", modules("a", "../leaf.git", "b", "../leaf.git", "c", "../lib.git")),
		"a", commits[3], "b", commits[3], "c", commits[1])
	// A repository in itself, again and again.
	chain := h.commit("chain.git", files("end", ""))
	for i := range 6 {
		chain = h.commit("chain.git", files("i", fmt.Sprint(i), ".gitmodules", modules("again", "../chain.git")), "again", chain)
	}
	// Submodules cannot be given more than the whole has.
	generous := &git.Submodules{Options: func(context.Context, string) (git.Options, error) {
		return git.Options{Limits: git.Limits{Submodules: 1000, SubmoduleDepth: 1000}}, nil
	}}
	for _, tt := range []struct {
		repo, commit string
		limits       git.Limits
		exceeded     string
	}{
		{"repo.git", commits[0], git.Limits{SubmoduleDepth: 3, Submodules: 3}, ""},
		{"repo.git", commits[0], git.Limits{SubmoduleDepth: 2}, "SubmoduleDepth"},
		{"repo.git", commits[0], git.Limits{Submodules: 2}, "Submodules"},
		{"wide.git", wide, git.Limits{Submodules: 5}, ""},
		{"wide.git", wide, git.Limits{Submodules: 4}, "Submodules"},
		{"wide.git", wide, git.Limits{Submodules: 2}, "Submodules"},
		{"chain.git", chain, git.Limits{}, "SubmoduleDepth"},
		{"chain.git", chain, git.Limits{SubmoduleDepth: 6}, ""},
		{"chain.git", chain, git.Limits{SubmoduleDepth: 10, Submodules: 5}, "Submodules"},
	} {
		for _, how := range []*git.Submodules{withSubmodules.Submodules, generous} {
			if how == generous && tt.repo != "repo.git" {
				continue
			}
			r := h.open(tt.repo, git.Options{Limits: tt.limits})
			s, err := r.Fetch(t.Context(), git.Revision{Commit: tt.commit}, git.FetchOptions{Submodules: how})
			if tt.exceeded == "" {
				require.NoError(t, err)
				require.NotEmpty(t, contents(t, s))
				continue
			}
			requireLimit(t, err, tt.exceeded)
			require.Nil(t, s)
		}
	}
	err := fetchError(t, h.open("repo.git", git.Options{Limits: git.Limits{SubmoduleDepth: 1}}), commits[0], withSubmodules)
	require.ErrorContains(t, err, `submodule "vendor/lib": fetch `+h.URL+`/lib.git: limit exceeded`)
}

// The time is that of all of it together.
func TestFetchSubmodulesTakesOneTime(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{Allow: func(req *http.Request) bool {
		if strings.HasPrefix(req.URL.Path, "/lib.git") {
			<-req.Context().Done()
		}
		return true
	}})
	commit := h.commit("repo.git", files(".gitmodules", modules("lib", "../lib.git")), "lib", zeros[:39]+"1")
	r := h.open("repo.git", git.Options{Limits: git.Limits{Time: 300 * time.Millisecond}})
	requireLimit(t, fetchError(t, r, commit, git.FetchOptions{Submodules: &git.Submodules{
		Options: func(context.Context, string) (git.Options, error) { return git.Options{}, nil },
	}}), "Time")
}

func TestFetchSubmodulesFails(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	lib := h.commit("lib.git", files("lib", "1"))
	absent := strings.Repeat("1", 40)
	at := func(url string) string { return modules("lib", url) }
	tree := h.git(h.repo("lib.git"), "", "rev-parse", "main^{tree}")
	for name, tt := range map[string]struct {
		tree   fstest.MapFS
		commit string
		want   error
		text   string
	}{
		"no file":          {files("a", ""), lib, git.ErrMalformed, "no file .gitmodules"},
		"a directory":      {files(".gitmodules/x", ""), lib, git.ErrMalformed, "no file .gitmodules"},
		"a large file":     {files(".gitmodules", string(h.Put([]byte(at("../lib.git"))))), lib, git.ErrMalformed, ".gitmodules"},
		"no entry":         {files(".gitmodules", modules("x", "../lib.git")), lib, git.ErrMalformed, `submodule "lib": malformed object: .gitmodules says no URL for it`},
		"another spelling": {files(".gitmodules", modules("LIB", "../lib.git")), lib, git.ErrMalformed, `submodule "lib"`},
		"no URL":           {files(".gitmodules", "[submodule \"a\"]\npath = lib\n"), lib, git.ErrMalformed, `submodule "lib"`},
		"malformed":        {files(".gitmodules", modules("a/..", "../lib.git")), lib, git.ErrMalformed, ".gitmodules"},
		"no such commit":   {files(".gitmodules", at("../lib.git")), absent, git.ErrCommitUnavailable, `submodule "lib": fetch ` + h.URL + `/lib.git: `},
		"a tree":           {files(".gitmodules", at("../lib.git")), tree, git.ErrMalformed, `submodule "lib": fetch ` + h.URL + `/lib.git: `},
		"no repository":    {files(".gitmodules", at("../none.git")), lib, git.ErrRepositoryNotFound, `submodule "lib"`},
	} {
		t.Run(name, func(t *testing.T) {
			commit := h.commit("repo.git", tt.tree, "lib", tt.commit)
			r := h.open("repo.git", git.Options{})
			err := fetchError(t, r, commit, git.FetchOptions{LFS: name != "a large file", Submodules: &git.Submodules{}})
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.text)
			fetch(t, r, commit, git.FetchOptions{})
		})
	}
}

func TestFetchSubmodulesAsTheCallerSays(t *testing.T) {
	private := newHub(t, gitserver.HTTPOptions{Username: "u", Password: "lib password"})
	lib := private.commit("lib.git", files("lib", "1"))
	h := newHub(t, gitserver.HTTPOptions{})
	url := private.URL + "/lib.git"
	own := h.commit("own.git", files("own", "2"))
	commit := h.commit("repo.git", files(".gitmodules", modules("a", url, "b", "../own.git", "c", url)), "a", lib, "b", own, "c", lib)
	r := h.open("repo.git", git.Options{})
	require.ErrorIs(t, fetchError(t, r, commit, withSubmodules), git.ErrAuthRequired)

	var asked []string
	how := &git.Submodules{Options: func(_ context.Context, url string) (git.Options, error) {
		asked = append(asked, url)
		if strings.HasPrefix(url, private.URL) {
			return git.Options{Auth: git.Auth{Username: "u", Password: "lib password"}, InsecureCredentials: true}, nil
		}
		return git.Options{}, nil
	}}
	for range 2 {
		asked = nil
		s := fetch(t, r, commit, git.FetchOptions{Submodules: how})
		require.Equal(t, []string{url, h.URL + "/own.git", url}, asked)
		require.Len(t, contents(t, s), 4)
	}

	// What was opened so is opened anew for who does not say so.
	commit = h.commit("repo.git", files(".gitmodules", modules("a", url)), "a", private.commit("lib.git", files("lib", "2")))
	require.ErrorIs(t, fetchError(t, r, commit, withSubmodules), git.ErrAuthRequired)

	why := errors.New("not from there")
	how.Options = func(context.Context, string) (git.Options, error) { return git.Options{}, why }
	err := fetchError(t, r, commit, git.FetchOptions{Submodules: how})
	require.ErrorIs(t, err, why)
	require.ErrorContains(t, err, `submodule "a"`)
	how.Options = func(context.Context, string) (git.Options, error) {
		return git.Options{Auth: git.Auth{Username: "u", Password: "lib password"}}, nil
	}
	require.ErrorIs(t, fetchError(t, r, commit, git.FetchOptions{Submodules: how}), git.ErrInsecureCredentials)
}

func TestFetchSubmodulesOfDirectories(t *testing.T) {
	for _, filter := range []string{"false", "true"} {
		h := newHub(t, gitserver.HTTPOptions{})
		lib, other := h.commit("lib.git", files("dir/lib", "1")), h.commit("other.git", files("other", "2"))
		top := files("top", "0", "apps/a", "a", ".gitmodules", modules("apps/lib", "../lib.git", "infra/other", "../other.git"))
		top["apps/link"] = link("../infra/other")
		commit := h.commit("repo.git", top, "apps/lib", lib, "infra/other", other)
		h.git(h.repo("repo.git"), "", "config", "uploadpack.allowFilter", filter)
		r := h.open("repo.git", git.Options{})
		for range 2 {
			s := fetch(t, r, commit, git.FetchOptions{Dirs: []string{"apps"}, Submodules: &git.Submodules{}})
			require.Equal(t, map[string]string{"apps/a": "a", "apps/lib/dir/lib": "1", "apps/link": "-> ../infra/other"}, contents(t, s))
			_, err := s.Stat(".gitmodules")
			require.ErrorIs(t, err, fs.ErrNotExist)
			_, err = s.Stat("apps/link")
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.Zero(t, h.count("/other.git"), "it is not wanted")
		}
		s := fetch(t, r, commit, git.FetchOptions{Dirs: []string{"infra/other"}, Submodules: &git.Submodules{}})
		require.Equal(t, map[string]string{"infra/other/other": "2"}, contents(t, s))
		err := fetchError(t, r, commit, git.FetchOptions{Dirs: []string{"apps/lib/dir"}, Submodules: &git.Submodules{}})
		require.ErrorIs(t, err, git.ErrDirectoryNotFound)
		require.Len(t, contents(t, fetch(t, r, commit, withSubmodules)), 6)
	}
}

func TestFetchLFSInSubmodules(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	pointer := string(h.Put([]byte("large")))
	lib := h.commit("lib.git", files("big", pointer))
	commit := h.commit("repo.git", files("same", pointer, ".gitmodules", modules("lib", "../lib.git")), "lib", lib)
	r := h.open("repo.git", git.Options{})
	for _, lfs := range []bool{true, false, true} {
		s := fetch(t, r, commit, git.FetchOptions{LFS: lfs, Submodules: &git.Submodules{}})
		want := map[bool]string{true: "large", false: pointer}[lfs]
		requireFile(t, s, "same", want)
		requireFile(t, s, "lib/big", want)
		require.Len(t, s.LFSFiles(), 1, "those in submodules are not listed")
	}
	require.Equal(t, 1, h.count("/lib.git/info/lfs/objects/batch"))
}

func TestFetchSubmodulesFromManyGoroutines(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	commits := h.estateOf3()
	again := h.commit("repo.git", files("top", "changed", ".gitmodules", modules("vendor/lib", "../lib.git")), "vendor/lib", commits[1])
	for _, dir := range []string{"", t.TempDir()} {
		r := h.open("repo.git", git.Options{Dir: dir})
		asking := &git.Submodules{Options: func(context.Context, string) (git.Options, error) { return git.Options{}, nil }}
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				how := []*git.Submodules{asking, {}, asking, nil}[i/2%4]
				s, err := r.Fetch(t.Context(), git.Revision{Commit: []string{commits[0], again}[i%2]}, git.FetchOptions{Submodules: how})
				if err == nil && how != nil {
					_, err = s.ReadFile("vendor/lib/mid/deep/leaf/leaf")
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.Equal(t, 1, git.Children(r))
	}
}

// Who can write to the repository cannot make what is kept more and more.
func TestAttackSubmodulesThatChange(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	lib := h.commit("lib.git", files("lib", "1"))
	dir := t.TempDir()
	opts := git.Options{Dir: dir, Limits: git.Limits{Submodules: 2}}
	r := h.open("repo.git", opts)
	for i := range 8 {
		if i == 5 { // it does not help to wait for a restart
			require.NoError(t, r.Close())
			r = h.open("repo.git", opts)
		}
		another := fmt.Sprint(i, ".git") // address of the same
		require.NoError(t, os.Symlink("lib.git", filepath.Join(h.root, another)))
		commit := h.commit("repo.git", files(".gitmodules", modules("lib", "../"+another)), "lib", lib)
		requireFile(t, fetch(t, r, commit, withSubmodules), "lib/lib", "1")
		require.LessOrEqual(t, git.Children(r), 2)
		dirs := 0
		for _, name := range entries(t, dir) {
			if strings.HasPrefix(name, "submodule-") {
				dirs++
			}
		}
		require.LessOrEqual(t, dirs, 2)
	}
}
