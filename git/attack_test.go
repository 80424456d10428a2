package git_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

const zeros = "0123456789abcdef0123456789abcdef01234567"

func requireLimit(t *testing.T, err error, name string) {
	t.Helper()
	var limit *git.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, name, limit.Name)
	require.ErrorIs(t, err, git.ErrLimit)
	require.Equal(t, name != "Time", terminal(t, err))
	require.ErrorContains(t, err, "Limits."+name)
}

// A server that lists references for ever is cut off.
func TestAttackEndlessReferences(t *testing.T) {
	var sent atomic.Int64
	endless := func(line func(i int) string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", advertised)
			io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt(zeros+" refs/heads/a\x00side-band-64k\n"))
			for i := 0; ; i++ {
				n, err := io.WriteString(w, line(i))
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		}
	}
	for name, line := range map[string]func(int) string{
		"many":       func(i int) string { return pkt(fmt.Sprintf("%s refs/heads/b%d\n", zeros, i)) },
		"no payload": func(int) string { return pkt("shallow " + zeros) },
		"long names": func(i int) string {
			return pkt(fmt.Sprintf("%s refs/heads/%s%d\n", zeros, strings.Repeat("b", 1000), i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent.Store(0)
			r := hostile{get: endless(line)}.serve(t, git.Options{Limits: git.Limits{References: 20_000}})
			_, err := r.Resolve(t.Context(), git.Ref{})
			requireLimit(t, err, "References")
			require.Less(t, sent.Load(), int64(20_000*256+32<<20), "the server was cut off")
		})
	}
}

func TestAttackBadPackets(t *testing.T) {
	for name, refs := range map[string]string{
		"longer than git sends":   "fff5" + strings.Repeat("a", 70_000),
		"negative":                "-001",
		"impossibly short":        "0003",
		"delimiter":               "0001",
		"not a number":            "zzzz",
		"no space":                pkt("abc"),
		"short hash":              pkt("0123 refs/heads/main\x00\n") + "0000",
		"hash with capitals":      pkt(strings.ToUpper(zeros)+" refs/heads/main\x00\n") + "0000",
		"no name":                 pkt(zeros+" \x00\n") + "0000",
		"peeled without its tag":  pkt(zeros+" refs/heads/a\x00\n") + pkt(zeros+" refs/tags/v1^{}\n") + "0000",
		"one name twice":          pkt(zeros+" refs/heads/main\x00\n") + pkt(zeros[1:]+"0 refs/heads/main\n") + "0000",
		"path in a name":          pkt(zeros+" refs/heads/../../x\x00\n") + "0000",
		"control character":       pkt(zeros+" refs/heads/a\x1b[31m\x00\n") + "0000",
		"name outside refs":       pkt(zeros+" config\x00\n") + "0000",
		"option for a command":    pkt(zeros+" --upload-pack=x\x00\n") + "0000",
		"the null commit":         pkt(strings.Repeat("0", 40)+" refs/heads/main\x00\n") + "0000",
		"very long name":          pkt(zeros+" refs/heads/"+strings.Repeat("a", 5000)+"\x00\n") + "0000",
		"hash of another length":  pkt(zeros+zeros[:24]+" refs/heads/main\x00\n") + "0000",
		"capabilities of nothing": pkt("\x00\n") + "0000",
	} {
		t.Run(name, func(t *testing.T) {
			r := hostile{refs: refs}.serve(t, git.Options{})
			_, err := r.Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrProtocol)
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 600)
		})
	}
}

