package kustomize_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {k: v}\n"

// pathFields are all the ways in which a kustomization names a file or a
// directory, with %s for the name.
func pathFields() map[string]string {
	plugin := func(kind, fields string) string {
		return fmt.Sprintf("resources: [cm.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: %s\n  metadata: {name: x}\n  target: {kind: ConfigMap, name: settings}\n  %s\n", kind, fields)
	}
	return map[string]string{
		"resources":                      "resources: [%s]",
		"bases":                          "bases: [%s]",
		"components":                     "resources: [cm.yaml]\ncomponents: [%s]",
		"crds":                           "resources: [cm.yaml]\ncrds: [%s]",
		"configurations":                 "resources: [cm.yaml]\nconfigurations: [%s]",
		"openapi.path":                   "resources: [cm.yaml]\nopenapi: {path: %s}",
		"patches[0].path":                "resources: [cm.yaml]\npatches: [{path: %s}]",
		"patchesJson6902[0].path":        "resources: [cm.yaml]\npatchesJson6902: [{path: %s, target: {version: v1, kind: ConfigMap, name: settings}}]",
		"patchesStrategicMerge":          "resources: [cm.yaml]\npatchesStrategicMerge: [%s]",
		"replacements[0].path":           "resources: [cm.yaml]\nreplacements: [{path: %s}]",
		"configMapGenerator[0].files":    "configMapGenerator: [{name: x, files: [%s]}]",
		"configMapGenerator[0].envs":     "configMapGenerator: [{name: x, envs: [%s]}]",
		"configMapGenerator[0].env":      "configMapGenerator: [{name: x, env: %s}]",
		"secretGenerator[0].files":       "secretGenerator: [{name: x, files: [%s]}]",
		"secretGenerator[0].envs":        "secretGenerator: [{name: x, envs: [%s]}]",
		"generators":                     "generators: [%s]",
		"transformers":                   "resources: [cm.yaml]\ntransformers: [%s]",
		"validators":                     "resources: [cm.yaml]\nvalidators: [%s]",
		"PatchTransformer.path":          plugin("PatchTransformer", "path: %s"),
		"PatchTransformer.PATH":          plugin("PatchTransformer", "PATH: %s"),
		"PatchJson6902Transformer.path":  plugin("PatchJson6902Transformer", "path: %s"),
		"PatchStrategicMerge.paths":      plugin("PatchStrategicMergeTransformer", "paths: [%s]"),
		"ReplacementTransformer.path":    plugin("ReplacementTransformer", "replacements: [{path: %s}]"),
		"ValueAddTransformer":            plugin("ValueAddTransformer", "targetFilePath: %s"),
		"ConfigMapGenerator.files":       strings.ReplaceAll(plugin("ConfigMapGenerator", "files: [%s]"), "transformers", "generators"),
		"SecretGenerator.envs":           strings.ReplaceAll(plugin("SecretGenerator", "envs: [%s]"), "transformers", "generators"),
		"RESOURCES, case does not count": "RESOURCES: [%s]",
		"escaped":                        `"resour\u0063es": [%s]`,
	}
}

// inField makes a kustomization that names value in a field.
func inField(t testing.TB, field, value string) map[string]string {
	t.Helper()
	text, ok := pathFields()[field]
	require.True(t, ok)
	quoted := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	return map[string]string{"app/kustomization.yaml": fmt.Sprintf(text, quoted), "app/cm.yaml": configMap}
}

func refusal(t testing.TB, fsys fs.FS, dir string) *kustomize.RefusedError {
	t.Helper()
	res, err := kustomize.Build(t.Context(), fsys, dir, kustomize.Options{})
	refused, ok := errors.AsType[*kustomize.RefusedError](err)
	require.True(t, ok, "%v %v", res, err)
	require.True(t, refused.Terminal())
	require.Contains(t, err.Error(), refused.Reason)
	return refused
}

func TestAttackPathsOutOfTheTree(t *testing.T) {
	for _, field := range slices.Sorted(maps.Keys(pathFields())) {
		t.Run(field, func(t *testing.T) {
			for _, value := range []string{
				"../../secret.yaml", "../../../../../../etc/passwd", "x/../../../secret.yaml", "./../../secret.yaml",
				"/etc/passwd", "/@tree/app/cm.yaml", "../../@tree/app/cm.yaml", "//etc/passwd", "../..",
			} {
				refused := refusal(t, tree(inField(t, field, value)), "app")
				require.Equal(t, "app/kustomization.yaml", refused.File)
				require.Equal(t, value, refused.Value)
				require.NotEmpty(t, refused.Field)
			}
		})
	}
}

