package kustomize_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sjson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/kustomize"
)

// A case is a directory of a tree, and what it was found as.
type overlay struct {
	name string
	fsys fstest.MapFS
	dir  string
}

// TestSameAsUpstream builds every overlay that can be had: the ones that
// kustomize's own tests build, its examples, and those in modules that are known
// for them. Each gives what kustomize gives, or fails where that fails; or it asks
// for something that this package refuses.
func TestSameAsUpstream(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes many builds, and modules from the module proxy")
	}
	for name, tt := range map[string]struct {
		overlays []overlay
		same     int // how many must at least have given the same objects
		refused  int // and how many may be refused
	}{
		"tests of kustomize":    {fromTests(t, moduleDir(t, "sigs.k8s.io/kustomize/api")), 225, 5},
		"examples of kustomize": {fromDir(t, download(t, "sigs.k8s.io/kustomize@v2.0.3+incompatible")), 13, 0},
		"kwok":                  {fromDir(t, download(t, "sigs.k8s.io/kwok@v0.8.0")), 19, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var same, failed int
			var refused, wrong []string
			for _, o := range tt.overlays {
				switch outcome := compare(t, o); outcome {
				case "same":
					same++
				case "failed":
					failed++
				default:
					if strings.HasPrefix(outcome, "WRONG") {
						wrong = append(wrong, o.name+": "+outcome)
						continue
					}
					refused = append(refused, o.name+": "+outcome)
				}
			}
			t.Logf("%d overlays: %d the same, %d fail in both, %d refused:\n%s", len(tt.overlays), same, failed, len(refused), strings.Join(refused, "\n"))
			require.Empty(t, strings.Join(wrong, "\n"))
			require.GreaterOrEqual(t, same, tt.same)
			require.LessOrEqual(t, len(refused), tt.refused)
		})
	}
}

// compare builds with both. What is refused is not given to kustomize, which
// would try to fetch or run it.
func compare(t *testing.T, o overlay) string {
	res, err := kustomize.Build(t.Context(), o.fsys, o.dir, kustomize.Options{})
	if refused, ok := errors.AsType[*kustomize.RefusedError](err); ok {
		return refused.Error()
	}
	want, upstreamErr := krustyBuild(t, o)
	_, input := errors.AsType[*kustomize.InputError](err)
	switch {
	case err != nil && upstreamErr != nil:
		return "failed"
	case input:
		return err.Error()
	case err != nil:
		return "WRONG, only we fail: " + err.Error()
	case upstreamErr != nil:
		return "WRONG, only kustomize fails: " + upstreamErr.Error()
	case len(want)+len(res.Objects) > 0 && !reflect.DeepEqual(want, res.Objects):
		return fmt.Sprintf("WRONG, they differ:\n%v\n%v", want, res.Objects)
	}
	same, err := res.Inputs.Unchanged(t.Context(), o.fsys, o.dir, kustomize.Options{})
	require.NoError(t, err)
	require.True(t, same, o.name)
	return "same"
}

// krustyBuild is kustomize itself, on a file system of its own.
func krustyBuild(t *testing.T, o overlay) (objects []*unstructured.Unstructured, err error) {
	disk := filesys.MakeFsInMemory()
	for name, file := range o.fsys {
		require.NoError(t, disk.WriteFile("/"+name, file.Data))
	}
	err = kustomize.Alone(t.Context(), func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		m, err := krusty.MakeKustomizer(&krusty.Options{
			Reorder:          krusty.ReorderOptionNone,
			LoadRestrictions: types.LoadRestrictionsNone,
			PluginConfig:     types.DisabledPluginConfig(),
		}).Run(disk, path.Join("/", o.dir))
		if err != nil {
			return err
		}
		for _, r := range m.Resources() {
			text, err := r.AsYAML()
			if err != nil {
				return err
			}
			text, err = yaml.YAMLToJSON(text)
			if err != nil {
				return err
			}
			object := &unstructured.Unstructured{}
			if err := k8sjson.Unmarshal(text, &object.Object); err != nil {
				return err
			}
			objects = append(objects, object)
		}
		return nil
	})
	return objects, err
}

func command(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, string(out))
	return out
}

// moduleDir is where a module that this one needs is.
func moduleDir(t testing.TB, module string) string {
	t.Helper()
	return strings.TrimSpace(string(command(t, "go", "list", "-m", "-f", "{{.Dir}}", module)))
}

// download gets a module, the first time from the module proxy.
func download(t testing.TB, module string) string {
	t.Helper()
	var m struct{ Dir string }
	require.NoError(t, json.Unmarshal(command(t, "go", "mod", "download", "-json", module), &m))
	return m.Dir
}

// fromDir finds all directories with a kustomization.
func fromDir(t testing.TB, dir string) []overlay {
	t.Helper()
	fsys := fstest.MapFS{}
	var dirs []string
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		rel = filepath.ToSlash(rel)
		switch path.Base(rel) {
		case "kustomization.yaml", "kustomization.yml", "Kustomization":
			dirs = append(dirs, path.Dir(rel))
		}
		if path.Ext(rel) == ".go" { // no overlay needs them
			return nil
		}
		data, err := os.ReadFile(name)
		fsys[rel] = &fstest.MapFile{Data: data}
		return err
	}))
	var all []overlay
	for _, d := range dirs {
		all = append(all, overlay{d, fsys, d})
	}
	return all
}

