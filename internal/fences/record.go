package fences

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Cost is what a package brings to whoever imports it: everything outside the
// standard library, in order.
type Cost struct {
	Modules  []string // module paths, the house's own left out
	Packages []string // import paths, the package itself left out
}

// CostOf returns the cost of a package of the tree.
func (t *Tree) CostOf(p *Package) Cost {
	var c Cost
	for _, name := range p.Deps {
		dep := t.packages[name]
		if dep == nil || dep.Standard {
			continue
		}
		c.Packages = append(c.Packages, name)
		if dep.Module != nil && dep.Module.Path != t.house.Module {
			c.Modules = append(c.Modules, dep.Module.Path)
		}
	}
	slices.Sort(c.Packages)
	slices.Sort(c.Modules)
	c.Modules = slices.Compact(c.Modules)
	return c
}

// CheckCosts compares what every library package costs its importer with the
// records below dir. Growth has to be a decision, and a record that has become
// too generous would hide the next growth, so both are findings.
func CheckCosts(t *Tree, dir, remedy string) ([]string, error) {
	var faults []string
	recorded, err := records(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range t.Libraries() {
		rel, _ := t.house.relative(p.ImportPath)
		if isInternal(rel) {
			continue
		}
		file := recordFile(dir, rel)
		delete(recorded, file)
		was, err := readCost(file)
		if errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Sprintf("%s has no record of its dependencies: %s", rel, remedy))
			continue
		}
		if err != nil {
			return nil, err
		}
		is := t.CostOf(p)
		faults = append(faults, compare(rel, "module", was.Modules, is.Modules, remedy)...)
		faults = append(faults, compare(rel, "package", was.Packages, is.Packages, remedy)...)
	}
	for file := range recorded {
		faults = append(faults, fmt.Sprintf("%s is the record of a package that is not there: %s", filepath.ToSlash(file), remedy))
	}
	slices.Sort(faults)
	return faults, nil
}

// RecordCosts rewrites the records below dir from the tree.
func RecordCosts(t *Tree, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, p := range t.Libraries() {
		rel, _ := t.house.relative(p.ImportPath)
		if isInternal(rel) {
			continue
		}
		if err := writeCost(recordFile(dir, rel), rel, t.CostOf(p)); err != nil {
			return err
		}
	}
	return nil
}

// isInternal reports whether nobody outside the library can import the package,
// so that its cost shows only in the packages that use it.
func isInternal(rel string) bool {
	return slices.Contains(strings.Split(rel, "/"), "internal")
}

func compare(rel, what string, was, is []string, remedy string) []string {
	var faults []string
	for _, name := range is {
		if !slices.Contains(was, name) {
			faults = append(faults, fmt.Sprintf("%s costs its importer the %s %s, which is not on record: remove the import, or, if it is worth its weight, %s", rel, what, name, remedy))
		}
	}
	for _, name := range was {
		if !slices.Contains(is, name) {
			faults = append(faults, fmt.Sprintf("%s no longer needs the %s %s, which is on record: %s", rel, what, name, remedy))
		}
	}
	return faults
}

func recordFile(dir, rel string) string {
	return filepath.Join(dir, filepath.FromSlash(rel)+".txt")
}

// records returns the record files below dir.
func records(dir string) (map[string]bool, error) {
	files := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			files[name] = true
		}
		return err
	})
	return files, err
}

func readCost(file string) (Cost, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Cost{}, err
	}
	var c Cost
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		kind, name, _ := strings.Cut(s.Text(), " ")
		switch kind {
		case "module":
			c.Modules = append(c.Modules, name)
		case "package":
			c.Packages = append(c.Packages, name)
		case "", "#":
		default:
			return Cost{}, fmt.Errorf("%s: %q is neither a module nor a package", file, s.Text())
		}
	}
	return c, nil
}

func writeCost(file, rel string, c Cost) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What %s costs its importer on linux/amd64: %d modules, %d packages.\n", rel, len(c.Modules), len(c.Packages))
	for _, name := range c.Modules {
		fmt.Fprintf(&b, "module %s\n", name)
	}
	for _, name := range c.Packages {
		fmt.Fprintf(&b, "package %s\n", name)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