func TestAttackRemote(t *testing.T) {
	spellings := []string{
		"https://example.com/x.yaml", "http://example.com/x.yaml", "HTTPS://example.com/x.yaml", "https:example.com", "http:x",
		" https://example.com/x.yaml", "github.com/org/repo", "GitHub.com/org/repo//dir?ref=v1", "github.com:org/repo",
		"git@github.com:org/repo", "git@example.com:org/repo.git", "user@example.com/org/repo", "git::https://example.com/org/repo",
		"git::git@example.com:x/y", "gh:org/repo", "ssh://git@example.com/org/repo", "file:///etc", "FILE:///etc", "git://example.com/x",
		"https://user:pw@example.com/org/repo.git?ref=main", "s3://bucket/key", "ssh://host/\nx",
	}
	for _, field := range slices.Sorted(maps.Keys(pathFields())) {
		t.Run(field, func(t *testing.T) {
			for _, value := range spellings {
				files := inField(t, field, value)
				if strings.Contains(value, "\n") {
					files["app/kustomization.yaml"] = fmt.Sprintf(pathFields()[field], `"ssh://host/\nx"`)
				}
				fsys := tree(files)
				// A file of that name must not make a difference: kustomize falls back to the
				// network when it cannot use the file.
				if name := "app/" + value; fs.ValidPath(name) {
					fsys[name] = &fstest.MapFile{Data: []byte("not: [yaml")}
				}
				res, err := kustomize.Build(t.Context(), fsys, "app", kustomize.Options{})
				refused, ok := errors.AsType[*kustomize.RefusedError](err)
				if strings.Contains(value, "\n") && !ok {
					require.ErrorAs(t, err, new(*kustomize.InputError), "%v", res)
					continue
				}
				require.True(t, ok, "%q: %v", value, err)
				require.Equal(t, strings.TrimSpace(value), strings.TrimSpace(refused.Value))
			}
		})
	}
}

func TestAttackRemoteByKey(t *testing.T) {
	for _, value := range []string{"key=https://example.com/x", "key=../../x", "key=/etc/passwd"} {
		refusal(t, tree(inField(t, "configMapGenerator[0].files", value)), "app")
	}
}

// Remote fields must be found wherever a kustomization is, not only at the top.
func TestAttackRemoteInABase(t *testing.T) {
	fsys := tree(map[string]string{
		"top/kustomization.yaml":        "resources: [../mid]",
		"mid/kustomization.yml":         "resources: [../cm.yaml]\ncomponents: [../comp]",
		"comp/Kustomization":            "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources: [https://example.com]",
		"cm.yaml":                       configMap,
		"generated/sub/Kustomization":   "resources: [github.com/org/repo]",
		"plugin/kustomization.yaml":     "generators: [gen.yaml]",
		"plugin/gen.yaml":               "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nname: g\nfiles: ['https://example.com']\n",
		"list/kustomization.yaml":       "generators: [gen.yaml]",
		"list/gen.yaml":                 "apiVersion: builtin\nkind: FooList\nitems:\n- {apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: g}, files: ['https://example.com']}\n",
		"merged/kustomization.yaml":     "generators: [gen.yaml]",
		"merged/gen.yaml":               "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nx: &a {files: ['https://example.com']}\n<<: *a\n",
		"directory/kustomization.yaml":  "transformers: [t]",
		"directory/t/kustomization.yml": "resources: [../../cm.yaml]",
	})
	for _, dir := range []string{"top", "mid", "generated", "plugin", "list", "merged", "directory"} {
		t.Run(dir, func(t *testing.T) { refusal(t, fsys, dir) })
	}
}

