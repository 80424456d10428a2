package kustomize_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/gitopskit/gitopskit/kustomize"
)

// fields are those of all types that a kustomization is made of. A star is for what
// names a file or a directory, an exclamation mark for what is refused whatever it
// is.
//
// If this test fails after an update of kustomize, find out what the new field
// does. If it can name something that is read, have policy.go check it.
var fields = map[string]string{
	"Kustomization": "metadata *openapi namePrefix nameSuffix namespace commonLabels labels commonAnnotations " +
		"*patchesStrategicMerge patchesJson6902 patches images imageTags replacements replicas vars sortOptions " +
		"*resources *components *crds *bases configMapGenerator secretGenerator !helmGlobals !helmCharts " +
		"!helmChartInflationGenerator generatorOptions *configurations *generators *transformers *validators buildMetadata",
	"TypeMeta":          "kind apiVersion",
	"ObjectMeta":        "name namespace labels annotations",
	"Label":             "pairs includeSelectors includeTemplates includeVolumeClaimTemplates fields",
	"FieldSpec":         "path create", // the path of a field
	"Gvk":               "group version kind",
	"ResId":             "name namespace",
	"Patch":             "*path patch target options",
	"PatchArgs":         "allowNameChange allowKindChange",
	"Selector":          "annotationSelector labelSelector",
	"Image":             "name newName tagSuffix newTag digest",
	"ReplacementField":  "*path",
	"Replacement":       "source targets sourceValue",
	"SourceSelector":    "fieldPath options",
	"FieldOptions":      "delimiter index encoding create",
	"TargetSelector":    "select reject fieldPaths options",
	"Replica":           "name count",
	"Var":               "name objref fieldref",
	"Target":            "apiVersion name namespace",
	"FieldSelector":     "fieldPath",
	"SortOptions":       "order legacySortOptions",
	"LegacySortOptions": "orderFirst orderLast",
	"ConfigMapArgs":     "",
	"SecretArgs":        "type",
	"GeneratorArgs":     "namespace name behavior options",
	"KvPairSources":     "literals *files *envs *env",
	"GeneratorOptions":  "labels annotations disableNameSuffixHash immutable",
}

func TestAttackEveryField(t *testing.T) {
	seen := map[string]bool{}
	paths := 0
	var walk func(typ reflect.Type, at []string)
	walk = func(typ reflect.Type, at []string) {
		known, ok := fields[typ.Name()]
		require.True(t, ok, "%v: a type that nobody has looked at", typ)
		marks := map[string]string{}
		for _, f := range strings.Fields(known) {
			name := strings.TrimLeft(f, "*!")
			marks[name] = strings.TrimSuffix(f, name)
		}
		found := map[string]bool{}
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			elem, here := f.Type, slices.Concat(at, []string{name})
			if elem.Kind() == reflect.Slice {
				elem, here = elem.Elem(), append(here, "[]")
			}
			if elem.Kind() == reflect.Pointer {
				elem = elem.Elem()
			}
			if name == "" && elem.Kind() == reflect.Struct { // its fields are those of the struct around it
				walk(elem, at)
				continue
			}
			if name == "" || name == "-" {
				continue
			}
			found[name] = true
			mark, ok := marks[name]
			require.True(t, ok, "%v.%s: a field that nobody has looked at", typ, name)
			switch mark {
			case "*":
				paths++
				namesAFile(t, here, elem)
			case "!":
				isRefused(t, here)
			default:
				if elem.Kind() == reflect.Struct {
					walk(elem, here)
				}
			}
		}
		for name := range marks {
			require.True(t, found[name], "%v.%s: there is no such field any more", typ, name)
		}
		seen[typ.Name()] = true
	}
	walk(reflect.TypeFor[types.Kustomization](), nil)
	require.Len(t, seen, len(fields), "types that are no part of a kustomization any more")
	require.Greater(t, paths, 15)
}

// in makes a kustomization with a value in a field.
func in(at []string, value any) map[string]string {
	for i := len(at) - 1; i >= 0; i-- {
		if at[i] == "[]" {
			value = []any{value}
		} else {
			value = map[string]any{at[i]: value}
		}
	}
	text, _ := json.Marshal(value)
	return map[string]string{"app/kustomization.yaml": string(text)}
}

