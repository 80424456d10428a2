package fences_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/fences"
)

func TestEveryLibraryCanBeImportedFromAnEmptyModule(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program for each package")
	}
	h := house(t)
	tree := load(t, h, false)
	holds(t, tree.Errors())
	proxy := newProxy(t, h)
	defer forget(t, proxy)
	missing := map[string]bool{}
	for _, lib := range tree.Missing() {
		missing[lib] = true
	}
	for _, lib := range h.Libraries {
		if !missing[lib] {
			require.NoError(t, proxy.Import(t.Context(), t.TempDir(), lib), lib)
		}
	}
}

// A replace directive works in the module that has it, and for nobody else.
func TestAModuleThatNeedsItsReplaceIsFound(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	h := fixture(t)
	proxy := newProxy(t, h)
	defer forget(t, proxy)
	err := proxy.Import(t.Context(), t.TempDir(), "gc")
	require.ErrorContains(t, err, "example.test/dep")
}

// What is packed is the module, as it was at that moment, and nothing else.
func TestProxyServesTheWorkingTreeWithoutNestedModules(t *testing.T) {
	dir := t.TempDir()
	h := fences.House{Dir: dir, Module: "example.test/version"}
	write(t, dir, "go.mod", "module example.test/version\n\ngo 1.26\n")
	write(t, dir, "a.go", "package version\n")
	write(t, dir, "nested/go.mod", "module example.test/version/nested\n")
	write(t, dir, "nested/b.go", "package nested\n")
	whole := newProxy(t, h)
	defer forget(t, whole)

	write(t, dir, "a.go", "package version\n\nimport _ \"example.test/version/nested\"\n")
	broken := newProxy(t, h)
	defer forget(t, broken)

	t.Setenv("GOPROXY", "off")
	require.NoError(t, whole.Import(t.Context(), t.TempDir(), "."))
	require.ErrorContains(t, broken.Import(t.Context(), t.TempDir(), "."), "example.test/version/nested")
}

func newProxy(t *testing.T, h fences.House) *fences.Proxy {
	t.Helper()
	proxy, err := fences.NewProxy(h, t.TempDir())
	require.NoError(t, err)
	return proxy
}

func forget(t *testing.T, proxy *fences.Proxy) {
	t.Helper()
	require.NoError(t, proxy.Forget(t.Context()))
}