func TestAttackPrograms(t *testing.T) {
	for name, text := range map[string]string{
		"helmCharts":                  "helmCharts: [{name: c, repo: 'https://example.com'}]",
		"helmChartInflationGenerator": "helmChartInflationGenerator: [{chartName: c}]",
		"helmGlobals":                 "resources: [cm.yaml]\nhelmGlobals: {chartHome: charts}",
		"chart as a plugin":           "generators:\n- |\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: x}\n  name: c\n",
		"exec function": "transformers:\n- |\n  apiVersion: example.com/v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n" +
			"      config.kubernetes.io/function: 'exec: {path: /bin/sh}'\n",
		"container function": "transformers:\n- |\n  apiVersion: example.com/v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n" +
			"      config.kubernetes.io/function: 'container: {image: evil, network: true}'\n",
		"plugin":      "generators: [plugin.yaml]",
		"flow plugin": "generators: ['{apiVersion: someteam.example.com/v1, kind: Exec, metadata: {name: x}}']",
	} {
		t.Run(name, func(t *testing.T) {
			refusal(t, tree(map[string]string{
				"kustomization.yaml": text, "cm.yaml": configMap,
				"plugin.yaml": "apiVersion: someteam.example.com/v1\nkind: Exec\nmetadata: {name: x}\nargsOneLiner: id\n",
			}), ".")
		})
	}
}

const canary = "canary-5ca1ab1e"

func TestAttackLinksOutOfTheTree(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.yaml")
	require.NoError(t, os.WriteFile(secret, []byte(configMap+"# "+canary+"\n"), 0o600))
	require.NoError(t, os.Symlink("/proc/self/environ", filepath.Join(outside, "environ")))

	links := map[string]string{ // what app/link.yaml leads to
		"absolute file":  secret,
		"relative file":  "../../" + filepath.Base(outside) + "/secret.yaml",
		"environment":    "/proc/self/environ",
		"chain":          "../hop1",
		"through itself": "link.yaml",
		"ping pong":      "../ping",
		"dangling":       "nowhere.yaml",
	}
	texts := map[string]string{
		"resource":  "resources: [link.yaml]",
		"generator": "configMapGenerator: [{name: x, files: [link.yaml]}]",
		"patch":     "resources: [cm.yaml]\npatches: [{path: link.yaml}]",
		"generated": "",
	}
	for linkName, target := range links {
		for textName, text := range texts {
			t.Run(linkName+" as "+textName, func(t *testing.T) {
				dir := t.TempDir()
				require.NoError(t, os.MkdirAll(filepath.Join(dir, "app"), 0o755))
				if text != "" {
					require.NoError(t, os.WriteFile(filepath.Join(dir, "app/kustomization.yaml"), []byte(text), 0o600))
				}
				require.NoError(t, os.WriteFile(filepath.Join(dir, "app/cm.yaml"), []byte(configMap), 0o600))
				require.NoError(t, os.Symlink(target, filepath.Join(dir, "app/link.yaml")))
				require.NoError(t, os.Symlink("hop2", filepath.Join(dir, "hop1")))
				require.NoError(t, os.Symlink(secret, filepath.Join(dir, "hop2")))
				require.NoError(t, os.Symlink("pong", filepath.Join(dir, "ping")))
				require.NoError(t, os.Symlink("ping", filepath.Join(dir, "pong")))
				root, err := os.OpenRoot(dir)
				require.NoError(t, err)
				defer root.Close()
				for _, fsys := range []fs.FS{root.FS(), os.DirFS(dir)} {
					_, err := kustomize.Build(t.Context(), fsys, "app", kustomize.Options{})
					require.Error(t, err)
					require.NotContains(t, err.Error(), canary)
					require.Contains(t, err.Error(), "link.yaml")
				}
			})
		}
	}
}

func TestAttackLinkedDirectoryOutOfTheTree(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "kustomization.yaml"), []byte("resources: [cm.yaml]"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "cm.yaml"), []byte(configMap), 0o600))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "base")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: [base]"), 0o600))
	for _, build := range []string{".", "base"} {
		refusal(t, os.DirFS(dir), build)
	}
}

func TestLinksInsideOfTheTree(t *testing.T) {
	fsys := tree(map[string]string{
		"app/kustomization.yaml":  "resources: [base, cm.yaml]",
		"real/kustomization.yaml": "resources: [dep.yaml]\nnamePrefix: real-",
		"real/dep.yaml":           strings.ReplaceAll(configMap, "settings", "other"),
		"shared/cm.yaml":          configMap,
	})
	fsys["app/base"] = &fstest.MapFile{Data: []byte("../real"), Mode: fs.ModeSymlink}
	fsys["app/cm.yaml"] = &fstest.MapFile{Data: []byte("../shared/cm.yaml"), Mode: fs.ModeSymlink}
	res, err := kustomize.Build(t.Context(), fsys, "app", kustomize.Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"real-other", "settings"}, names(res))
	require.Equal(t, []string{
		"app/base", "app/cm.yaml", "app/kustomization.yaml", "real/dep.yaml", "real/kustomization.yaml", "shared/cm.yaml",
	}, res.Inputs.Files())
}

