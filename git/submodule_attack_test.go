package git_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// What .gitmodules says is never run, never a path, and nothing that would be
// refused as the address of a repository.
func TestAttackSubmoduleAddresses(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	secure := (&hub{t: t, root: h.root}).serve(gitserver.HTTPOptions{}, httptest.NewTLSServer)
	lib := h.commit("lib.git", files("lib", "1"))
	plain, host := h.URL+"/lib.git", strings.TrimPrefix(h.URL, "http://")
	for _, url := range []string{
		"file://" + h.root + "/lib.git", h.root + "/lib.git", "file:" + h.root + "/lib.git", "ext::sh -c touch% x", "--upload-pack=touch x", "-u", "fd::7",
		"git://" + host + "/lib.git", "ftp://" + host + "/lib.git", "http://user:canary@" + host + "/lib.git", "http://canary@" + host + "/lib.git",
		"git@-oProxyCommand=canary:lib", "ssh://-oProxyCommand=canary/lib", plain + "?canary", "../../../lib.git", "../x/../../../lib.git", "%68ttp://" + host, "",
		"http://" + host + "/%2e%2e/lib.git", "http:" + host + "/lib.git",
	} {
		commit := h.commit("repo.git", files(".gitmodules", modules("lib", url)), "lib", lib)
		r := h.open("repo.git", git.Options{})
		fetch(t, r, commit, git.FetchOptions{})
		h.count("")
		err := fetchError(t, r, commit, git.FetchOptions{Submodules: &git.Submodules{
			Options: func(context.Context, string) (git.Options, error) {
				t.Errorf("asked for %q", url)
				return git.Options{}, nil
			},
		}})
		if url != "" {
			require.ErrorIs(t, err, git.ErrInvalidURL, url)
			require.ErrorContains(t, err, `submodule "lib"`)
		} else {
			require.ErrorIs(t, err, git.ErrMalformed)
		}
		require.True(t, terminal(t, err))
		require.NotContains(t, err.Error(), "canary")
		require.Zero(t, h.count(""), url)
	}
	// Plain HTTP is for who came by it.
	commit := h.commit("repo.git", files(".gitmodules", modules("lib", plain)), "lib", lib)
	fetch(t, h.open("repo.git", git.Options{}), commit, withSubmodules)
	h.count("")
	err := fetchError(t, secure.open("repo.git", git.Options{CABundle: certificate(secure.Server)}), commit, withSubmodules)
	require.ErrorIs(t, err, git.ErrInvalidURL)
	require.Zero(t, h.count(""))
}

// Credentials go to the origin of the repository, for what it names itself, and
// nowhere else: not to another server, and not back from there.
func TestAttackSubmoduleObtainsNoCredentials(t *testing.T) {
	victim := newHub(t, gitserver.HTTPOptions{Username: "u", Password: "canary-password"})
	attacker := newHub(t, gitserver.HTTPOptions{})
	secret := victim.commit("secret.git", files("secret", "1"))
	same := victim.commit("same.git", files("same", "1"))
	back := attacker.commit("back.git", files(".gitmodules", modules("x", victim.URL+"/secret.git")), "x", secret)
	evil := attacker.commit("evil.git", files("evil", "1"))
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, victim.URL+req.URL.RequestURI(), http.StatusFound)
	}))
	defer moved.Close()
	repeat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, fmt.Sprint(req.Header))
	}))
	defer repeat.Close()
	wrapped := 0
	opts := git.Options{
		Auth: git.Auth{Username: "u", Password: "canary-password"}, InsecureCredentials: true,
		WrapTransport: func(rt http.RoundTripper) http.RoundTripper { wrapped++; return rt },
	}
	for _, tt := range []struct {
		url, commit string
		want        error
		opened      int
	}{
		{"../same.git", same, nil, 2},
		{victim.URL + "/same.git", same, nil, 2},
		{attacker.URL + "/evil.git", evil, nil, 1},
		{attacker.URL + "/back.git", back, git.ErrAuthRequired, 1},
		{moved.URL + "/secret.git", secret, git.ErrAuthRequired, 1},
		{repeat.URL + "/x.git", evil, git.ErrAuthRequired, 1},
	} {
		wrapped = 0
		commit := victim.commit("repo.git", files(".gitmodules", modules("lib", tt.url)), "lib", tt.commit)
		_, err := victim.open("repo.git", opts).Fetch(t.Context(), git.Revision{Commit: commit}, withSubmodules)
		require.ErrorIs(t, err, tt.want, tt.url)
		if err != nil {
			require.NotContains(t, err.Error(), "canary")
		}
		require.Equal(t, tt.opened, wrapped, tt.url)
		require.Zero(t, attacker.count("Basic"), tt.url)
		victim.mu.Lock()
		require.NotContains(t, strings.Join(victim.seen, "\n"), "/secret.git/info/refs Basic", tt.url)
		victim.mu.Unlock()
	}
}

