package git_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

const someModules = `# comment
[submodule "lib/a"]
	path = lib/a ; where
	url = https://example.com/a.git # from
	branch = main
[Submodule "with \"quotes\\"]
	PATH = "dir with  spaces/b"
	URL = ../b.git
[core] bare
[submodule "no path"] url = ../c.git
[submodule.old] path = old/
[submodule "old"] url = ./o\
ld.git
`

func TestGitmodules(t *testing.T) {
	want := [][3]string{
		{"lib/a", "lib/a", "https://example.com/a.git"},
		{`with "quotes\`, "dir with  spaces/b", "../b.git"},
		{"old", "old", "./old.git"},
	}
	for _, raw := range []string{someModules, strings.ReplaceAll(someModules, "\n", "\r\n"), "\ufeff" + someModules} {
		list, err := git.ParseGitmodules([]byte(raw))
		require.NoError(t, err)
		require.Equal(t, want, list)
	}
	list, err := git.ParseGitmodules(nil)
	require.NoError(t, err)
	require.Empty(t, list)
	list, err = git.ParseGitmodules([]byte("[submodule \"a\"]\npath=a\n"))
	require.NoError(t, err)
	require.Equal(t, [][3]string{{"a", "a", ""}}, list, "one without a URL is for the caller to refuse, if the tree has it")
}

func TestAttackGitmodules(t *testing.T) {
	module := func(name, path string) string {
		return "[submodule \"" + name + "\"]\n\tpath = " + path + "\n\turl = https://example.com/x\n"
	}
	for _, raw := range []string{
		// Names and paths that are none.
		module("..", "a"), module("../../x", "a"), module(`a\\..\\b`, "a"), module("", "a"), module("a/..", "a"),
		module("a", ".."), module("a", "../x"), module("a", "x/../../y"), module("a", "/abs"), module("a", "x//y"), module("a", "."),
		module("a", ".git"), module("a", ".git/hooks"), module("a", "x/.GIT/hooks"), module("a", "git~1"), module("a", ".git\u200c"),
		module("a", "-x"), module("a", `"a\nb"`), module("a", `a\\..\\..\\b`), module("a", `.git::$INDEX_ALLOCATION`), module("a", "\"a\tb\""),
		module("a", "\xff"), module("a", ""), "[submodule \"a\"]\n path\n", "[submodule \"a\"]\n path = a\n url\n",
		// Two answers to one question.
		module("a", "x") + module("b", "x"), module("a", "x") + module("b", "x/"), module("a", "x") + module("a", "y"),
		module("a", "x") + "\turl = https://example.com/y\n", "[submodule \"a\"]\npath = a\nPath = b\n",
		// What git cannot read.
		"[submodule \"a]", "[submodule \"a\"", "[submodule \"a\n\"]", "[submodule a]", "[submodule\"a\"]", "[]", "[submodule \"a\" ]", "[submodule \"a\\", "=",
		"path = a", "[submodule \"a\"]\npath a", "[submodule \"a\"]\npath = \"a", "[submodule \"a\"]\npath = \\x", "[submodule \"a\"]\npath = a\x00b",
		"[submodule \"a\"]\npath = a\\", "\x00", "[submodule \"a\"] path = x [submodule \"b\"] path = \\", "é = 1",
		strings.Repeat(" ", 1<<20+1),
	} {
		_, err := git.ParseGitmodules([]byte(raw))
		require.ErrorIs(t, err, git.ErrMalformed, "%q", raw[:min(100, len(raw))])
		require.True(t, terminal(t, err))
	}
	// Long ones take no longer than they are.
	for _, line := range []string{"a=#\n", "[a]", "[a \"b\"]c=d\\\n", "a=\"\\\"\"\n", ";\n", "a=      b      \n", "[submodule \"x\"]\n"} {
		start := time.Now()
		_, err := git.ParseGitmodules([]byte("[x]\n" + strings.Repeat(line, (1<<20-4)/len(line))))
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Minute, "%q", line)
	}
}

// What is accepted is what git reads.
func TestConfigIsReadAsGitReadsIt(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, seed))
	pieces := []string{
		"[submodule \"a\"]", "[submodule \"b c\"]", "[Core]", "[a.B \"C\"]", "[x \"\\\"\\\\\"]", "path", "=", " = ", "url", "a/b", "\n", "\n", "\n", "\r\n",
		"# c", ";", "\"", "\\\"", "\\n", "\\\n", "\\", " ", "  ", "]", "[", "é", "true", "\\\\", "-", "1",
	}
	same := func(raw string) bool {
		got, err := git.ParseConfig([]byte(raw))
		if err != nil {
			return false
		}
		cmd := exec.CommandContext(t.Context(), "git", "config", "--file=-", "--list", "--null")
		cmd.Env, cmd.Stdin = gitserver.Environ(), strings.NewReader(raw)
		out, err := cmd.Output()
		require.NoError(t, err, "%q", raw)
		var want bytes.Buffer
		for _, s := range got {
			key := s[0] + "." + s[2]
			if s[1] != "" {
				key = s[0] + "." + s[1] + "." + s[2]
			}
			want.WriteString(key + "\n" + s[3] + "\x00")
		}
		// A key alone has no line for its value.
		text := string(out)
		for _, s := range strings.Split(text, "\x00") {
			if s != "" && !strings.Contains(s, "\n") {
				text = strings.Replace(text, s+"\x00", s+"\n\x00", 1)
			}
		}
		require.Equal(t, want.String(), text, "%q", raw)
		return len(got) > 0
	}
	require.True(t, same(someModules))
	read := 0
	for range 3000 {
		raw := "[s]\n"
		for range r.IntN(12) {
			raw += pieces[r.IntN(len(pieces))]
		}
		if same(raw) {
			read++
		}
	}
	require.Greater(t, read, 50, "the test must meet what can be read")
}

func FuzzGitmodules(f *testing.F) {
	f.Add([]byte(someModules))
	f.Add([]byte("[submodule \"a\"]\npath = \"a\\\n\"b\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := git.ParseGitmodules(raw)
		if err != nil {
			return
		}
		paths := map[string]bool{}
		for _, m := range list {
			require.NotEmpty(t, m[0])
			require.False(t, paths[m[1]])
			paths[m[1]] = true
			for _, element := range strings.Split(m[1], "/") {
				require.Empty(t, git.BadName(element))
			}
		}
	})
}

func TestSubmoduleURL(t *testing.T) {
	for _, test := range []struct{ parent, raw, want string }{
		{"https://example.com/org/repo.git", "https://other.example/x.git", "https://other.example/x.git"},
		{"https://example.com/org/repo.git", "HTTPS://other.example/x", "https://other.example/x"},
		{"https://example.com/org/repo.git", "ssh://git@other.example:2222/x", "ssh://git@other.example:2222/x"},
		{"https://example.com/org/repo.git", "git@other.example:org/x.git", "ssh://git@other.example/org/x.git"},
		{"https://example.com/org/repo.git", "git@other.example:/srv/x?y.git", "ssh://git@other.example/srv/x%3Fy.git"},
		{"https://example.com/org/repo.git", "other.example:x%41", "ssh://other.example/x%2541"},
		{"https://example.com/org/repo.git", "git@other.example:~me/x", "ssh://git@other.example/~me/x"},
		{"http://example.com/org/repo.git", "http://other.example/x", "http://other.example/x"},

		// As git resolves them.
		{"https://example.com/org/repo.git", "../lib.git", "https://example.com/org/lib.git"},
		{"https://example.com/org/repo.git", "../../other/lib", "https://example.com/other/lib"},
		{"https://example.com/org/repo.git", "./lib", "https://example.com/org/repo.git/lib"},
		{"https://example.com/org/repo.git", "./../lib/", "https://example.com/org/lib"},
		{"https://example.com/org/repo.git/", ".././../lib", "https://example.com/lib"},
		{"https://example.com:8443/a%2Fb/repo", "../l%20b", "https://example.com:8443/a%2Fb/l%20b"},
		{"ssh://git@example.com:22/org/repo", "../lib", "ssh://git@example.com:22/org/lib"},
		{"http://example.com/org/repo", "../lib", "http://example.com/org/lib"},
	} {
		got, err := git.SubmoduleURL(test.parent, test.raw)
		require.NoError(t, err, test.raw)
		require.Equal(t, test.want, got, test.raw)
	}
}

func TestAttackSubmoduleURL(t *testing.T) {
	for _, raw := range []string{
		"", " ", "-u", "--upload-pack=x", "-x@host:y", "git@-oProxyCommand=x:y", "git@host:-x", "ssh://-oProxyCommand=x/y", "ssh://-x@host/y",
		"file:///etc", "file:/etc", "/etc", "etc", "dir/x:y", "C:\\x", "ext::sh -c id", "ext::sh", "fd::3", "git://example.com/x", "ftp://example.com/x",
		"https:/x", "https:x", "git+ssh://example.com/x", "javascript://x/y", "http://example.com/x",
		"https://user:canary@example.com/x", "https://user@example.com/x", "ssh://git:canary@example.com/x", "user:canary@example.com:x",
		"https://example.com/x?canary", "https://example.com/x#y", "https://example.com/", "https:///x", "https://example.com/a/../../b", "https://example.com/%2e%2e/b",
		"https://example.com/x\nurl = y", "git@example.com:x\ny", "git@example.com:x y\x00", "../x\ny", "https://example.com/x%0ay",
		"../../../x", "../../..", "../..", "./../../../x", "../x/../../../../y", "..//x", "./x//y", "../x?y", "../x#y", `..\x`, `../..\x`, "..", ".", "../%2e%2e/%2e%2e/x", "./ x",
		"@host:x", "host:", "git@:x", "git@[::1]:x", "git@host:a/../../b", "a@b@c:d", ":x", "git@host:", "//example.com/x",
		strings.Repeat("a", 3000) + ":x", "https://example.com/" + strings.Repeat("a", 3000),
	} {
		got, err := git.SubmoduleURL("https://example.com/org/repo.git", raw)
		require.ErrorIs(t, err, git.ErrInvalidURL, "%q gave %q", raw, got)
		require.True(t, terminal(t, err))
		require.NotContains(t, err.Error(), "canary")
	}
	_, err := git.SubmoduleURL("ssh://git@example.com/org/repo.git", "http://example.com/x")
	require.ErrorIs(t, err, git.ErrInvalidURL)
}

// Whatever is relative stays on the host, and what is accepted can be opened.
func FuzzSubmoduleURL(f *testing.F) {
	for _, raw := range []string{"../x", "./../y/", "git@host:x", "https://example.com/x", "../%2e%2e/x", "..\\x"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		const host = "https://example.com/"
		got, err := git.SubmoduleURL(host+"org/repo.git", raw)
		if err != nil {
			require.ErrorIs(t, err, git.ErrInvalidURL)
			return
		}
		if strings.HasPrefix(raw, ".") && !strings.Contains(raw, ":") {
			require.True(t, strings.HasPrefix(got, host), got)
		}
		again, err := git.SubmoduleURL(host+"org/repo.git", got)
		require.NoError(t, err)
		require.Equal(t, got, again)
		if strings.HasPrefix(got, "https://") {
			r, err := git.Open(got, git.Options{})
			require.NoError(t, err)
			require.NoError(t, r.Close())
		}
	})
}

func TestAttackSubmoduleCredentials(t *testing.T) {
	opts := git.Options{
		Auth: git.Auth{Username: "u", Password: "canary"}, CABundle: []byte("x"), InsecureCredentials: true,
		Limits:        git.Limits{Files: 7},
		WrapTransport: func(rt http.RoundTripper) http.RoundTripper { return rt },
	}
	const parent = "https://example.com/org/repo"
	ask := func(how *git.Submodules, address string) git.Options {
		t.Helper()
		got, err := git.SubmoduleOptions(t.Context(), parent, opts, how, address)
		require.NoError(t, err)
		return got
	}
	for _, same := range []string{"https://example.com/x", "https://EXAMPLE.com:443/x"} {
		require.Equal(t, opts.Auth, ask(nil, same).Auth)
		require.Equal(t, opts.Auth, ask(&git.Submodules{}, same).Auth)
	}
	for _, other := range []string{
		"https://example.com:8443/x", "https://example.org/x", "https://sub.example.com/x", "https://example.com.evil.example/x",
		"ssh://git@example.com/x", "http://example.com/x", "https://example.com./x",
	} {
		require.Equal(t, git.Options{Limits: opts.Limits}, ask(nil, other), other)
	}
	why := errors.New("not this one")
	how := &git.Submodules{Options: func(_ context.Context, url string) (git.Options, error) {
		if url == "https://example.com/x" {
			return git.Options{}, why
		}
		return git.Options{Auth: git.Auth{BearerToken: url}}, nil
	}}
	require.Equal(t, "https://example.org/x", ask(how, "https://example.org/x").Auth.BearerToken)
	_, err := git.SubmoduleOptions(t.Context(), parent, opts, how, "https://example.com/x")
	require.ErrorIs(t, err, why)
}