func TestAttackPacks(t *testing.T) {
	commit, entries := tiny("hello\n")
	good := pack(3, entries...)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	trailer := bytes.Clone(good)
	trailer[len(trailer)-1] ^= 1
	_, others := tiny("other\n")
	self, _ := hex.DecodeString(hashOf("blob", []byte("hello\n")))
	for name, tt := range map[string][]byte{
		"a flipped bit":                     flipped,
		"a flipped bit in the trailer":      trailer,
		"cut off":                           good[:len(good)-30],
		"no trailer":                        good[:len(good)-20],
		"nothing":                           {},
		"not a pack":                        []byte("<html>hello</html>"),
		"another version":                   append([]byte("PACK\x00\x00\x00\x09"), good[8:]...),
		"another commit":                    pack(3, others...),
		"no commit":                         pack(2, entries[1:]...),
		"no tree":                           pack(2, entries[0], entries[2]),
		"no blob":                           pack(2, entries[:2]...),
		"fewer objects than it says":        pack(9, entries...),
		"more objects than it says":         pack(2, entries...),
		"unknown type":                      pack(4, append(entries[:3:3], packed{5, -1, nil, []byte("x")})...),
		"size too small":                    pack(4, append(entries[:3:3], packed{3, 1, nil, []byte("xyz")})...),
		"size too large":                    pack(4, append(entries[:3:3], packed{3, 1000, nil, []byte("xyz")})...),
		"delta of nothing":                  pack(4, append(entries[:3:3], packed{7, -1, make([]byte, 20), []byte{1, 1, 1, 'x'}})...),
		"delta of itself by offset":         pack(4, append(entries[:3:3], packed{6, -1, []byte{0}, []byte{1, 1, 1, 'x'}})...),
		"delta before the pack":             pack(4, append(entries[:3:3], packed{6, -1, []byte{0xff, 0xff, 0x7f}, []byte{1, 1, 1, 'x'}})...),
		"delta without sizes":               pack(4, append(entries[:3:3], packed{7, -1, self, []byte{}})...),
		"delta of a base of another size":   pack(4, append(entries[:3:3], packed{7, -1, self, []byte{5, 1, 1, 'x'}})...),
		"delta that copies from outside":    pack(4, append(entries[:3:3], packed{7, -1, self, []byte{6, 9, 0x91, 200, 9}})...),
		"delta that makes less than said":   pack(4, append(entries[:3:3], packed{7, -1, self, []byte{6, 9, 1, 'x'}})...),
		"delta that makes more than said":   pack(4, append(entries[:3:3], packed{7, -1, self, []byte{6, 1, 2, 'x', 'y'}})...),
		"delta with an unknown instruction": pack(4, append(entries[:3:3], packed{7, -1, self, []byte{6, 1, 0}})...),
	} {
		t.Run(name, func(t *testing.T) {
			r := hostile{refs: oneRef(commit), pack: tt}.serve(t, git.Options{})
			err := fetchHostile(t, r)
			require.ErrorIs(t, err, git.ErrMalformed)
			require.True(t, terminal(t, err))
		})
	}
}

func TestAttackPackBombs(t *testing.T) {
	commit, entries := tiny("hello\n")
	zip := make([]byte, 2<<20)
	self, _ := hex.DecodeString(hashOf("blob", []byte("hello\n")))
	huge := []byte{6, 0x80, 0x80, 0x80, 0x80, 0x08, 1, 'x'} // a result of 2 GiB
	with := func(e ...packed) []byte { return pack(3+uint32(len(e)), append(entries[:3:3], e...)...) }
	for name, tt := range map[string]struct {
		pack   []byte
		limits git.Limits
		want   string
	}{
		"2^32 objects":      {pack(1<<32-1, entries...), git.Limits{}, "Objects"},
		"too many objects":  {pack(3, entries...), git.Limits{Objects: 2}, "Objects"},
		"a large object":    {with(packed{3, -1, nil, zip}), git.Limits{ObjectSize: 1 << 20}, "ObjectSize"},
		"a size of 2^50":    {with(packed{3, 1 << 50, nil, []byte("x")}), git.Limits{}, "ObjectSize"},
		"large altogether":  {with(packed{3, -1, nil, zip}, packed{3, -1, nil, zip[1:]}), git.Limits{Inflated: 3 << 20}, "Inflated"},
		"a delta's result":  {with(packed{7, -1, self, huge}), git.Limits{}, "ObjectSize"},
		"a delta's results": {with(packed{7, -1, self, huge}), git.Limits{ObjectSize: 1 << 40}, "Inflated"},
		"a delta's length":  {with(packed{7, 1 << 40, self, huge}), git.Limits{}, "ObjectSize"},
		"too many bytes":    {with(packed{3, -1, nil, zip}), git.Limits{Bytes: 2000}, "Bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := hostile{refs: oneRef(commit), pack: tt.pack}.serve(t, git.Options{Limits: tt.limits})
			requireLimit(t, fetchHostile(t, r), tt.want)
		})
	}
	t.Run("for ever", func(t *testing.T) {
		post := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", result)
			io.WriteString(w, pkt("NAK\n"))
			random := make([]byte, 64<<10)
			_, _ = rand.Read(random)
			raw := pack(1<<19, packed{3, -1, nil, random})
			io.WriteString(w, pkt("\x01"+string(raw[:12])))
			data := sidebands(raw[12 : len(raw)-20])
			for {
				if _, err := w.Write(data[:len(data)-len("0000")]); err != nil {
					return
				}
			}
		}
		r := hostile{refs: oneRef(commit), post: post}.serve(t, git.Options{Limits: git.Limits{Bytes: 4 << 20}})
		requireLimit(t, fetchHostile(t, r), "Bytes")
	})
	t.Run("progress for ever", func(t *testing.T) {
		post := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", result)
			io.WriteString(w, pkt("NAK\n"))
			for {
				if _, err := io.WriteString(w, pkt("\x02counting")); err != nil {
					return
				}
			}
		}
		r := hostile{refs: oneRef(commit), post: post}.serve(t, git.Options{Limits: git.Limits{Bytes: 1 << 20}})
		requireLimit(t, fetchHostile(t, r), "Bytes")
	})
}

