package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

// packList returns the paths that are packed, sorted.
func packList(t testing.TB, tree fs.FS, opts artifact.PackOptions) []string {
	t.Helper()
	archive, _ := pack(t, tree, opts)
	opened, err := artifact.Open(t.Context(), bytes.NewReader(archive), artifact.OpenOptions{})
	require.NoError(t, err)
	var list []string
	require.NoError(t, fs.WalkDir(opened, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, name)
		}
		return err
	}))
	slices.Sort(list)
	return list
}

// packGit is a repository whose git says what it ignores.
type packGit struct{ git, dir string }

func newPackGit(t testing.TB) *packGit {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git to compare with")
	}
	g := &packGit{git, t.TempDir()}
	g.run(t.Context(), t, "", "init", "-q")
	return g
}

func (g *packGit) run(ctx context.Context, t testing.TB, in string, args ...string) string {
	t.Helper()
	args = append([]string{"-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false"}, args...)
	cmd := exec.CommandContext(ctx, g.git, args...)
	cmd.Dir, cmd.Stdin = g.dir, strings.NewReader(in)
	cmd.Env = []string{"HOME=" + g.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 { // which means none
		require.NoError(t, err, "git %q", args)
	}
	return string(out)
}

// kept returns which of the files in a tree git does not ignore.
func (g *packGit) kept(t testing.TB, tree fstest.MapFS) []string {
	t.Helper()
	names := slices.Sorted(maps.Keys(tree))
	out := g.run(t.Context(), t, strings.Join(names, "\x00"), "check-ignore", "--no-index", "-z", "--stdin")
	ignored := map[string]bool{}
	for name := range strings.SplitSeq(out, "\x00") {
		ignored[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool { return ignored[name] })
}

var packPatterns = []string{
	"a", "/a", "a/", "/a/", "a/b", "/a/b", "a/b/", "a/*", "*/b", "*", "/*", "*/", "**", "**/", "/**", "**/b", "a/**",
	"a/**/b", "a/**/", "a/**/**/b", "**/a/**", "***", "a***", "a/***/b", "a**/b", "a/b**", "**b", "a**", "x**/b",
	"*.md", "*.", ".*", "a.*", "?", "??", "a?", "?/b", "[ab]", "[!a]", "[^a]", "[a-c]", "[c-a]", "[]a]", "[!]a]", "[a-]", "[-a]",
	"[a", "[", "[]", "[!]", "[[:alpha:]]", "[[:digit:]x]", "[[:nope:]]", "[[:alpha]", "[[:alpha:", "[[a]", "[a[:upper:]]", "[[:xdigit:]-z]",
	`[\]]`, `[\a-c]`, `[a-\c]`, `[a\]`, `\a`, `\*`, `a\`, `a\/b`, `**\/b`, `\!a`, `\#a`, `\ `, "#a", "!a", "!", "/", "//", "a//b", "/a//",
	"a ", `a\ `, "a  ", " a", "  ", `a \`, "a\t", "a/ ", "ä", "?́", "[ä]", "[^x]*", "a*b*c", "*a*b*", "a/?/c", "a/*/c", "*/*/c",
	"*/**/c", "**/*", "**/*/c", "a/[b/c]", "a[/]b", "a/b/c/d", "c/d", "/c/d", "*.tar.gz", "b.c", "a-b", "A", "[A-Z]", "a\r", ".",
	"..", "./a", "a/.", "*b/c", "/*b", "a*/c", "a*", "*c*/d", "a\x00b",
}

var packNames = []string{"a", "b", "c", "d", "ab", "abc", "A", "a b", "a ", " a", "#a", "!a", "a*", "*", "[", "]", "\\", "-", "a.md", ".md", "a.tar.gz", "ä", "x1", "b.c"}

// packTree is a tree of all paths of up to two names, and some longer ones, below
// a directory.
func packTree(dir, ignore string, r *rand.Rand) fstest.MapFS {
	tree := fstest.MapFS{path.Join(dir, ".gitignore"): {Data: []byte(ignore)}}
	add := func(parts ...string) {
		name := path.Join(append([]string{dir}, parts...)...)
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			if tree[parent] != nil {
				return // it is a file
			}
		}
		for other := range tree {
			if strings.HasPrefix(other, name+"/") {
				return // it is a directory
			}
		}
		tree[name] = &fstest.MapFile{}
	}
	pick := func() string { return packNames[r.IntN(len(packNames))] }
	for _, parts := range [][]string{{"a", "b", "c", "d"}, {"a", "x1", "b"}, {"c", "a"}, {"b", "a", "b"}, {"a", "c"}, {"b", "c", "d"}, {"ab", "b"}, {"abc"}, {"d"}, {"x1", "b", "b"}} {
		add(parts...)
	}
	for range 25 {
		parts := make([]string, 1+r.IntN(4))
		for i := range parts {
			parts[i] = pick()
		}
		add(parts...)
	}
	return tree
}

// Every pattern means what it means for git: alone, in pairs, and in random texts.
func TestIgnoreIsGits(t *testing.T) {
	g := newPackGit(t)
	r := rand.New(rand.NewPCG(5, 6))
	texts := slices.Clone(packPatterns)
	for _, p := range packPatterns {
		texts = append(texts, "*\n!"+p+"\n", "a\n!"+p, "*/\n!a/\n!"+p+"\r\n")
	}
	for range 600 {
		var text strings.Builder
		for range 1 + r.IntN(4) {
			if r.IntN(3) == 0 {
				text.WriteString("!")
			}
			if r.IntN(2) == 0 {
				text.WriteString(packPatterns[r.IntN(len(packPatterns))])
			} else {
				for range 1 + r.IntN(7) {
					text.WriteString([]string{"a", "b", "c", "*", "**", "/", "?", "[ab]", "[!b]", `\`, "x1", ".", "/**/", "d"}[r.IntN(14)])
				}
			}
			text.WriteString("\n")
		}
		texts = append(texts, text.String())
	}
	tree := fstest.MapFS{}
	for i, text := range texts {
		maps.Copy(tree, packTree(fmt.Sprintf("case%d", i), text, r))
	}
	maps.Copy(tree, packTree("bom", "\ufeffb\n", r))
	// Below other ignore files.
	for i := range 200 {
		dir := fmt.Sprintf("case%d", r.IntN(len(texts)))
		for _, sub := range []string{"a", "b", "a/b"} {
			name := path.Join(dir, sub, ".gitignore")
			if tree[path.Join(dir, sub)] == nil && tree[path.Join(dir, "a")] == nil && tree[path.Join(dir, "b")] == nil {
				tree[name] = &fstest.MapFile{Data: []byte(texts[(i*7)%len(texts)])}
			}
		}
	}
	for name, f := range tree {
		if path.Base(name) == ".gitignore" {
			writeTree(t, g.dir, fstest.MapFS{name: f})
		}
	}
	want := g.kept(t, tree)
	cases := map[string]fstest.MapFS{}
	for name, f := range tree {
		dir, rest, _ := strings.Cut(name, "/")
		if cases[dir] == nil {
			cases[dir] = fstest.MapFS{}
		}
		cases[dir][rest] = f
	}
	for dir, tree := range cases {
		got := packList(t, tree, artifact.PackOptions{Workers: 1, Ignore: artifact.Ignore{File: ".gitignore"}})
		for name := range tree {
			_, wanted := slices.BinarySearch(want, dir+"/"+name)
			if _, found := slices.BinarySearch(got, name); wanted != found {
				t.Errorf("%q: git keeps it: %v, we: %v, by %q", name, wanted, found, tree[".gitignore"].Data)
			}
		}
	}
	require.Greater(t, len(want), len(tree)/4, "the patterns leave enough to compare")
	require.Less(t, len(want), len(tree)*3/4)
}

// FuzzIgnore compares with git, and holds that any text is read in bounded time.
func FuzzIgnore(f *testing.F) {
	for i, p := range packPatterns {
		f.Add(p, packPatterns[(i+7)%len(packPatterns)], "a/b/c")
	}
	f.Add(strings.Repeat("**/", 100)+"x", strings.Repeat("*a", 100), strings.Repeat("a/", 30)+strings.Repeat("a", 100))
	f.Add(strings.Repeat("*", 1000), "[[:"+strings.Repeat("a", 100), "a")
	git := ""
	if _, err := exec.LookPath("git"); err == nil {
		git = f.TempDir()
	}
	f.Fuzz(func(t *testing.T, outer, inner, name string) {
		if !fs.ValidPath(name) || strings.ContainsRune(name, 0) || len(name) > 200 || strings.Count(name, "/") > 50 {
			return
		}
		tree := fstest.MapFS{".gitignore": {Data: []byte(outer)}, "a/.gitignore": {Data: []byte(inner)}}
		for part := range strings.SplitSeq(name, "/") {
			if strings.EqualFold(part, ".git") || strings.EqualFold(part, ".gitignore") || len(part) > 100 {
				return
			}
		}
		if name == "a" || name == "." {
			return
		}
		tree[name] = &fstest.MapFile{}
		got := packList(t, tree, artifact.PackOptions{Ignore: artifact.Ignore{File: ".gitignore"}})
		if git == "" || strings.Count(outer, "*") > 8 || strings.Count(inner, "*") > 8 {
			return // git takes exponential time
		}
		g := &packGit{"git", filepath.Join(git, "r")}
		g.reset(t)
		writeTree(t, g.dir, fstest.MapFS{".gitignore": tree[".gitignore"], "a/.gitignore": tree["a/.gitignore"]})
		require.Equal(t, strings.Join(g.kept(t, tree), "\n"), strings.Join(got, "\n"))
	})
}

// reset makes the repository if it is not there.
func (g *packGit) reset(t testing.TB) {
	t.Helper()
	require.NoError(t, os.MkdirAll(g.dir, 0o700))
	if _, err := os.Stat(filepath.Join(g.dir, ".git")); err != nil {
		g.run(t.Context(), t, "", "init", "-q")
	}
}

func TestIgnore(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	base := func(more fstest.MapFS) fstest.MapFS {
		tree := fstest.MapFS{
			".git/config": file(""), ".github/ci.yaml": file(""), "app/.gitignore": file(""), "app/.sops.yaml": file(""),
			"app/app.yaml": file(""), "app/logo.png": file(""), "docs/README.md": file(""), "docs/deep/README.md": file(""),
		}
		maps.Copy(tree, more)
		return tree
	}
	for name, tt := range map[string]struct {
		tree   fstest.MapFS
		ignore artifact.Ignore
		want   string
	}{
		"nothing":  {base(nil), artifact.Ignore{}, ".git/config .github/ci.yaml app/.gitignore app/.sops.yaml app/app.yaml app/logo.png docs/README.md docs/deep/README.md"},
		"defaults": {base(nil), artifact.SourceIgnore(), "app/app.yaml docs/README.md docs/deep/README.md"},
		"a pattern switches the defaults off": {
			base(nil), artifact.SourceIgnore("/docs/"), ".github/ci.yaml app/.sops.yaml app/app.yaml app/logo.png",
		},
		"so does a file anywhere": {
			base(fstest.MapFS{"docs/deep/.sourceignore": file("# only this\n*.md\n")}), artifact.SourceIgnore(),
			".github/ci.yaml app/.sops.yaml app/app.yaml app/logo.png docs/README.md docs/deep/.sourceignore",
		},
		"but not one without a pattern": {
			base(fstest.MapFS{".sourceignore": file("# nothing\n\n")}), artifact.SourceIgnore(""),
			".sourceignore app/app.yaml docs/README.md docs/deep/README.md",
		},
		"nor one where nobody looks": {
			base(fstest.MapFS{".git/.sourceignore": file("x")}), artifact.SourceIgnore(), "app/app.yaml docs/README.md docs/deep/README.md",
		},
		"Git's files can be brought back": {
			base(nil), artifact.SourceIgnore("!.gitignore", "/docs"), ".github/ci.yaml app/.gitignore app/.sops.yaml app/app.yaml app/logo.png",
		},
		"the caller wins over the deepest file": {
			base(fstest.MapFS{"docs/deep/.sourceignore": file("*.md")}), artifact.SourceIgnore("/*\n!/docs\n!*.md"),
			"docs/README.md docs/deep/.sourceignore docs/deep/README.md",
		},
		"a file counts below its directory only": {
			base(fstest.MapFS{"docs/.sourceignore": file("/README.md\n*.png\n.sourceignore")}), artifact.SourceIgnore(),
			".github/ci.yaml app/.sops.yaml app/app.yaml app/logo.png docs/deep/README.md",
		},
		"a deeper file wins": {
			base(fstest.MapFS{".sourceignore": file("*.md"), "docs/deep/.sourceignore": file("!README.md")}), artifact.SourceIgnore(),
			".github/ci.yaml .sourceignore app/.sops.yaml app/app.yaml app/logo.png docs/deep/.sourceignore docs/deep/README.md",
		},
		"only one directory": {base(nil), artifact.SourceIgnore("/*", "!/app"), "app/.sops.yaml app/app.yaml app/logo.png"},
		"a link is no ignore file": {
			base(fstest.MapFS{".sourceignore": {Data: []byte("docs/README.md"), Mode: fs.ModeSymlink}}), artifact.SourceIgnore(),
			".sourceignore app/app.yaml docs/README.md docs/deep/README.md",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := packList(t, tt.tree, artifact.PackOptions{Ignore: tt.ignore})
			require.Equal(t, tt.want, strings.Join(got, " "))
		})
	}
}

// What is left out is not looked at.
func TestIgnoredDirectoryIsNotRead(t *testing.T) {
	tree := fstest.MapFS{"out/pipe": {Mode: fs.ModeNamedPipe}, "out/.ignore": {Data: []byte("!*")}, "in": {}}
	asked := 0
	got := packList(t, packUnread{tree, "out", t}, artifact.PackOptions{
		Ignore: artifact.Ignore{File: ".ignore", Always: []string{"out/"}, Fallback: []string{"nothing"}},
		Skip:   func(name string, _ fs.DirEntry) bool { asked++; return name != "in" },
	})
	require.Equal(t, []string{"in"}, got)
	require.Equal(t, 1, asked)
}

type packUnread struct {
	fstest.MapFS
	name string
	t    *testing.T
}

func (u packUnread) ReadDir(name string) ([]fs.DirEntry, error) {
	require.NotEqual(u.t, u.name, name)
	return u.MapFS.ReadDir(name)
}

func TestAttackIgnore(t *testing.T) {
	slow := strings.Repeat("*a", 500) + "b"
	deep := strings.Repeat("**/", 300) + "b"
	tree := fstest.MapFS{}
	for i := range 50 {
		tree[fmt.Sprintf("%s/%s%d", strings.Repeat("a/", 50)+"a", strings.Repeat("a", 200), i)] = &fstest.MapFile{}
	}
	t.Run("patterns that some take for ever on", func(t *testing.T) {
		got := packList(t, tree, artifact.PackOptions{Ignore: artifact.Ignore{Patterns: []string{slow, deep, "/" + slow, strings.Repeat("*", 1000) + "b"}}})
		require.Len(t, got, 50)
	})
	for name, tt := range map[string]struct {
		ignore artifact.Ignore
		limits artifact.Limits
		limit  string
	}{
		"work":     {artifact.Ignore{Patterns: []string{slow, deep}}, artifact.Limits{IgnoreSteps: 10_000}, "IgnoreSteps"},
		"patterns": {artifact.Ignore{Patterns: []string{strings.Repeat("a\n", 200<<10)}}, artifact.Limits{}, "IgnoreBytes"},
		"files":    {artifact.Ignore{File: ".ignore"}, artifact.Limits{}, "IgnoreBytes"},
		"one file": {artifact.Ignore{File: "huge"}, artifact.Limits{}, "IgnoreBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := maps.Clone(tree)
			tree["huge"] = &fstest.MapFile{Data: bytes.Repeat([]byte("#\n"), 10<<20)}
			for i := range 40 {
				tree[fmt.Sprintf("%d/.ignore", i)] = &fstest.MapFile{Data: bytes.Repeat([]byte("#"), 10<<10)}
			}
			_, err := artifact.Pack(t.Context(), &bytes.Buffer{}, tree, artifact.PackOptions{Ignore: tt.ignore, Limits: tt.limits})
			var limit *artifact.LimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, tt.limit, limit.Limit)
		})
	}
}
