// Package fences checks the rules of the house over source code: which package
// may import which, what a package may cost its importer, and what library code
// never does. Its tests run the checks over this module, and over small fixtures
// that break each rule, so that a check that cannot fail is found too.
//
// A check returns its findings as sentences that name the place, the rule and
// the remedy, sorted; no findings means that the rule holds.
package fences

import (
	"path"
	"slices"
	"strings"
)

// House is a module and the rules of its layout.
type House struct {
	Dir       string              // where the module's go.mod is
	Module    string              // the module's path
	Libraries []string            // directories of the library packages
	Allowed   map[string][]string // library -> the other libraries that it may import
	Private   []string            // directories that no library package may import
}

// library returns the library that a package belongs to, or "".
func (h House) library(importPath string) string {
	rel, ok := h.relative(importPath)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rel, "/")
	if slices.Contains(h.Libraries, name) {
		return name
	}
	return ""
}

// private returns the directory in Private that a package is in, or "".
func (h House) private(importPath string) string {
	for _, dir := range h.Private {
		if in(importPath, path.Join(h.Module, dir)) {
			return dir
		}
	}
	return ""
}

// relative returns a package's directory below the module's root.
func (h House) relative(importPath string) (string, bool) {
	if importPath == h.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, h.Module+"/")
}

// in reports whether importPath is parent or below it.
func in(importPath, parent string) bool {
	return importPath == parent || strings.HasPrefix(importPath, parent+"/")
}