// Trees that git does not write, over a real server, which does not look.
func TestAttackTreeNames(t *testing.T) {
	f := newFixture(t)
	blob, err := f.Object("blob", []byte("x"))
	require.NoError(t, err)
	dir, err := f.RawTree("100644 hook " + blob)
	require.NoError(t, err)
	for name, lines := range map[string][]string{
		"dot dot":               {"40000 .. " + dir},
		"dot":                   {"40000 . " + dir},
		"git directory":         {"40000 .git " + dir},
		"in capitals":           {"40000 .GIT " + dir},
		"short name of Windows": {"40000 GIT~1 " + dir},
		"with a dot at the end": {"40000 .git. " + dir},
		"with a space":          {"40000 .git  " + dir},
		"as a stream":           {"40000 .git::$INDEX_ALLOCATION " + dir},
		"invisible character":   {"40000 .g\u200cit " + dir},
		"after a backslash":     {"100644 x\\.git\\config " + blob},
		"up by backslash":       {"100644 ..\\..\\x " + blob},
		"a slash":               {"100644 a/b " + blob},
		"an absolute path":      {"100644 /etc/passwd " + blob},
		"a newline":             {"100644 a\nb " + blob},
		"an escape":             {"100644 a\x1b[31m " + blob},
		"not UTF-8":             {"100644 \xff\xfe " + blob},
		"twice":                 {"100644 a " + blob, "100644 a " + blob},
		"link and directory":    {"120000 a " + blob, "40000 a " + dir},
		"file and directory":    {"100644 a " + blob, "100644 a.b " + blob, "40000 a " + dir},
		"out of order":          {"100644 b " + blob, "100644 a " + blob},
		"a device":              {"60000 a " + blob},
		"mode with letters":     {"10x644 a " + blob},
		"a tree as a file":      {"100644 a " + dir},
		"a file as a tree":      {"40000 a " + blob},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := f.RawTree(lines...)
			require.NoError(t, err)
			text := commitOf(tree)
			// Not over git itself: some of these it does not even send.
			entries := []packed{{1, -1, nil, text}, {2, -1, nil, f.raw(tree)}, {2, -1, nil, f.raw(dir)}, {3, -1, nil, []byte("x")}}
			r := hostile{refs: oneRef(hashOf("commit", text)), pack: pack(4, entries...)}.serve(t, git.Options{})
			err = fetchHostile(t, r)
			require.ErrorIs(t, err, git.ErrMalformed)
			require.True(t, terminal(t, err))
			require.NotContains(t, err.Error(), "\x1b")
		})
	}
	t.Run("by a real server", func(t *testing.T) {
		tree, err := f.RawTree("40000 .GIT " + dir)
		require.NoError(t, err)
		commit, err := f.CommitTree(tree, nil, gitserver.CommitOptions{})
		require.NoError(t, err)
		f.setRef("refs/heads/main", commit)
		f.each(func(t *testing.T, r *git.Remote) { require.ErrorIs(t, fetchHostile(t, r), git.ErrMalformed) })
	})
}

// raw reads the content of an object as it is.
func (f *fixture) raw(hash string) []byte {
	f.t.Helper()
	content, err := f.Content(hash)
	require.NoError(f.t, err)
	return content
}

