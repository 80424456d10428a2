package fences_test

import (
	"bufio"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/fences"
)

var update = flag.Bool("update", false, "rewrite the recorded dependencies from what the packages import now")

const (
	records      = "testdata/costs"
	updateRemedy = "run make deps and commit internal/fences/testdata/costs"
)

// house is this module.
func house(t *testing.T) fences.House {
	return fences.House{
		Dir:       abs(t, "../.."),
		Module:    "github.com/gitopskit/gitopskit",
		Libraries: []string{"artifact", "conditions", "events", "gc", "git", "helm", "kustomize", "ssa"},
		Allowed:   map[string][]string{"ssa": {"gc"}},
		Private:   []string{"bench", "docs", "examples", "tools", "internal/controlplane", "internal/fences", "internal/gitserver", "internal/helmcommand", "internal/hooktest", "internal/meter", "internal/s3gateway"},
	}
}

// bridge is the library package that is a module of its own, because of what it
// needs: only the rules for its code are held.
func bridge(t *testing.T) fences.House {
	return fences.House{Dir: abs(t, "../../ssa/fluxssa"), Module: "github.com/gitopskit/gitopskit/ssa/fluxssa", Libraries: []string{"."}}
}

// exceptions to the rules for library code, each with its reason.
var exceptions = map[string]string{
	"kustomize: schema": "kyaml has one OpenAPI schema for the whole process, so what guards it has to be shared by all builds too",
}

func TestNoLibraryImportsAnother(t *testing.T) {
	tree := load(t, house(t), false)
	holds(t, tree.Errors())
	require.Empty(t, tree.Missing(), "every library is checked")
	holds(t, fences.CheckImports(tree))
}

func TestDependenciesAreOnRecord(t *testing.T) {
	tree := load(t, house(t), false)
	if *update {
		require.NoError(t, fences.RecordCosts(tree, records))
	}
	faults, err := fences.CheckCosts(tree, records, updateRemedy)
	require.NoError(t, err)
	holds(t, faults)
}

func TestBridgeKeepsTheRules(t *testing.T) {
	tree := load(t, bridge(t), true)
	holds(t, tree.Errors())
	require.Len(t, tree.Libraries(), 1)
	faults, err := fences.CheckSource(tree, nil)
	require.NoError(t, err)
	holds(t, faults)
}

func TestLibraryCodeKeepsTheRules(t *testing.T) {
	tree := load(t, house(t), true)
	holds(t, tree.Errors())
	faults, err := fences.CheckSource(tree, exceptions)
	require.NoError(t, err)
	holds(t, faults)
}

// fixture is a module with a fault of every kind in its import graph.
func fixture(t *testing.T) fences.House {
	return fences.House{
		Dir:       abs(t, "testdata/house"),
		Module:    "example.test/house",
		Libraries: []string{"artifact", "events", "gc", "git", "helm", "kustomize", "ssa"},
		Allowed:   map[string][]string{"ssa": {"gc"}},
		Private:   []string{"examples", "internal/controlplane"},
	}
}

func TestImportsOfAnotherLibraryAreFound(t *testing.T) {
	tree := load(t, fixture(t), false)
	require.Empty(t, tree.Errors())
	require.Equal(t, []string{"events", "kustomize"}, tree.Missing(), "packages without Go files are left out, not an error")
	require.Equal(t, []string{
		"example.test/house/events/notify imports example.test/house/examples/demo: examples is not for library packages; use it from a _test.go file",
		"example.test/house/events/notify imports example.test/house/internal/controlplane: internal/controlplane is not for library packages; use it from a _test.go file",
		"example.test/house/git imports example.test/house/artifact: library packages stand alone; move what they share to internal/, or pass it in as a standard type",
		"example.test/house/helm imports example.test/house/gc through example.test/house/internal/shared: library packages stand alone; move what they share to internal/, or pass it in as a standard type",
	}, fences.CheckImports(tree))
}

func TestPackagesThatDoNotBuildAreFound(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "go.mod", "module example.test/broken\n\ngo 1.26\n")
	write(t, dir, "git/git.go", "package git\n\nimport _ \"example.test/missing\"\n")
	tree := load(t, fences.House{Dir: dir, Module: "example.test/broken", Libraries: []string{"git"}}, false)
	require.Contains(t, strings.Join(tree.Errors(), "\n"), "example.test/missing")
}