func TestAttackRecursion(t *testing.T) {
	diamonds := map[string]string{"kustomization.yaml": "resources: [a0, b0]"}
	for i := range 40 {
		for _, side := range []string{"a", "b"} {
			diamonds[fmt.Sprintf("%s%d/kustomization.yaml", side, i)] =
				fmt.Sprintf("namePrefix: %s\nresources: [../a%d, ../b%d]", side, i+1, i+1)
		}
	}
	for _, side := range []string{"a", "b"} {
		diamonds[side+"40/kustomization.yaml"] = "namePrefix: x"
	}
	for name, files := range map[string]map[string]string{
		"itself":      {"kustomization.yaml": "resources: [.]"},
		"each other":  {"kustomization.yaml": "resources: [b]", "b/kustomization.yaml": "resources: [..]"},
		"siblings":    {"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../a]"},
		"components":  {"kustomization.yaml": "components: [c]", "c/kustomization.yaml": "kind: Component\ncomponents: [../c]"},
		"by diamonds": diamonds,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := kustomize.Build(ctx, tree(files), ".", kustomize.Options{Limits: kustomize.Limits{Reads: 2000}})
			require.Error(t, err)
			require.NoError(t, ctx.Err(), "it must not be the clock that ends it")
		})
	}
}

func TestAttackLinksInACircleAsBases(t *testing.T) {
	fsys := tree(map[string]string{"a/kustomization.yaml": "resources: [link]"})
	fsys["a/link"] = &fstest.MapFile{Data: []byte("../a"), Mode: fs.ModeSymlink}
	_, err := kustomize.Build(t.Context(), fsys, "a", kustomize.Options{})
	require.ErrorContains(t, err, "cycle")
}

// bomb doubles forty times by aliases.
func bomb() string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\na0: &a0 [x, x]\n")
	for i := range 40 {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	return b.String()
}

// heap fails the test if f makes the heap grow by more than most bytes.
func heap(t *testing.T, most uint64, f func()) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan uint64)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go func() {
		var now runtime.MemStats
		peak := before.HeapAlloc
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
			select {
			case <-stop:
				done <- peak
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(stop)
	require.Less(t, <-done-before.HeapAlloc, most)
}

func TestAttackAliasBomb(t *testing.T) {
	indented := strings.ReplaceAll(bomb(), "\n", "\n  ")
	for name, files := range map[string]map[string]string{
		"resource":      {"kustomization.yaml": "resources: [x.yaml]", "x.yaml": bomb()},
		"generated":     {"x.yaml": bomb()},
		"patch":         {"kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: x.yaml}]", "cm.yaml": configMap, "x.yaml": bomb()},
		"inline patch":  {"kustomization.yaml": "resources: [cm.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(bomb(), "\n", "\n    "), "cm.yaml": configMap},
		"plugin":        {"kustomization.yaml": "transformers:\n- |\n  " + strings.ReplaceAll(indented, "v1", "builtin")},
		"kustomization": {"kustomization.yaml": bomb()},
		"crds":          {"kustomization.yaml": "crds: [x.yaml]", "x.yaml": bomb()},
		"openapi":       {"kustomization.yaml": "openapi: {path: x.yaml}", "x.yaml": bomb()},
		"configuration": {"kustomization.yaml": "configurations: [x.yaml]", "x.yaml": bomb()},
		"replacement":   {"kustomization.yaml": "replacements: [{path: x.yaml}]", "x.yaml": bomb()},
	} {
		t.Run(name, func(t *testing.T) {
			heap(t, 200<<20, func() {
				_, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{})
				require.Error(t, err)
			})
		})
	}
}

func TestAttackDeepNesting(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	for name, files := range map[string]map[string]string{
		"resource":       {"kustomization.yaml": "resources: [x.yaml]", "x.yaml": configMap + "deep: " + deep},
		"patch":          {"kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: x.yaml}]", "cm.yaml": configMap, "x.yaml": configMap + "deep: " + deep},
		"kustomization":  {"kustomization.yaml": "resources: " + deep},
		"block":          {"x.yaml": configMap + "deep:\n" + blocks(3000)},
		"alias by alias": {"x.yaml": configMap + chain(2000)},
	} {
		t.Run(name, func(t *testing.T) {
			heap(t, 300<<20, func() {
				_, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{})
				require.Error(t, err)
			})
		})
	}
}

func blocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i+1) + "k:\n")
	}
	return b.String()
}

// chain nests by aliases what is flat in the text.
func chain(n int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := range n {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d]\n", i+1, i+1, i)
	}
	return b.String()
}

func TestAttackLimits(t *testing.T) {
	many := strings.Repeat("---\n"+configMap, 30)
	for limit, tt := range map[string]struct {
		limits kustomize.Limits
		files  map[string]string
	}{
		"FileBytes": {kustomize.Limits{FileBytes: 50}, map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap}},
		"Bytes":     {kustomize.Limits{Bytes: 80}, map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap}},
		"Reads":     {kustomize.Limits{Reads: 4}, map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap}},
		"Depth":     {kustomize.Limits{Depth: 1}, map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap}},
		"Nodes":     {kustomize.Limits{Nodes: 8}, map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap}},
		"Objects":   {kustomize.Limits{Objects: 25}, map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": many}},
	} {
		t.Run(limit, func(t *testing.T) {
			_, err := kustomize.Build(t.Context(), tree(tt.files), ".", kustomize.Options{Limits: tt.limits})
			limitErr, ok := errors.AsType[*kustomize.LimitError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, limit, limitErr.Limit)
			require.True(t, limitErr.Terminal())
		})
	}
}

// A base that is used often gives its objects as often.
func TestAttackObjectsMultiplied(t *testing.T) {
	files := map[string]string{"base/kustomization.yaml": "resources: [cm.yaml]", "base/cm.yaml": configMap}
	var list []string
	for i := range 20 {
		dir := fmt.Sprintf("o%d", i)
		files[dir+"/kustomization.yaml"] = fmt.Sprintf("namePrefix: p%d-\nresources: [../base]", i)
		list = append(list, dir)
	}
	files["kustomization.yaml"] = "resources: [" + strings.Join(list, ", ") + "]"
	_, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{Limits: kustomize.Limits{Objects: 10}})
	limitErr, ok := errors.AsType[*kustomize.LimitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "Objects", limitErr.Limit)
}

func TestAttackSchemas(t *testing.T) {
	cm := configMap
	for name, tt := range map[string]struct{ field, file string }{
		"definition in a circle":     {"openapi: {path: x}", `{"definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}}}`},
		"definition of itself":       {"openapi: {path: x}", `{"definitions":{"a":{"$ref":"#/definitions/a"}}}`},
		"percent-encoded":            {"openapi: {path: x}", `{"definitions":{"ab":{"$ref":"#/definitions/%61b"}}}`},
		"reference to a part":        {"openapi: {path: x}", `{"definitions":{"a":{"properties":{"b":{"$ref":"#/definitions/a/properties/b"}}}}}`},
		"reference to a file":        {"openapi: {path: x}", `{"definitions":{"a":{"properties":{"b":{"$ref":"/etc/passwd#/definitions/b"}}}}}`},
		"reference to an address":    {"openapi: {path: x}", `{"definitions":{"a":{"items":{"$ref":"https://example.com#/definitions/b"}}}}`},
		"not a schema":               {"openapi: {path: x}", `[]`},
		"types in a circle":          {"crds: [x]", `{"a":{"Schema":{"properties":{"b":{"$ref":"b"}}}},"b":{"Schema":{"properties":{"a":{"$ref":"a"}}}}}`},
		"types in a circle, YAML":    {"crds: [x]", "a: {Schema: {properties: {kind: {}, apiVersion: {}, metadata: {}, a: {$ref: a}}}}"},
		"types in a circle, escaped": {"crds: [x]", `{"ab":{"schema":{"properties":{"a":{"$ref":"%61b"}}}}}`},
		"no types":                   {"crds: [x]", ""},
		"types that multiply":        {"crds: [x]", multiplying(30)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.Build(t.Context(), tree(map[string]string{
				"kustomization.yaml": "resources: [cm.yaml]\n" + tt.field, "cm.yaml": cm, "x": tt.file,
			}), ".", kustomize.Options{})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "unknown")
		})
	}
}

