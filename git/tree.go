package git

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tree is a directory: its entries by name, in byte order.
type tree struct {
	hash    id
	entries []entry
}

// entry is a line of a tree.
type entry struct {
	name string
	mode fs.FileMode
	hash id
	// submodule: hash is a commit of another repository, and mode that of an
	// empty directory.
	submodule bool
}

func (t *tree) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, name, func(e entry, name string) int {
		return strings.Compare(e.name, name)
	})
	if !ok {
		return entry{}, false
	}
	return t.entries[i], true
}

// parseTree reads a tree and refuses what git would not have written, and every
// name that is dangerous to write to a disk.
func parseTree(hash id, raw []byte) (*tree, error) {
	malformed := func(format string, args ...any) (*tree, error) {
		return nil, fmt.Errorf("%w: tree %s: %s", ErrMalformed, hash, fmt.Sprintf(format, args...))
	}
	t := &tree{hash: hash}
	last := ""
	for len(raw) > 0 {
		text, rest, ok := bytes.Cut(raw, []byte{0})
		mode, name, spaced := strings.Cut(string(text), " ")
		e := entry{name: name}
		if !ok || !spaced || len(rest) < len(e.hash) {
			return malformed("it ends in the middle of an entry")
		}
		if why := badName(name); why != "" {
			return malformed("%q: %s", clip(name), why)
		}
		if ok = e.setMode(mode); !ok {
			return malformed("%q: unknown mode %q", clip(name), clip(mode))
		}
		// Git compares a directory as if its name ended with a slash.
		key := name
		if e.mode.IsDir() && !e.submodule {
			key += "/"
		}
		if key <= last {
			return malformed("%q: out of order, or twice", clip(name))
		}
		last = key
		copy(e.hash[:], rest)
		raw = rest[len(e.hash):]
		t.entries = append(t.entries, e)
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i := range t.entries[:max(0, len(t.entries)-1)] {
		// A file and a directory of one name are not neighbours in git's order.
		if t.entries[i].name == t.entries[i+1].name {
			return malformed("%q: twice", clip(t.entries[i].name))
		}
	}
	return t, nil
}

// setMode reads a mode in octal. Like git, it knows no permissions but the
// owner's right to execute.
func (e *entry) setMode(mode string) bool {
	switch strings.TrimPrefix(mode, "0") { // very old trees have a zero in front
	case "40000":
		e.mode = fs.ModeDir | 0o755
	case "120000":
		e.mode = fs.ModeSymlink | 0o777
	case "160000":
		e.mode, e.submodule = fs.ModeDir|0o755, true
	case "100644", "100664", "100600", "100640":
		e.mode = 0o644
	case "100755", "100775", "100700", "100750":
		e.mode = 0o755
	default:
		return false
	}
	return true
}

// badName says what is wrong with the name of an entry; empty if nothing is.
func badName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "not a name"
	case strings.Contains(name, "/"):
		return "a slash in a name"
	case !utf8.ValidString(name):
		return "not UTF-8"
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return "a control character in a name"
		}
	}
	// On Windows a backslash parts names, and a colon a name from a stream.
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '\\' }) {
		if stem, _, _ := strings.Cut(part, ":"); part == ".." || isDotGit(stem) {
			return "not a name on every system"
		}
	}
	return ""
}

// isDotGit says whether some file system takes a name for .git: without regard
// to case, ignoring what NTFS drops at the end and what HFS+ does not see, or
// by the short name that Windows makes up.
func isDotGit(name string) bool {
	name = strings.Map(func(r rune) rune {
		if ignoredByHFS(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	name = strings.TrimRight(name, " .")
	return name == ".git" || name == "git~1"
}

// ignoredByHFS: the characters that HFS+ ignores in names.
func ignoredByHFS(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff
}
