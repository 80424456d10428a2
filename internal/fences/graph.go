package fences

import (
	"fmt"
	"slices"
)

// CheckImports holds the import graph: no library package reaches another one,
// directly or through a helper, unless the house allows that edge; and none
// reaches what is private to tests, examples and tools.
func CheckImports(t *Tree) []string {
	var faults []string
	for _, p := range t.Libraries() {
		lib := t.house.library(p.ImportPath)
		for _, dep := range p.Deps {
			if other := t.house.library(dep); other != "" && other != lib && !slices.Contains(t.house.Allowed[lib], other) {
				faults = append(faults, fmt.Sprintf("%s imports %s%s: library packages stand alone; move what they share to internal/, or pass it in as a standard type",
					p.ImportPath, dep, t.via(p, dep)))
			}
			if dir := t.house.private(dep); dir != "" {
				faults = append(faults, fmt.Sprintf("%s imports %s%s: %s is not for library packages; use it from a _test.go file",
					p.ImportPath, dep, t.via(p, dep), dir))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// via names the import by which p reaches dep, when that is not dep itself.
func (t *Tree) via(p *Package, dep string) string {
	if slices.Contains(p.Imports, dep) {
		return ""
	}
	for _, direct := range p.Imports {
		if q := t.packages[direct]; q != nil && slices.Contains(q.Deps, dep) {
			return " through " + direct
		}
	}
	return ""
}