func TestAttackTreeBombs(t *testing.T) {
	f := newFixture(t)
	blob, err := f.Object("blob", []byte("x"))
	require.NoError(t, err)
	fetch := func(tree string, limits git.Limits) error {
		commit, err := f.CommitTree(tree, nil, gitserver.CommitOptions{})
		require.NoError(t, err)
		f.setRef("refs/heads/main", commit)
		return fetchHostile(t, open(t, f.http.URL+"/repo.git", git.Options{Limits: limits}))
	}
	t.Run("ten to the tenth files", func(t *testing.T) {
		tree := blob
		for level := range 10 {
			var lines []string
			for i := range 10 {
				mode := "40000"
				if level == 0 {
					mode = "100644"
				}
				lines = append(lines, fmt.Sprintf("%s d%d %s", mode, i, tree))
			}
			tree, err = f.RawTree(lines...)
			require.NoError(t, err)
		}
		requireLimit(t, fetch(tree, git.Limits{}), "Files")
	})
	t.Run("deep", func(t *testing.T) {
		tree, err := f.RawTree("100644 x " + blob)
		require.NoError(t, err)
		for range 200 {
			tree, err = f.RawTree("40000 d " + tree)
			require.NoError(t, err)
		}
		requireLimit(t, fetch(tree, git.Limits{}), "Depth")
		requireLimit(t, fetch(tree, git.Limits{Depth: 1000, PathLength: 100}), "PathLength")
		require.NoError(t, fetch(tree, git.Limits{Depth: 1000}))
	})
}

