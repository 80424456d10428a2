package kustomize_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"sort"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/kustomize"
)

// kustomize does not export which fields its transformers change. Our list is that
// of the release that go.mod names, in the same order.
func TestFieldSpecsAreThoseOfKustomize(t *testing.T) {
	var upstream struct {
		NamePrefix, NameSuffix types.FsSlice
		Namespace              types.FsSlice
		CommonLabels           types.FsSlice
		TemplateLabels         types.FsSlice
		VolumeClaims           types.FsSlice `json:"volumeClaimTemplateLabels"`
		CommonAnnotations      types.FsSlice
		Images                 types.FsSlice
		Replicas               types.FsSlice
		NameReference          targets
		VarReference           any
	}
	consts := constants(t, "sigs.k8s.io/kustomize/api/internal/konfig/builtinpluginconsts")
	text := ""
	for _, name := range []string{"namePrefix", "nameSuffix", "commonLabel", "templateLabel", "volumeClaimTemplateLabel", "commonAnnotation", "namespace", "nameReference", "images", "replicas"} {
		text += consts(name+"FieldSpecs") + "\n"
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &upstream))

	nameOnly := types.FsSlice{{Path: "metadata/name"}}
	require.Equal(t, nameOnly, upstream.NamePrefix)
	require.Equal(t, nameOnly, upstream.NameSuffix)
	for section, want := range map[string]types.FsSlice{
		"namespace":                 upstream.Namespace,
		"commonLabels":              upstream.CommonLabels,
		"templateLabels":            upstream.TemplateLabels,
		"volumeClaimTemplateLabels": upstream.VolumeClaims,
		"commonAnnotations":         upstream.CommonAnnotations,
		"images":                    upstream.Images,
		"replicas":                  upstream.Replicas,
	} {
		sort.Sort(want)
		require.NotEmpty(t, want, section)
		require.Equal(t, want, kustomize.FieldSpecs(section), section)
	}

	sort.Sort(upstream.NameReference)
	var want []kustomize.Reference
	for _, target := range upstream.NameReference {
		for _, f := range target.FieldSpecs {
			require.False(t, f.CreateIfNotPresent, f)
			want = append(want, kustomize.Reference{Target: target.Gvk, Referrer: f.Gvk, Path: f.Path})
		}
	}
	require.Equal(t, want, kustomize.References())
}

// targets sort as kustomize sorts them.
type targets []struct {
	resid.Gvk  `json:",inline"`
	FieldSpecs types.FsSlice
}

func (s targets) Len() int           { return len(s) }
func (s targets) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s targets) Less(i, j int) bool { return s[i].IsLessThan(s[j].Gvk) }

// constants gives the string constants of a package that cannot be imported.
func constants(t *testing.T, pkg string) func(name string) string {
	dir, err := filepath.Abs(".")
	require.NoError(t, err)
	source, err := build.Import(pkg, dir, 0)
	require.NoError(t, err)
	values := map[string]ast.Expr{}
	for _, name := range source.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(source.Dir, name), nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
				values[spec.Names[0].Name] = spec.Values[0]
			}
			return true
		})
	}
	var eval func(ast.Expr) string
	eval = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			text, err := strconv.Unquote(e.Value)
			require.NoError(t, err)
			return text
		case *ast.BinaryExpr:
			return eval(e.X) + eval(e.Y)
		case *ast.Ident:
			return eval(values[e.Name])
		}
		t.Fatalf("cannot evaluate %T", e)
		return ""
	}
	return func(name string) string { return eval(values[name]) }
}