func TestAttackSubmodulesWithoutEnd(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	lib := h.commit("lib.git", files("lib", "1"))
	var links, urls []string
	for i := range 10_000 {
		links = append(links, fmt.Sprintf("m/%05d", i), lib)
		urls = append(urls, fmt.Sprintf("m/%05d", i), "../lib.git")
	}
	many := h.commit("repo.git", files(".gitmodules", modules(urls...)), links...)
	long := h.commit("repo.git", files(".gitmodules", modules("lib", "../lib.git")+strings.Repeat("# comment\n", 200<<10)), "lib", lib)
	r := h.open("repo.git", git.Options{})
	h.count("")
	err := fetchError(t, r, many, withSubmodules)
	requireLimit(t, err, "Submodules")
	require.Zero(t, h.count("/lib.git"))
	require.Zero(t, git.Children(r))
	err = fetchError(t, r, long, withSubmodules)
	require.ErrorIs(t, err, git.ErrMalformed)
	require.ErrorContains(t, err, "larger than")
	require.Zero(t, h.count("/lib.git"))
}

// A submodule is where its tree says, and nowhere else, whatever links there
// are, and what it links to stays inside of everything.
func TestAttackSubmoduleLinks(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	tree := files("lib", "1", "deep/x", "")
	for name, target := range map[string]string{
		"out": "../../../etc/passwd", "absolute": "/etc/passwd", "deep/out": "../../../x", "circle": "../../sub/lib/circle",
		"git": "../../.git/config", "deep/back": "../../../top", "over": "../../away/lib",
	} {
		tree[name] = link(target)
	}
	lib := h.commit("lib.git", tree)
	top := files("top", "0", "else/file", "e", ".gitmodules", modules("sub/lib", "../lib.git", "away/lib", "../lib.git"))
	top["away"] = link("else") // so that away/lib would be else/lib
	top["through"] = link("sub/lib/out")
	commit := h.commit("repo.git", top, "sub/lib", lib)
	s := fetch(t, h.open("repo.git", git.Options{}), commit, withSubmodules)
	sub, err := fs.Sub(s, "sub/lib")
	require.NoError(t, err)
	for name, want := range map[string]error{
		"out": git.ErrLink, "absolute": git.ErrLink, "circle": git.ErrLink, "git": fs.ErrNotExist, "deep/back": nil, "over": fs.ErrNotExist, "deep/out": fs.ErrNotExist,
	} {
		for _, read := range []func() ([]byte, error){
			func() ([]byte, error) { return fs.ReadFile(s, "sub/lib/"+name) }, func() ([]byte, error) { return fs.ReadFile(sub, name) },
		} {
			raw, err := read()
			require.ErrorIs(t, err, want, name)
			require.Equal(t, map[bool]string{true: "0"}[want == nil], string(raw), name)
		}
	}
	_, err = s.ReadFile("through")
	require.ErrorIs(t, err, git.ErrLink)
	list, err := s.ReadDir("away")
	require.NoError(t, err)
	require.Len(t, list, 1, "there is no submodule at the end of a link")
	d := newOnDisk(t)
	require.ErrorIs(t, s.Checkout(t.Context(), d.Root, git.CheckoutOptions{}), git.ErrLink)
	d = newOnDisk(t)
	require.NoError(t, s.Checkout(t.Context(), d.Root, git.CheckoutOptions{SkipLinks: true}))
	_, err = d.Lstat("sub/lib/out")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// What a submodule brings is checked as any other repository is.
func TestAttackSubmoduleContent(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	r := h.repo("lib.git")
	blob, err := r.Object("blob", []byte("x"))
	require.NoError(t, err)
	hooks, err := r.RawTree("100755 post-checkout " + blob)
	require.NoError(t, err)
	for name, line := range map[string]string{
		".git": "40000 .git " + hooks, "dot dot": "40000 .. " + hooks, "a missing file": "100644 a " + strings.Repeat("1", 40),
	} {
		tree, err := r.RawTree(line)
		require.NoError(t, err)
		commit := h.commit("repo.git", files(".gitmodules", modules("lib", "../lib.git")), "lib", h.commitTree(r, tree))
		_, err = h.open("repo.git", git.Options{}).Fetch(t.Context(), git.Revision{Commit: commit}, withSubmodules)
		require.Error(t, err, name)
		require.ErrorContains(t, err, `submodule "lib": fetch `+h.URL+`/lib.git: `)
	}
	// A link in the place of .gitmodules could lead to what git does not read.
	lib := h.commit("lib.git", files("lib", "1"))
	top := h.repo("repo.git")
	real, err := top.Object("blob", []byte(modules("lib", "../lib.git")))
	require.NoError(t, err)
	target, err := top.Object("blob", []byte("real"))
	require.NoError(t, err)
	tree, err := top.RawTree("120000 .gitmodules "+target, "160000 lib "+lib, "100644 real "+real)
	require.NoError(t, err)
	err = fetchError(t, h.open("repo.git", git.Options{}), h.commitTree(top, tree), withSubmodules)
	require.ErrorIs(t, err, git.ErrMalformed)
	require.ErrorContains(t, err, "no file .gitmodules")
}
