package kustomize_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

// repeated is a text n times, with the number of each for %d.
func repeated(n int, text, separator string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = strings.ReplaceAll(text, "%d", fmt.Sprint(i))
	}
	return strings.Join(list, separator)
}

// Each line doubles the object. Thirty are a thousand million copies.
func TestAttackPatchesThatMultiply(t *testing.T) {
	const n = 40
	copies := `{"op": "copy", "from": "/data", "path": "/data/x%d"}`
	one := "target: {kind: ConfigMap}"
	replacement := "{source: {kind: ConfigMap, fieldPath: data}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.x%d], options: {create: true}}]}"
	joined := "{source: {kind: ConfigMap, fieldPath: data.k}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.k], options: {delimiter: '-', index: -1}}]}"
	inTurns := `{"op": "copy", "from": "/data/a", "path": "/data/b/x%d"}, {"op": "copy", "from": "/data/b", "path": "/data/a/x%d"}`
	moved := `{"op": "copy", "from": "/data", "path": "/other"}, {"op": "move", "from": "/other", "path": "/data/x%d"}`
	for name, files := range map[string]map[string]string{
		"in one patch":   {"kustomization.yaml": "patches: [{patch: '[" + repeated(n, copies, ",") + "]', " + one + "}]"},
		"in many":        {"kustomization.yaml": "patches: [" + repeated(n, "{patch: '["+copies+"]', "+one+"}", ",") + "]"},
		"in turns":       {"kustomization.yaml": "patches: [{patch: '[" + repeated(n, inTurns, ",") + "]', " + one + "}]"},
		"moved":          {"kustomization.yaml": "patches: [{patch: '[" + repeated(n, moved, ",") + "]', " + one + "}]"},
		"old field":      {"kustomization.yaml": "patchesJson6902: [{patch: '[" + repeated(n, copies, ",") + "]', target: {version: v1, kind: ConfigMap, name: settings}}]"},
		"one file often": {"kustomization.yaml": "patches: [" + repeated(n, "{path: p.yaml, "+one+"}", ",") + "]", "p.yaml": "- {op: copy, from: /data, path: /new}\n- {op: move, from: /new, path: /data/x}\n"},
		"plugin":         {"kustomization.yaml": "transformers: [p.yaml]", "p.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\n" + one + "\npatch: '[" + repeated(n, copies, ",") + "]'\n"},
		"replacements":   {"kustomization.yaml": "replacements: [" + repeated(n, replacement, ",") + "]"},
		"joined":         {"kustomization.yaml": "replacements: [" + repeated(n, joined, ",") + "]"},
		"files":          {"kustomization.yaml": "replacements: [{path: r.yaml}]", "r.yaml": "[" + repeated(n, replacement, ",") + "]"},
		"plugin of them": {"kustomization.yaml": "transformers: [p.yaml]", "p.yaml": "apiVersion: builtin\nkind: ReplacementTransformer\nmetadata: {name: x}\nreplacements: [" + repeated(n, replacement, ",") + "]\n"},
		"many targets":   {"kustomization.yaml": "replacements: [{source: {kind: ConfigMap, fieldPath: data}, targets: [{select: {kind: ConfigMap}, options: {create: true}, fieldPaths: [" + repeated(n, "data.x%d", ",") + "]}]}]"},
	} {
		t.Run(name, func(t *testing.T) {
			files["kustomization.yaml"] += "\nresources: [cm.yaml]"
			files["cm.yaml"] = configMap
			heap(t, 100<<20, func() {
				_, err := kustomize.Build(t.Context(), tree(files), ".", kustomize.Options{})
				limit := new(kustomize.LimitError)
				require.ErrorAs(t, err, &limit)
				require.Equal(t, "Bytes", limit.Limit)
			})
		})
	}
}

// Patches and replacements as people write them are no such thing, however many.
func TestPatchesThatCopy(t *testing.T) {
	filler := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: filler}\ndata: {x: " + strings.Repeat("x", 300_000) + "}\n"
	objects := built(t, tree(map[string]string{
		"cm.yaml": configMap, "filler.yaml": filler,
		"many.yaml": repeated(60, "apiVersion: v1\nkind: Secret\nmetadata: {name: s-%d}\nstringData: {url: 'https://host/x', name: x}\n", "---\n"),
		"kustomization.yaml": "resources: [cm.yaml, filler.yaml, many.yaml]\n" +
			"patches: [{patch: '[" + repeated(60, `{"op": "copy", "from": "/data/k", "path": "/data/x%d"}`, ",") + "]', target: {name: settings}}]\n" +
			"replacements: [" +
			repeated(60, "{source: {kind: ConfigMap, name: settings, fieldPath: data.k}, targets: [{select: {kind: Secret, name: s-%d}, fieldPaths: [stringData.url], options: {delimiter: /, index: 2}}]}", ",") + "," +
			repeated(59, "{source: {kind: Secret, name: s-%d}, targets: [{select: {kind: Secret, name: s-59}, fieldPaths: [metadata.annotations.n%d], options: {create: true}}]}", ",") + "," +
			repeated(59, "{source: {kind: Secret, name: s-%d, fieldPath: stringData.url}, targets: [{select: {kind: Secret, name: s-59}, fieldPaths: [stringData.name]}]}", ",") + "]\n",
	}), ".", kustomize.Options{})
	require.Len(t, objects, 62)
}