// fromTests finds the overlays that kustomize's own tests write and build, by
// doing what they do as far as that is a matter of texts.
func fromTests(t testing.TB, module string) []overlay {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(module, "krusty", "*_test.go"))
	require.NoError(t, err)
	p := program{funcs: map[string]*ast.FuncDecl{}, texts: map[string]ast.Expr{}}
	var tests []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		tests = append(tests, p.add(file)...)
	}
	var all []overlay
	for _, name := range tests {
		w := &walker{program: p, name: name, fsys: fstest.MapFS{}}
		w.body(p.funcs[name].Body, nil)
		all = append(all, w.found...)
	}
	return all
}

// program is a package of tests: its functions and its constants.
type program struct {
	funcs map[string]*ast.FuncDecl
	texts map[string]ast.Expr
}

// add takes in a file and returns the names of its tests.
func (p program) add(file *ast.File) (tests []string) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			p.funcs[decl.Name.Name] = decl
			if strings.HasPrefix(decl.Name.Name, "Test") {
				tests = append(tests, decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				p.addTexts(spec)
			}
		}
	}
	return tests
}

func (p program) addTexts(spec ast.Spec) {
	if v, ok := spec.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
		for i, name := range v.Names {
			p.texts[name.Name] = v.Values[i]
		}
	}
}

// walker does what a test does.
type walker struct {
	program
	name  string
	fsys  fstest.MapFS
	lost  bool // it wrote something that only running it would tell
	found []overlay
}

func (w *walker) body(body *ast.BlockStmt, env map[string]string) {
	local := maps.Clone(env)
	if local == nil {
		local = map[string]string{}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if id, ok := left.(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) {
					if text, ok := w.text(n.Rhs[i], local); ok {
						local[id.Name] = text
					}
				}
			}
		case *ast.CallExpr:
			w.call(n, local)
		case *ast.RangeStmt, *ast.ForStmt, *ast.FuncLit:
			return false // tables and loops
		}
		return true
	})
}

func (w *walker) call(call *ast.CallExpr, env map[string]string) {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		f := w.funcs[fun.Name]
		if f == nil || f.Recv != nil {
			return
		}
		inner, i := map[string]string{}, 0
		for _, param := range f.Type.Params.List {
			for _, name := range param.Names {
				if text, ok := w.text(call.Args[min(i, len(call.Args)-1)], env); ok {
					inner[name.Name] = text
				}
				i++
			}
		}
		w.body(f.Body, inner)
	case *ast.SelectorExpr:
		w.method(fun.Sel.Name, call.Args, env)
	}
}

const header = "\napiVersion: kustomize.config.k8s.io/%s\nkind: %s\n"

func (w *walker) method(name string, args []ast.Expr, env map[string]string) {
	switch name {
	case "MakeHarness", "MakeEnhancedHarness", "MakeFsInMemory":
		w.fsys, w.lost = fstest.MapFS{}, false
	case "WriteK":
		w.write(args, "kustomization.yaml", fmt.Sprintf(header, "v1beta1", "Kustomization"), env)
	case "WriteC":
		w.write(args, "kustomization.yaml", fmt.Sprintf(header, "v1alpha1", "Component"), env)
	case "WriteF", "WriteFile":
		w.write(args, "", "", env)
	case "MakeFsOnDisk", "MakeHarnessWithFs", "WriteLegacyConfigs":
		w.lost = true
	case "Run", "RunWithErr":
		for _, arg := range args {
			if dir, ok := w.text(arg, env); ok {
				dir = path.Clean(strings.TrimPrefix(dir, "/"))
				_, err := fs.Stat(w.fsys, path.Join(dir, "kustomization.yaml"))
				if !w.lost && fs.ValidPath(dir) && err == nil {
					w.found = append(w.found, overlay{w.name, maps.Clone(w.fsys), dir})
				}
				return
			}
		}
	}
}

func (w *walker) write(args []ast.Expr, base, prefix string, env map[string]string) {
	if len(args) != 2 {
		return
	}
	name, ok := w.text(args[0], env)
	content, ok2 := w.text(args[1], env)
	name = path.Join(strings.TrimPrefix(name, "/"), base)
	if !ok || !ok2 || !fs.ValidPath(name) {
		w.lost = true
		return
	}
	w.fsys[name] = &fstest.MapFile{Data: []byte(prefix + content)}
}

// text evaluates what is a string.
func (w *walker) text(e ast.Expr, env map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.ParenExpr:
		return w.text(e.X, env)
	case *ast.Ident:
		if text, ok := env[e.Name]; ok {
			return text, true
		}
		if value, ok := w.texts[e.Name]; ok {
			return w.text(value, nil)
		}
	case *ast.BinaryExpr:
		x, ok := w.text(e.X, env)
		y, ok2 := w.text(e.Y, env)
		return x + y, ok && ok2 && e.Op == token.ADD
	case *ast.CallExpr:
		return w.result(e, env)
	}
	return "", false
}

// result evaluates a conversion to bytes, and functions on texts.
func (w *walker) result(call *ast.CallExpr, env map[string]string) (string, bool) {
	var args []string
	for _, arg := range call.Args {
		text, ok := w.text(arg, env)
		if !ok {
			return "", false
		}
		args = append(args, text)
	}
	if _, ok := call.Fun.(*ast.ArrayType); ok && len(args) == 1 {
		return args[0], true
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(args) == 0 {
		return "", false
	}
	switch sel.Sel.Name {
	case "Join":
		return path.Join(args...), true
	case "Sprintf":
		return fmt.Sprintf(args[0], anys(args[1:])...), true
	case "TrimSpace":
		return strings.TrimSpace(args[0]), true
	}
	return "", false
}

func anys(list []string) []any {
	return slices.Collect(func(yield func(any) bool) {
		for _, s := range list {
			if !yield(s) {
				return
			}
		}
	})
}