func TestAttackLinksOutOfTheTree(t *testing.T) {
	f := newFixture(t)
	tree := files("dir/file", "inside", "secret", "not below dir")
	link := func(name, target string) {
		tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	bad := map[string]string{
		"absolute":     "/etc/passwd",
		"up":           "../etc/passwd",
		"dir/up":       "../../etc/passwd",
		"down-and-up":  "dir/../../x",
		"proc":         "/proc/self/environ",
		"self":         "self",
		"ping":         "pong",
		"pong":         "ping",
		"dir/circle":   "../dir/circle/x",
		"empty-target": "",
		"nul":          "dir\x00/file",
		"through-file": "dir/file/../../secret",
		"long":         strings.Repeat("dir/../", 1000) + "secret",
		"grow":         "grow/grow",
		"via":          "up",
	}
	for name, target := range bad {
		link(name, target)
	}
	link("ok", "dir/../secret")
	f.commit("main", tree, nil)
	s := snapshot(t, f.remote(), git.Ref{})
	for name := range bad {
		t.Run(name, func(t *testing.T) {
			_, err := s.Open(name)
			require.Error(t, err)
			require.False(t, errors.Is(err, fs.ErrNotExist))
			if name != "through-file" {
				require.ErrorIs(t, err, git.ErrLink)
			}
			_, err = s.Stat(name)
			require.Error(t, err)
			_, err = s.ReadFile(name)
			require.Error(t, err)
			_, err = s.ReadDir(name)
			require.Error(t, err)
			_, err = s.Sub(name)
			require.Error(t, err)
			target, err := s.ReadLink(name)
			require.NoError(t, err, "what it says may be asked")
			require.Equal(t, bad[name], target)
		})
	}
	content, err := s.ReadFile("ok")
	require.NoError(t, err)
	require.Equal(t, "not below dir", string(content))
}

func TestAttackURLs(t *testing.T) {
	for _, url := range []string{
		"", "-", "--upload-pack=touch x", "-oProxyCommand=x", "ext::sh -c x", "ext::sh", "file:///etc", "file://host/x",
		"/srv/repo.git", "./repo", "../repo", "C:\\repo", "git://example.com/x", "git@example.com:org/repo", "ftp://example.com/x",
		"ssh://-oProxyCommand=x/y", "ssh://-x@example.com/y", "https://-x/y", "ssh://git:canary@example.com/y",
		"https://user:canary@example.com/x", "https://canary@example.com/x", "https://example.com", "https://example.com/",
		"https:///x", "https:example.com/x", "https://example.com/x?token=canary", "https://example.com/x#canary",
		"https://exa mple.com/x", "https://example.com/x\ny", "https://example.com/\x00", "https://example.com/%00canary",
		"https://example.com/%zzcanary", "https://exa%41mple.com/canary", "javascript:alert(1)", "http+unix://x/y", "HTTPS",
		"https://example.com/" + strings.Repeat("a", 3000), "ssh://git@example.com/x%0acanary", "https://[::1/x",
	} {
		_, err := git.Open(url, git.Options{})
		require.ErrorIs(t, err, git.ErrInvalidURL, url)
		require.True(t, terminal(t, err))
		require.NotContains(t, err.Error(), "canary")
	}
}

// A path with a quote in it is one word for the shell that runs the command.
func TestAttackQuoteInPath(t *testing.T) {
	f := newFixture(t)
	name := `it's $(touch x); "a" !b \c.git`
	repo := f.create(name)
	_, err := repo.Commit(t.Context(), files("a", "1"), gitserver.CommitOptions{Branch: "main"})
	require.NoError(t, err)
	path := (&httpURL{name}).escaped()
	snapshot(t, open(t, f.ssh.URL+"/"+path, git.Options{Auth: f.sshAuth()}), git.Ref{})
	snapshot(t, open(t, f.http.URL+"/"+path, git.Options{}), git.Ref{})

	_, err = open(t, f.ssh.URL+"/../../"+filepath.Base(f.root), git.Options{Auth: f.sshAuth()}).Resolve(t.Context(), git.Ref{})
	require.Error(t, err)
}

type httpURL struct{ path string }

func (u *httpURL) escaped() string {
	var b strings.Builder
	for _, c := range []byte(u.path) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Credentials go to the origin of the URL and nowhere else.
func TestAttackRedirects(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	backend, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	var leaked atomic.Int64
	var posts atomic.Int64
	spy := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" || req.Header.Get("Cookie") != "" {
			leaked.Add(1)
		}
		if req.Method == http.MethodPost {
			posts.Add(1)
		}
		backend.ServeHTTP(w, req)
	})
	other := httptest.NewServer(spy)
	defer other.Close()
	auth := git.Options{Auth: git.Auth{Username: "u", Password: "canary"}, InsecureCredentials: true}

	redirecting := func(t *testing.T, to string) *git.Remote {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "canary"})
			http.Redirect(w, req, to, http.StatusFound)
		}))
		t.Cleanup(server.Close)
		return open(t, server.URL+"/old.git", auth)
	}
	t.Run("to another port, which is followed without credentials", func(t *testing.T) {
		s := snapshot(t, redirecting(t, other.URL+"/repo.git/info/refs?service=git-upload-pack"), git.Ref{})
		require.Equal(t, "main", s.Revision().Name)
		require.EqualValues(t, 2, posts.Load(), "one for the references, one for the objects")
		require.Zero(t, leaked.Load())
	})
	t.Run("to another port that wants credentials", func(t *testing.T) {
		closed, err := gitserver.ServeHTTP(t.Context(), f.root, gitserver.HTTPOptions{Username: "u", Password: "canary"})
		require.NoError(t, err)
		defer closed.Close()
		_, err = redirecting(t, closed.URL+"/repo.git/info/refs").Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrAuthRequired)
		require.ErrorContains(t, err, "has moved to "+strings.TrimPrefix(closed.URL, "http://"))
		require.NotContains(t, err.Error(), "canary")
	})
	for name, to := range map[string]string{
		"to a file":                "file:///etc/info/refs",
		"to ssh":                   "ssh://example.com/x/info/refs",
		"to an address with login": strings.Replace(other.URL, "http://", "http://u:canary@", 1) + "/repo.git/info/refs",
		"to a login form":          other.URL + "/login",
		"to itself":                "/old.git/info/refs",
		"nowhere":                  "://",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := redirecting(t, to).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrProtocol)
			require.ErrorContains(t, err, "redirect")
			require.NotContains(t, err.Error(), "canary")
		})
	}
	t.Run("from https to http", func(t *testing.T) {
		secure := httptest.NewTLSServer(http.RedirectHandler(other.URL+"/repo.git/info/refs", http.StatusFound))
		defer secure.Close()
		r := open(t, secure.URL+"/x", git.Options{Auth: auth.Auth, CABundle: certificate(secure)})
		_, err := r.Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrProtocol)
		require.ErrorContains(t, err, "from https to http")
	})
	t.Run("of a POST", func(t *testing.T) {
		before := posts.Load()
		r := hostile{refs: oneRef(zeros), post: func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, other.URL+"/repo.git/git-upload-pack", http.StatusTemporaryRedirect)
		}}.serve(t, auth)
		require.ErrorIs(t, fetchHostile(t, r), git.ErrProtocol)
		require.Equal(t, before, posts.Load())
	})
	t.Run("inside the origin, with credentials", func(t *testing.T) {
		closed, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{Username: "u", Password: "canary"})
		require.NoError(t, err)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if rest, ok := strings.CutPrefix(req.URL.Path, "/old.git"); ok {
				http.Redirect(w, req, "/repo.git"+rest+"?"+req.URL.RawQuery, http.StatusMovedPermanently)
				return
			}
			closed.ServeHTTP(w, req)
		}))
		defer server.Close()
		snapshot(t, open(t, server.URL+"/old.git", auth), git.Ref{})
	})
	require.Zero(t, leaked.Load())
}

