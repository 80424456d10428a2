package fences

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// variables holds that a package keeps no state of its own: what two users of a
// library share, neither can rely on. A package-level variable may be
//
//   - an error sentinel, named Err… or err…, that is never assigned again,
//   - a file embedded at build time,
//   - an assertion of an interface (var _ I = T{}),
//   - an unexported value that is never written in the package, and whose type
//     holds no state behind a pointer, a channel or an interface: a table, a
//     compiled regular expression, a function.
//
// A table that leaves the package, or is written through an alias, is beyond
// this check.
func (s *source) variables() []finding {
	written := s.written()
	var found []finding
	for _, f := range s.files {
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				for _, id := range spec.(*ast.ValueSpec).Names {
					if why := s.variable(id, written, embedded(gen, spec.(*ast.ValueSpec))); why != "" {
						found = append(found, s.found(id, "package-level variable "+id.Name+" "+why+": keep state in a type that its user makes", id.Name))
					}
				}
			}
		}
	}
	return append(found, s.foreignWrites()...)
}

// variable says what is wrong with a package-level variable, or nothing.
func (s *source) variable(id *ast.Ident, written map[types.Object]bool, embedded bool) string {
	obj := s.info.Defs[id]
	switch {
	case id.Name == "_" || obj == nil:
		return ""
	case written[obj]:
		return "is written at run time"
	case isError(obj.Type()):
		if !strings.HasPrefix(strings.ToLower(id.Name), "err") {
			return "is an error that is not named as a sentinel"
		}
		return ""
	case id.IsExported():
		return "can be assigned by every importer"
	case embedded:
		return ""
	default:
		return sharedState(obj.Type())
	}
}

func embedded(gen *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{gen.Doc, spec.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

func isError(t types.Type) bool {
	return types.Identical(t, types.Universe.Lookup("error").Type())
}

// immutable are types that hide a pointer or are an interface, and yet do not
// change once made.
var immutable = map[string]bool{
	"*regexp.Regexp": true,
	"reflect.Type":   true,
}

// sharedState says how a value of a type could change without being assigned.
func sharedState(t types.Type) string {
	if immutable[t.String()] {
		return ""
	}
	switch t.Underlying().(type) {
	case *types.Pointer:
		return "is a pointer to state that everyone shares"
	case *types.Chan:
		return "is a channel that everyone shares"
	case *types.Interface:
		return "is an interface value that may hold state"
	default:
		return ""
	}
}

// written returns the package-level variables that the package's own code
// assigns, increments, takes the address of, or calls a pointer method on.
func (s *source) written() map[types.Object]bool {
	set := map[types.Object]bool{}
	mark := func(e ast.Expr) {
		if obj := s.root(e); obj != nil && obj.Parent() == s.pkg.Scope() {
			set[obj] = true
		}
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool { s.eachWrite(n, mark); return true })
	}
	return set
}

// foreignWrites finds assignments to variables of other packages.
func (s *source) foreignWrites() []finding {
	var found []finding
	mark := func(e ast.Expr) {
		v, ok := s.root(e).(*types.Var)
		if !ok || v.Pkg() == nil || v.Pkg() == s.pkg || v.Parent() != v.Pkg().Scope() {
			return
		}
		name := v.Pkg().Path() + "." + v.Name()
		found = append(found, s.found(e, "changes "+name+" for the whole process: configure a value of your own instead", name))
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool { s.eachWrite(n, mark); return true })
	}
	return found
}

// eachWrite calls mark with every expression that a node writes to.
func (s *source) eachWrite(n ast.Node, mark func(ast.Expr)) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, e := range n.Lhs {
				mark(e)
			}
		}
	case *ast.IncDecStmt:
		mark(n.X)
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			mark(n.Key)
			if n.Value != nil {
				mark(n.Value)
			}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			mark(n.X)
		}
	case *ast.SelectorExpr:
		if s.takesAddress(n) {
			mark(n.X)
		}
	case *ast.CallExpr:
		if id, ok := ast.Unparen(n.Fun).(*ast.Ident); ok && len(n.Args) > 0 {
			if b, ok := s.info.Uses[id].(*types.Builtin); ok && (b.Name() == "delete" || b.Name() == "clear" || b.Name() == "copy") {
				mark(n.Args[0])
			}
		}
	}
}

// takesAddress reports whether a method with a pointer receiver is selected on
// a value, which may then change.
func (s *source) takesAddress(sel *ast.SelectorExpr) bool {
	selection := s.info.Selections[sel]
	if selection == nil || selection.Kind() != types.MethodVal {
		return false
	}
	recv := selection.Obj().(*types.Func).Signature().Recv()
	_, wantsPointer := recv.Type().Underlying().(*types.Pointer)
	_, isPointer := selection.Recv().Underlying().(*types.Pointer)
	return wantsPointer && !isPointer
}

// root returns the variable that an expression reaches into.
func (s *source) root(e ast.Expr) types.Object {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.TypeAssertExpr:
			e = x.X
		case *ast.SelectorExpr:
			if s.info.Selections[x] == nil { // a name of another package
				return s.info.Uses[x.Sel]
			}
			e = x.X
		case *ast.Ident:
			return s.info.Uses[x]
		default:
			return nil
		}
	}
}