// multiplying makes types with 2^n ways through them.
func multiplying(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`"t%d":{"Schema":{"properties":{"kind":{},"apiVersion":{},"metadata":{},"a":{"$ref":"t%d"},"b":{"$ref":"t%d"}}}}`, i, i+1, i+1))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestAttackDevices(t *testing.T) {
	for name, mode := range map[string]fs.FileMode{"pipe": fs.ModeNamedPipe, "device": fs.ModeDevice, "socket": fs.ModeSocket} {
		t.Run(name, func(t *testing.T) {
			fsys := tree(map[string]string{"kustomization.yaml": "resources: [x.yaml]"})
			fsys["x.yaml"] = &fstest.MapFile{Mode: mode}
			_, err := kustomize.Build(t.Context(), fsys, ".", kustomize.Options{})
			require.ErrorContains(t, err, "x.yaml: it is not a file")
		})
	}
}

func TestAttackPanics(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"build annotation": {"kustomization.yaml": "resources: [x.yaml]\nnamePrefix: p-", "x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  annotations: {internal.config.kubernetes.io/previousNames: 'a,b', internal.config.kubernetes.io/previousNamespaces: a, internal.config.kubernetes.io/previousKinds: a}\n"},
		"schema": {
			"kustomization.yaml": "resources: [x.yaml]\npatches: [{path: x.yaml}]\nopenapi: {path: schema.json}", "x.yaml": configMap,
			"schema.json": `{"definitions":{"a":{"x-kubernetes-group-version-kind":[{"kind":1}]}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{})
			buildErr, ok := errors.AsType[*kustomize.BuildError](err)
			require.True(t, ok, "%v", err)
			require.Contains(t, buildErr.Error(), "panicked")
		})
	}
}

func TestAttackDirectory(t *testing.T) {
	fsys := tree(map[string]string{"app/cm.yaml": configMap})
	for _, dir := range []string{"..", "../x", "/app", "/etc", "app/../..", "https://example.com/x", "github.com/org/repo", "a\x00b", "app/../../etc"} {
		_, err := kustomize.Build(t.Context(), fsys, dir, kustomize.Options{})
		require.Error(t, err, dir)
	}
}

func names(res *kustomize.Result) []string {
	var list []string
	for _, o := range res.Objects {
		list = append(list, o.GetName())
	}
	return list
}

// Kustomize's own messages hold whole objects.
func TestAttackSecretsInErrors(t *testing.T) {
	secret := func(name, namespace string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nstringData: {password: hunter2}\n"
	}
	for name, files := range map[string]map[string]string{
		"ambiguous name": {
			"kustomization.yaml":   "resources: [a, b, pod.yaml]\n",
			"a/kustomization.yaml": "resources: [s.yaml]\npatches: [{target: {kind: Secret}, options: {allowNameChange: true}, patch: \"- {op: replace, path: /metadata/name, value: s1}\"}]\n", "a/s.yaml": secret("s", "x"),
			"b/kustomization.yaml": "resources: [s.yaml]\npatches: [{target: {kind: Secret}, options: {allowNameChange: true}, patch: \"- {op: replace, path: /metadata/name, value: s2}\"}]\n", "b/s.yaml": secret("s", "x"),
			"pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: x}\nspec: {containers: [{name: c, image: i, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, value: hunter2}]}]}\n",
		},
		"namespaces collide": {
			"kustomization.yaml": "namespace: z\nresources: [a.yaml, b.yaml]\n", "a.yaml": secret("s", "x"), "b.yaml": secret("s", "y"),
		},
		"patch that does not fit": {
			"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |\n    stringData: {password: hunter2}\n    nothing: [\n", "a.yaml": secret("s", "x"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for file, text := range files {
				fsys[file] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := kustomize.Build(t.Context(), fsys, ".", kustomize.Options{})
			require.Error(t, err)
			t.Log(err)
			for ; err != nil; err = errors.Unwrap(err) {
				require.NotContains(t, err.Error(), "hunter2")
				require.Less(t, len(err.Error()), 8<<10)
			}
		})
	}
}