// Whatever a server does with the credentials that it was given, no error
// repeats them.
func TestAttackCredentialsInErrors(t *testing.T) {
	const canary = "c4n4ry+/=%"
	auths := []git.Auth{{Username: "u", Password: canary}, {BearerToken: canary}}
	basic := base64.StdEncoding.EncodeToString([]byte("u:" + canary))
	echo := func(req *http.Request) string { return req.Header.Get("Authorization") + " " + canary }
	for name, handler := range map[string]http.HandlerFunc{
		"in the body": func(w http.ResponseWriter, req *http.Request) { http.Error(w, echo(req), http.StatusForbidden) },
		"in a page":   func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, echo(req)) },
		"in a header": func(w http.ResponseWriter, req *http.Request) { w.Header().Set("Content-Type", echo(req)) },
		"in a location": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "ftp://"+basic+"@x/"+canary, http.StatusFound)
		},
		"in a status line": func(w http.ResponseWriter, req *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "%s\r\n\r\n", echo(req))
				conn.Close()
			}
		},
		"in an error": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", advertised)
			io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt("ERR "+echo(req)))
		},
		"in a reference": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", advertised)
			io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt(zeros+" refs/heads/"+canary+"\x00\n")+"0000")
		},
		"in a length": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", advertised)
			io.WriteString(w, echo(req))
		},
	} {
		for _, auth := range auths {
			t.Run(name, func(t *testing.T) {
				server := httptest.NewServer(handler)
				defer server.Close()
				r := open(t, server.URL+"/x", git.Options{Auth: auth, InsecureCredentials: true})
				_, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
				require.Error(t, err)
				// Also not below the surface, where a program may look.
				var missing *git.ReferenceError
				if errors.As(err, &missing) {
					require.NotContains(t, missing.Error(), "c4n4ry")
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					for _, secret := range []string{canary, basic, "c4n4ry"} {
						require.NotContains(t, e.Error(), secret)
					}
				}
			})
		}
	}
}

// Two readers of one commit must not see two commits.
func TestAttackAmbiguousCommits(t *testing.T) {
	f := newFixture(t)
	dev := sshSigner(t)
	keys := parseKeys(t, dev.PublicKey())
	good, err := f.Tree(files("a", "good"))
	require.NoError(t, err)
	evil, err := f.Tree(files("a", "evil"))
	require.NoError(t, err)
	const who = "A <a@b> 1 +0000"
	header := "tree " + good + "\nauthor " + who + "\ncommitter " + who + "\n"
	signature, err := dev.Sign([]byte(header + "\nm\n"))
	require.NoError(t, err)
	sig := "gpgsig " + strings.ReplaceAll(strings.TrimSpace(string(signature)), "\n", "\n ") + "\n"

	verify := func(raw string) error {
		text := []byte(raw)
		entries := []packed{{1, -1, nil, text}, {2, -1, nil, f.raw(good)}, {2, -1, nil, f.raw(evil)}, {3, -1, nil, []byte("good")}, {3, -1, nil, []byte("evil")}}
		r := hostile{refs: oneRef(hashOf("commit", text)), pack: pack(5, entries...)}.serve(t, git.Options{})
		rev, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
		require.NoError(t, err)
		s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
		if err != nil {
			require.ErrorIs(t, err, git.ErrMalformed)
			return err
		}
		_, err = s.Verify(keys, git.ModeHead)
		return err
	}
	require.NoError(t, verify(header+sig+"\nm\n"), "the honest one")

	for name, raw := range map[string]string{
		"second tree after":          header + "tree " + evil + "\n" + sig + "\nm\n",
		"second tree before":         "tree " + evil + "\n" + header + sig + "\nm\n",
		"tree behind the signature":  header + sig + "tree " + evil + "\n\nm\n",
		"second author":              "tree " + good + "\nauthor " + who + "\nauthor " + who + "\ncommitter " + who + "\n" + sig + "\nm\n",
		"second committer":           header + "committer " + who + "\n" + sig + "\nm\n",
		"parent behind":              header + "parent " + zeros + "\n" + sig + "\nm\n",
		"two signatures":             header + sig + sig + "\nm\n",
		"a NUL in the header":        strings.Replace(header, "author A", "author A\x00", 1) + sig + "\nm\n",
		"no end of header":           header + strings.TrimSuffix(sig, "\n"),
		"no tree":                    "author " + who + "\ncommitter " + who + "\n" + sig + "\nm\n",
		"wrong order":                "author " + who + "\ntree " + good + "\ncommitter " + who + "\n" + sig + "\nm\n",
		"begins with a continuation": " x\n" + header + sig + "\nm\n",
		"tree in capitals":           strings.Replace(header, good, strings.ToUpper(good), 1) + sig + "\nm\n",
		"another tree":               strings.Replace(header, good, evil, 1) + sig + "\nm\n",
		"header like a signature":    header + "gpgsigx " + zeros + "\n" + "encoding x\n" + sig + "\nm\n",
		"message with a header":      header + sig + "\nm\ntree " + evil + "\n",
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, verify(raw)) })
	}
}