func TestGrowthAndShrinkingOfCostsAreFound(t *testing.T) {
	tree := load(t, fixture(t), false)
	dir := filepath.Join(t.TempDir(), "costs")

	faults, err := fences.CheckCosts(tree, dir, "update")
	require.NoError(t, err)
	require.Equal(t, []string{
		"artifact has no record of its dependencies: update",
		"events/notify has no record of its dependencies: update",
		"gc has no record of its dependencies: update",
		"git has no record of its dependencies: update",
		"helm has no record of its dependencies: update",
		"ssa has no record of its dependencies: update",
	}, faults)

	require.NoError(t, fences.RecordCosts(tree, dir))
	faults, err = fences.CheckCosts(tree, dir, "update")
	require.NoError(t, err)
	require.Empty(t, faults, "what was just recorded holds")

	write(t, dir, "gc.txt", "# one module less, one package more\npackage example.test/dep\npackage example.test/gone\n")
	write(t, dir, "conditions.txt", "# of a package that was removed\n")
	faults, err = fences.CheckCosts(tree, dir, "update")
	require.NoError(t, err)
	require.Equal(t, []string{
		filepath.ToSlash(filepath.Join(dir, "conditions.txt")) + " is the record of a package that is not there: update",
		"gc costs its importer the module example.test/dep, which is not on record: remove the import, or, if it is worth its weight, update",
		"gc no longer needs the package example.test/gone, which is on record: update",
	}, faults)
}

func TestEveryRuleFindsItsBreach(t *testing.T) {
	h := fences.House{Dir: abs(t, "testdata/rules"), Module: "example.test/rules", Libraries: []string{"bad"}}
	tree := load(t, h, true)
	require.Empty(t, tree.Errors())
	faults, err := fences.CheckSource(tree, nil)
	require.NoError(t, err)

	wanted := wants(t, filepath.Join(h.Dir, "bad"))
	require.NotEmpty(t, wanted)
	for _, fault := range faults {
		place, text, _ := strings.Cut(fault, ": ")
		i := slices.IndexFunc(wanted[place], func(want string) bool { return strings.Contains(text, want) })
		require.GreaterOrEqual(t, i, 0, "not expected: %s", fault)
		wanted[place] = slices.Delete(wanted[place], i, i+1)
	}
	for place, left := range wanted {
		require.Empty(t, left, "not found at %s", place)
	}
}

func TestLookAlikesAreLetBe(t *testing.T) {
	tree := load(t, fences.House{Dir: abs(t, "testdata/rules"), Module: "example.test/rules", Libraries: []string{"good"}}, true)
	faults, err := fences.CheckSource(tree, nil)
	require.NoError(t, err)
	require.Empty(t, faults)
}

func TestExceptionsExcuseOneThingAndAreUsed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "go.mod", "module example.test/one\n\ngo 1.26\n")
	write(t, dir, "git/git.go", "package git\n\nvar A, B = new(int), new(int)\n")
	tree := load(t, fences.House{Dir: dir, Module: "example.test/one", Libraries: []string{"git"}}, true)
	faults, err := fences.CheckSource(tree, map[string]string{"git: A": "a reason", "git: B": "", "git: C": "of something else"})
	require.NoError(t, err)
	require.Equal(t, []string{
		"git/git.go:3: package-level variable B can be assigned by every importer: keep state in a type that its user makes [git: B]",
		"the exception [git: B] excuses nothing, or gives no reason: take it off the list",
		"the exception [git: C] excuses nothing, or gives no reason: take it off the list",
	}, faults)
}

// A helper under internal/ is held to the rules of the library that uses it.
func TestHelpersOfLibrariesAreHeldToTheRules(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "go.mod", "module example.test/helper\n\ngo 1.26\n")
	write(t, dir, "git/git.go", "package git\n\nimport \"example.test/helper/internal/used\"\n\nconst N = used.N\n")
	write(t, dir, "internal/used/used.go", "package used\n\nconst N = 1\n\nfunc Fail() { panic(N) }\n")
	write(t, dir, "internal/other/other.go", "package other\n\nfunc Fail() { panic(1) }\n")
	tree := load(t, fences.House{Dir: dir, Module: "example.test/helper", Libraries: []string{"git"}}, true)
	faults, err := fences.CheckSource(tree, nil)
	require.NoError(t, err)
	require.Len(t, faults, 1)
	require.Contains(t, faults[0], "internal/used/used.go:5: uses panic")
}

var want = regexp.MustCompile(`// want(-1)? "([^"]+)"`)

// wants reads the expectations in the comments of a fixture, by file and line.
func wants(t *testing.T, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	expected := map[string][]string{}
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		s := bufio.NewScanner(f)
		for line := 1; s.Scan(); line++ {
			for _, m := range want.FindAllStringSubmatch(s.Text(), -1) {
				at := line
				if m[1] != "" {
					at--
				}
				place := filepath.Base(dir) + "/" + filepath.Base(name) + ":" + strconv.Itoa(at)
				expected[place] = append(expected[place], m[2])
			}
		}
		require.NoError(t, s.Err())
		require.NoError(t, f.Close())
	}
	return expected
}

// holds fails with one line for each finding.
func holds(t *testing.T, faults []string) {
	t.Helper()
	if len(faults) > 0 {
		t.Fatal("\n" + strings.Join(faults, "\n"))
	}
}

func load(t *testing.T, h fences.House, export bool) *fences.Tree {
	t.Helper()
	tree, err := fences.Load(t.Context(), h, export)
	require.NoError(t, err)
	return tree
}

func abs(t *testing.T, dir string) string {
	t.Helper()
	full, err := filepath.Abs(dir)
	require.NoError(t, err)
	return full
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
}
