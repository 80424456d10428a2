package artifact

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// names knows every path of a tree, and which of them are directories.
type names struct {
	lim   Limits
	isDir map[string]bool
}

func newNames(lim Limits) *names { return &names{lim, map[string]bool{".": true}} }

// add takes a path in, and the directories that it implies: they cost memory as
// well, so they count as entries.
func (n *names) add(name string, dir bool) error {
	if err := checkName(name, n.lim); err != nil {
		return err
	}
	wasDir, found := n.isDir[name]
	switch {
	case found && wasDir && dir:
		return nil // some tools list a directory twice
	case found:
		return &EntryError{name, "it is there twice"}
	}
	for parent := path.Dir(name); ; parent = path.Dir(parent) {
		isDir, found := n.isDir[parent]
		if found && !isDir {
			return &EntryError{name, fmt.Sprintf("%q is not a directory", parent)}
		}
		if found {
			break
		}
		n.isDir[parent] = true
	}
	n.isDir[name] = dir
	return n.lim.checkEntries(len(n.isDir) - 1)
}

// checkName refuses names that mean something else elsewhere.
func checkName(name string, lim Limits) error {
	if !fs.ValidPath(name) || name == "." {
		return &EntryError{name, "the name is not a clean relative path in UTF-8"}
	}
	if strings.ContainsRune(name, 0) {
		return &EntryError{name, "the name holds a zero byte"}
	}
	return lim.checkName(name)
}