// A good signature on one tag says nothing about another, and one for another
// purpose nothing about a tag.
func TestAttackSignatureReplay(t *testing.T) {
	f := newFixture(t)
	release, dev := pgpSigner(t), sshSigner(t)
	keys := parseKeys(t, release.PublicKey(), dev.PublicKey())
	old := f.commit("main", files("a", "old"), dev)
	signed := f.tag("v1.0.0", old, release)
	verify := func(tag string) error {
		_, err := snapshot(t, f.remote(), git.Ref{Tag: tag}).Verify(keys, git.ModeTag)
		return err
	}
	require.NoError(t, verify("v1.0.0"))

	t.Run("an old tag as a new one", func(t *testing.T) {
		f.setRef("refs/tags/v2.0.0", signed)
		require.ErrorIs(t, verify("v2.0.0"), git.ErrTagName)
		require.ErrorContains(t, verify("v2.0.0"), `signed as "v1.0.0"`)
		f.setRef("refs/tags/x/v1.0.0", signed)
		require.ErrorIs(t, verify("x/v1.0.0"), git.ErrTagName)
	})
	t.Run("another commit below the tag", func(t *testing.T) {
		evil := f.commit("evil", files("a", "evil"), nil)
		raw := strings.Replace(string(f.raw(signed)), old, evil, 1)
		hash, err := f.Object("tag", []byte(raw))
		require.NoError(t, err)
		f.setRef("refs/tags/v1.0.0", hash)
		require.ErrorIs(t, verify("v1.0.0"), git.ErrBadSignature)
	})
	t.Run("two signatures", func(t *testing.T) {
		raw := string(f.raw(signed))
		_, sig, _ := strings.Cut(raw, "-----BEGIN PGP")
		hash, err := f.Object("tag", []byte(raw+"evil\n-----BEGIN PGP"+sig))
		require.NoError(t, err)
		f.setRef("refs/tags/v1.0.0", hash)
		require.ErrorIs(t, verify("v1.0.0"), git.ErrBadSignature)
	})
	t.Run("text after the signature", func(t *testing.T) {
		hash, err := f.Object("tag", append(f.raw(f.tag("v3.0.0", old, dev)), "and more\n"...))
		require.NoError(t, err)
		f.setRef("refs/tags/v3.0.0", hash)
		require.ErrorIs(t, verify("v3.0.0"), git.ErrBadSignature)
	})
	t.Run("a signature of a file", func(t *testing.T) {
		forFile, err := gitserver.NewSSHSigner("dev")
		require.NoError(t, err)
		forFile.Namespace = "file"
		f.tag("v4.0.0", old, forFile)
		s := snapshot(t, f.remote(), git.Ref{Tag: "v4.0.0"})
		_, err = s.Verify(parseKeys(t, forFile.PublicKey()), git.ModeTag)
		require.ErrorIs(t, err, git.ErrBadSignature)
		require.ErrorContains(t, err, `made for "file"`)
	})
	t.Run("x509", func(t *testing.T) {
		f.tag("v5.0.0", old, x509Signer{})
		require.ErrorIs(t, verify("v5.0.0"), git.ErrUnsupportedSignature)
	})
}