func namesAFile(t *testing.T, at []string, elem reflect.Type) {
	t.Helper()
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", "https://example.com/x", "git@example.com:x/y", "file:///etc/passwd"} {
		var value any = name
		if elem.Kind() == reflect.Map {
			value = map[string]any{"path": name}
		}
		_, err := kustomize.Build(t.Context(), tree(in(at, value)), "app", kustomize.Options{})
		refused := new(kustomize.RefusedError)
		require.ErrorAs(t, err, &refused, "%v: %s", at, name)
		require.Equal(t, "app/kustomization.yaml", refused.File)
		require.Contains(t, refused.Field, at[0])
		require.Equal(t, name, refused.Value)
	}
}

func isRefused(t *testing.T, at []string) {
	t.Helper()
	value := map[string]any{"name": "x", "chartName": "x", "chartHome": "x"}
	for field := range value { // each type has one of them
		_, err := kustomize.Build(t.Context(), tree(in(at, map[string]any{field: "x"})), "app", kustomize.Options{})
		if refused := new(kustomize.RefusedError); errors.As(err, &refused) {
			require.Contains(t, refused.Field, at[0])
			return
		}
	}
	require.Fail(t, "it was not refused", "%v", at)
}

// The configuration of plugins in a directory is checked as that in a file, and what
// would make another of it is refused.
func TestAttackPluginsInADirectory(t *testing.T) {
	config := "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x, annotations: {config.kubernetes.io/local-config: 'true'}}\ntarget: {kind: ConfigMap}\n"
	good := config + "patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {more: x}}'\n"
	for name, tt := range map[string]struct {
		files map[string]string
		field string // that is refused; none if it is fine
	}{
		"fine":            {map[string]string{"t/kustomization.yaml": "resources: [a.yaml, more]", "t/a.yaml": good, "t/more/Kustomization": "resources: [b.yaml]", "t/more/b.yaml": strings.ReplaceAll(good, "name: x", "name: y")}, ""},
		"remote":          {map[string]string{"t/kustomization.yaml": "resources: [a.yaml]", "t/a.yaml": config + "path: https://example.com"}, "transformers[0] PatchTransformer.path"},
		"outside":         {map[string]string{"t/kustomization.yaml": "resources: [a.yaml]", "t/a.yaml": config + "path: ../../x"}, "transformers[0] PatchTransformer.path"},
		"program":         {map[string]string{"t/kustomization.yaml": "resources: [a.yaml]", "t/a.yaml": strings.ReplaceAll(config, "builtin", "example.com/v1")}, "transformers[0]"},
		"deeper":          {map[string]string{"t/kustomization.yaml": "resources: [u]", "t/u/kustomization.yaml": "resources: [a.yaml]", "t/u/a.yaml": config + "path: https://example.com"}, "transformers[0] PatchTransformer.path"},
		"made by a patch": {map[string]string{"t/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]", "t/a.yaml": good, "t/p.yaml": config + "path: https://example.com"}, "transformers[0]"},
		"made deeper":     {map[string]string{"t/kustomization.yaml": "resources: [u]", "t/u/kustomization.yaml": "resources: [a.yaml]\nnamespace: x", "t/u/a.yaml": good}, "transformers[0]"},
		"generated":       {map[string]string{"t/kustomization.yaml": "configMapGenerator: [{name: x}]"}, "transformers[0]"},
		"component":       {map[string]string{"t/kustomization.yaml": "kind: Component\nresources: [a.yaml]", "t/a.yaml": good}, "transformers[0]"},
		"remote base":     {map[string]string{"t/kustomization.yaml": "resources: ['https://example.com']"}, "resources[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.files["kustomization.yaml"] = "resources: [cm.yaml]\ntransformers: [t]"
			tt.files["cm.yaml"] = configMap
			if tt.field == "" {
				objects := built(t, tree(tt.files), ".", kustomize.Options{})
				require.Equal(t, map[string]any{"k": "v", "more": "x"}, objects[0].Object["data"])
				return
			}
			require.Equal(t, tt.field, refusal(t, tree(tt.files), ".").Field)
		})
	}
	// In a circle.
	_, err := kustomize.Build(t.Context(), tree(map[string]string{
		"kustomization.yaml": "transformers: [t]", "t/kustomization.yaml": "resources: [../u]", "u/kustomization.yaml": "resources: [../t]",
	}), ".", kustomize.Options{})
	require.Error(t, err)
}
