package artifact

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Ignore says what of a tree is left out, in the syntax and with the meaning of
// Git's ignore files. The zero value leaves nothing out.
//
// For a file or a directory the last pattern that matches decides, and "!" in
// front of it brings back what an earlier one left out. A directory that is left
// out is not looked into, so nothing in it can be brought back: write "/*",
// "!/deploy/", and not "/*", "!/deploy/app.yaml". A pattern with a slash before
// its end is relative to the directory of its file, those of the fields to the
// root. Upper and lower case are different. Malformed patterns match nothing.
//
// In the fields a string holds a pattern, or several, one on each line as in a
// file.
type Ignore struct {
	// File is the name of the ignore files of the tree, which may be in any
	// directory that is not left out, and count for it and what is below. They are
	// files of the tree like all others. Links are not read. Empty: there are none.
	File string
	// Patterns come after those of all files.
	Patterns []string
	// Always come before those of all files.
	Always []string
	// Fallback come before those of all files too, but only if there is no other
	// pattern, neither in Patterns nor in any file. To find out, the directories
	// that Always lets through are listed once more.
	Fallback []string
}

// SourceIgnore is what producers of the GitOps Toolkit leave out: what files named
// .sourceignore and patterns, which win, say; Git's own files in any case; and if
// nobody says anything, pictures, packed files, and the configuration of CI and of
// some tools.
func SourceIgnore(patterns ...string) Ignore {
	return Ignore{
		File:     ".sourceignore",
		Patterns: patterns,
		Always:   []string{".git/", ".gitignore", ".gitmodules", ".gitattributes"},
		Fallback: []string{
			"*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip",
			".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml",
			"cloudbuild.yaml", "codeship-services.yml", "codeship-steps.yml",
			"**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml",
		},
	}
}

// rule is one pattern.
type rule struct {
	glob    glob
	include bool
	dirOnly bool
	inPath  bool // it is matched with the path below its directory, not with the name
}

// ignoring holds the rules that count where a walk is.
type ignoring struct {
	file          string
	lim           Limits
	bytes         int64 // of all patterns so far
	before, after []rule
	scopes        []scope
	sets          sets
}

// scope is the rules of a directory's ignore file.
type scope struct {
	dir   string
	rules []rule
}

// newIgnoring compiles the caller's patterns, and finds out whether the fallback
// counts.
func newIgnoring(ctx context.Context, fsys fs.FS, ig Ignore, lim Limits) (*ignoring, error) {
	n := &ignoring{file: ig.File, lim: lim}
	var err error
	if n.before, err = n.parse(ig.Always); err != nil {
		return nil, err
	}
	if n.after, err = n.parse(ig.Patterns); err != nil {
		return nil, err
	}
	fallback, err := n.parse(ig.Fallback)
	if err != nil {
		return nil, err
	}
	if len(fallback) > 0 && len(n.after) == 0 {
		read := n.bytes
		found, err := n.search(ctx, fsys, ".")
		if err != nil {
			return nil, err
		}
		if n.bytes = read; !found {
			n.before = slices.Concat(n.before, fallback)
		}
	}
	return n, nil
}

// search reports whether some ignore file has a pattern.
func (n *ignoring) search(ctx context.Context, fsys fs.FS, dir string) (bool, error) {
	if n.file == "" || ctx.Err() != nil {
		return false, ctx.Err()
	}
	list, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return false, err
	}
	if found, err := n.push(fsys, dir, list); found || err != nil {
		n.scopes = nil
		return found, err
	}
	if strings.Count(dir, "/") >= n.lim.Depth {
		return false, nil // the walk will find it too deep
	}
	for _, d := range list {
		if n := d.Name(); !d.IsDir() || n == "" || n == "." || n == ".." || strings.Contains(n, "/") {
			continue // the walk will refuse the odd ones
		}
		name := path.Join(dir, d.Name())
		out, err := n.excludes(name, d.Name(), true)
		found := false
		if err == nil && !out {
			found, err = n.search(ctx, fsys, name)
		}
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// push reads the ignore file of a directory, if there is one, and reports whether
// it has rules. These count until pop.
func (n *ignoring) push(fsys fs.FS, dir string, list []fs.DirEntry) (bool, error) {
	i := slices.IndexFunc(list, func(d fs.DirEntry) bool { return n.file != "" && d.Name() == n.file && d.Type().IsRegular() })
	if i < 0 {
		return false, nil
	}
	f, err := fsys.Open(path.Join(dir, n.file))
	if err != nil {
		return false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, n.lim.IgnoreBytes+1))
	if err != nil {
		return false, fmt.Errorf("%q: %w", path.Join(dir, n.file), err)
	}
	rules, err := n.parse([]string{strings.TrimPrefix(string(text), "\ufeff")})
	if err != nil || len(rules) == 0 {
		return false, err
	}
	n.scopes = append(n.scopes, scope{dir, rules})
	return true, nil
}

func (n *ignoring) pop() { n.scopes = n.scopes[:len(n.scopes)-1] }

// parse compiles texts of one pattern per line.
func (n *ignoring) parse(texts []string) ([]rule, error) {
	var rules []rule
	for _, text := range texts {
		if n.bytes += int64(len(text)); n.bytes > n.lim.IgnoreBytes {
			return nil, &LimitError{Limit: "IgnoreBytes", Max: n.lim.IgnoreBytes}
		}
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSuffix(line, "\r")
			if line != "" && line[0] != '#' {
				rules = append(rules, parseRule(line))
			}
		}
	}
	return rules, nil
}

func parseRule(line string) rule {
	line, _, _ = strings.Cut(line, "\x00") // where a line ends for Git
	var r rule
	p, include := strings.CutPrefix(trimSpaces(line), "!")
	p, r.dirOnly = strings.CutSuffix(p, "/")
	r.include = include
	r.inPath = strings.Contains(p, "/")
	r.glob = newGlob(strings.TrimPrefix(p, "/"))
	return r
}

// trimSpaces removes spaces at the end that have no backslash in front.
func trimSpaces(s string) string {
	end := 0
	for i := 0; i < len(s); i++ {
		if s[i] == ' ' {
			continue
		}
		if s[i] == '\\' {
			i++
		}
		end = min(i+1, len(s))
	}
	return s[:end]
}

// excludes says whether an entry is left out. The directory that it is in is not.
func (n *ignoring) excludes(name, base string, dir bool) (bool, error) {
	out := n.decide(name, base, dir)
	if n.sets.cost > n.lim.IgnoreSteps {
		return false, &LimitError{Limit: "IgnoreSteps", Max: n.lim.IgnoreSteps, Path: name}
	}
	return out, nil
}

func (n *ignoring) decide(name, base string, dir bool) bool {
	if r := n.last(n.after, name, base, dir); r != nil {
		return !r.include
	}
	for _, s := range slices.Backward(n.scopes) {
		below := name
		if s.dir != "." {
			below = name[len(s.dir)+1:]
		}
		if r := n.last(s.rules, below, base, dir); r != nil {
			return !r.include
		}
	}
	r := n.last(n.before, name, base, dir)
	return r != nil && !r.include
}

// last returns the last rule that matches.
func (n *ignoring) last(rules []rule, name, base string, dir bool) *rule {
	for i := range slices.Backward(rules) {
		r := &rules[i]
		if r.dirOnly && !dir {
			continue
		}
		against := base
		if r.inPath {
			against = name
		}
		if r.glob.match(against, &n.sets) {
			return r
		}
	}
	return nil
}