type x509Signer struct{}

func (x509Signer) Sign([]byte) ([]byte, error) {
	return []byte("-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----\n"), nil
}
func (x509Signer) PublicKey() []byte { return nil }

// A server that stops in the middle of anything holds nobody up.
func TestAttackStuckServer(t *testing.T) {
	commit, _ := tiny("hello\n")
	hang := func(req *http.Request) { <-req.Context().Done() }
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	stuck := map[string]func(t *testing.T, opts git.Options) *git.Remote{
		"before the headers": func(t *testing.T, opts git.Options) *git.Remote {
			return hostile{get: func(_ http.ResponseWriter, req *http.Request) { hang(req) }}.serve(t, opts)
		},
		"in the references": func(t *testing.T, opts git.Options) *git.Remote {
			return hostile{get: func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", advertised)
				io.WriteString(w, pkt("# service=git-upload-pack\n")+"00")
				flush(w)
				hang(req)
			}}.serve(t, opts)
		},
		"in the pack": func(t *testing.T, opts git.Options) *git.Remote {
			return hostile{refs: oneRef(commit), post: func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", result)
				io.WriteString(w, pkt("NAK\n")+pkt("\x01PACK"))
				flush(w)
				_, _ = io.Copy(io.Discard, req.Body)
				hang(req)
			}}.serve(t, opts)
		},
		"before the SSH handshake": func(t *testing.T, opts git.Options) *git.Remote {
			return stuckTCP(t, opts, "")
		},
		"in the SSH handshake": func(t *testing.T, opts git.Options) *git.Remote {
			return stuckTCP(t, opts, "SSH-2.0-stuck\r\n")
		},
		"after the SSH command": stuckCommand,
	}
	for name, serve := range stuck {
		for _, how := range []string{"cancelled", "by deadline", "by limit"} {
			t.Run(name+", "+how, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				opts := git.Options{}
				switch how {
				case "cancelled":
					timer := time.AfterFunc(200*time.Millisecond, cancel)
					defer timer.Stop()
				case "by deadline":
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, 200*time.Millisecond)
					defer stop()
				case "by limit":
					opts.Limits.Time = 200 * time.Millisecond
				}
				r := serve(t, opts)
				begin := time.Now()
				rev, err := r.Resolve(ctx, git.Ref{Branch: "main"})
				if err == nil {
					_, err = r.Fetch(ctx, rev, git.FetchOptions{})
				}
				require.Less(t, time.Since(begin), time.Minute)
				switch how {
				case "cancelled":
					require.ErrorIs(t, err, context.Canceled)
				case "by deadline":
					require.ErrorIs(t, err, context.DeadlineExceeded)
				case "by limit":
					requireLimit(t, err, "Time")
				}
			})
		}
	}
}

// stuckTCP accepts connections, says a word and then nothing.
func stuckTCP(t *testing.T, opts git.Options, word string) *git.Remote {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, word)
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	opts.Auth.SSHKey = key
	return open(t, "ssh://git@"+l.Addr().String()+"/x", opts)
}

// stuckCommand is an SSH server that accepts everything and says nothing.
func stuckCommand(t *testing.T, opts git.Options) *git.Remote {
	t.Helper()
	user, hostKey := sshSigner(t), sshSigner(t)
	private, err := hostKey.PrivateKey()
	require.NoError(t, err)
	signer, err := ssh.ParsePrivateKey(private)
	require.NoError(t, err)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, channels, requests, err := ssh.NewServerConn(conn, config)
			if err != nil {
				conn.Close()
				continue
			}
			go ssh.DiscardRequests(requests)
			for c := range channels {
				_, requests, err := c.Accept()
				if err != nil {
					break
				}
				go func() {
					for req := range requests {
						_ = req.Reply(true, nil)
					}
				}()
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	opts.Auth.SSHKey, err = user.PrivateKey()
	require.NoError(t, err)
	opts.Auth.KnownHosts = []byte("[127.0.0.1]:* " + keyText(signer.PublicKey()))
	return open(t, "ssh://git@"+l.Addr().String()+"/x", opts)
}
