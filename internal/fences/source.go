package fences

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CheckSource holds what library code never does (see rules.go and vars.go)
// over the non-test files of every library package, and of the module's own
// packages that they use. The tree must have been loaded with export data.
//
// Exceptions maps a finding's key, as printed at its end in square brackets, to
// the reason for letting it be; an exception that excuses nothing is a finding.
func CheckSource(t *Tree, exceptions map[string]string) ([]string, error) {
	var found []finding
	for _, p := range t.sources() {
		src, err := t.parse(p)
		if err != nil {
			return nil, err
		}
		found = append(found, src.check()...)
	}
	return settle(found, exceptions), nil
}

// finding is one breach of a rule.
type finding struct {
	pos  string // file:line, relative to the module
	text string
	key  string // what an exception names
}

func (f finding) String() string { return fmt.Sprintf("%s: %s [%s]", f.pos, f.text, f.key) }

// settle takes the excused findings out and adds the exceptions without use.
func settle(found []finding, exceptions map[string]string) []string {
	used := map[string]bool{}
	var faults []string
	for _, f := range found {
		if exceptions[f.key] != "" {
			used[f.key] = true
			continue
		}
		faults = append(faults, f.String())
	}
	for key := range maps.Keys(exceptions) {
		if !used[key] {
			faults = append(faults, fmt.Sprintf("the exception [%s] excuses nothing, or gives no reason: take it off the list", key))
		}
	}
	slices.Sort(faults)
	return faults
}

// sources returns the packages whose code counts as library code.
func (t *Tree) sources() []*Package {
	wanted := map[string]*Package{}
	for _, p := range t.Libraries() {
		wanted[p.ImportPath] = p
		for _, dep := range p.Deps {
			if q := t.packages[dep]; q != nil && in(dep, t.house.Module) {
				wanted[dep] = q
			}
		}
	}
	var list []*Package
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		list = append(list, wanted[name])
	}
	return list
}

// source is a parsed and type-checked package.
type source struct {
	dir   string // the module's root
	rel   string // the package's directory below it
	fset  *token.FileSet
	files []*ast.File
	// other holds the files of other platforms: only their imports are checked.
	other []*ast.File
	pkg   *types.Package
	info  *types.Info
}

func (t *Tree) parse(p *Package) (*source, error) {
	s := &source{dir: t.house.Dir, fset: token.NewFileSet(), info: &types.Info{
		Uses:       map[*ast.Ident]types.Object{},
		Defs:       map[*ast.Ident]types.Object{},
		Types:      map[ast.Expr]types.TypeAndValue{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	s.rel, _ = t.house.relative(p.ImportPath)
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	for _, name := range p.IgnoredGoFiles {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return nil, err
		}
		s.other = append(s.other, f)
	}
	conf := types.Config{
		Importer: importer.ForCompiler(s.fset, "gc", t.exportOf(p)),
		Error:    func(error) {}, // the first is returned by Check
	}
	var err error
	if s.pkg, err = conf.Check(p.ImportPath, s.fset, s.files, s.info); err != nil {
		return nil, fmt.Errorf("type-check %s: %w", p.ImportPath, err)
	}
	return s, nil
}

// exportOf finds the compiled form of what p imports.
func (t *Tree) exportOf(p *Package) importer.Lookup {
	return func(name string) (io.ReadCloser, error) {
		if mapped := p.ImportMap[name]; mapped != "" {
			name = mapped
		}
		dep := t.packages[name]
		if dep == nil || dep.Export == "" {
			return nil, errors.New("no export data for " + name)
		}
		return os.Open(dep.Export)
	}
}

func (s *source) check() []finding {
	var found []finding
	for _, f := range slices.Concat(s.files, s.other) {
		for _, spec := range f.Imports {
			if name, err := strconv.Unquote(spec.Path.Value); err == nil {
				if why := importRule(name); why != "" {
					found = append(found, s.found(spec, "imports "+name+": "+why, name))
				}
			}
		}
		for _, group := range f.Comments {
			for _, c := range group.List {
				if bareNolint(c.Text) {
					found = append(found, s.found(c, "silences a linter without saying which and why: write //nolint:name // reason", "nolint"))
				}
			}
		}
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				found = append(found, s.use(n)...)
			case *ast.CallExpr:
				found = append(found, s.call(n)...)
			}
			return true
		})
	}
	return append(found, s.variables()...)
}

func (s *source) found(n ast.Node, text, what string) finding {
	p := s.fset.Position(n.Pos())
	name, err := filepath.Rel(s.dir, p.Filename)
	if err != nil {
		name = p.Filename
	}
	return finding{fmt.Sprintf("%s:%d", filepath.ToSlash(name), p.Line), text, s.rel + ": " + what}
}
