package fences

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Package is what the go command says about a package.
type Package struct {
	ImportPath     string
	Dir            string
	Standard       bool
	DepOnly        bool
	Module         *struct{ Path string }
	GoFiles        []string
	IgnoredGoFiles []string
	Imports        []string
	Deps           []string
	ImportMap      map[string]string
	Export         string
	Error          *struct{ Err string }
}

// Tree is a set of packages together with everything that they depend on.
type Tree struct {
	house    House
	packages map[string]*Package
}

// Load lists the library packages of a house and all their dependencies. With
// export data (which compiles them) the tree can be type-checked. A library whose
// directory holds no Go files yet is left out.
//
// Without export data, dependencies are those on linux/amd64 without cgo, so that
// the answer is the same on every machine. With it they are those of this machine,
// for which its build cache often has everything already.
func Load(ctx context.Context, h House, export bool) (*Tree, error) {
	args := []string{"list", "-e", "-deps", "-json=ImportPath,Dir,Standard,DepOnly,Module,GoFiles,IgnoredGoFiles,Imports,Deps,ImportMap,Export,Error"}
	env := []string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}
	if export {
		args, env = append(args, "-export"), nil
	}
	tree := &Tree{house: h, packages: map[string]*Package{}}
	patterns := h.patterns()
	if len(patterns) == 0 {
		return tree, nil
	}
	args = append(args, patterns...)
	out, err := goCommand(ctx, h.Dir, env, args...)
	if err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(Package)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return tree, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the answer of go list: %w", err)
		}
		if len(p.GoFiles) > 0 || p.Error != nil {
			tree.packages[p.ImportPath] = p
		}
	}
}

// patterns names the libraries whose directories are there.
func (h House) patterns() []string {
	var list []string
	for _, lib := range h.Libraries {
		if _, err := os.Stat(filepath.Join(h.Dir, lib)); err == nil {
			list = append(list, "./"+lib+"/...")
		}
	}
	return list
}

// Libraries returns the library packages, sub-packages included, in order.
func (t *Tree) Libraries() []*Package {
	var list []*Package
	for _, name := range slices.Sorted(maps.Keys(t.packages)) {
		if t.house.library(name) != "" {
			list = append(list, t.packages[name])
		}
	}
	return list
}

// Missing returns the libraries that have no Go files in their own directory.
func (t *Tree) Missing() []string {
	var missing []string
	for _, lib := range t.house.Libraries {
		if t.packages[t.house.Module+"/"+lib] == nil {
			missing = append(missing, lib)
		}
	}
	return missing
}

// Errors returns what the go command could not load or compile.
func (t *Tree) Errors() []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(t.packages)) {
		if p := t.packages[name]; p.Error != nil {
			faults = append(faults, fmt.Sprintf("%s does not build: %s", name, p.Error.Err))
		}
	}
	return faults
}

// goCommand runs the go command in dir and returns its standard output. The
// machine's build and module caches are used; a workspace around dir is not.
func goCommand(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), dir, err, stderr.String())
	}
	return out, nil
}
