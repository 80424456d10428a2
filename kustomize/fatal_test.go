package kustomize_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

const mergeSettings = `
configMapGenerator:
- name: settings
  behavior: merge
  literals: [a=b]
`

// fatal holds content that makes kustomize call log.Fatal, or overflow the stack,
// when it gets to see it.
func fatal() map[string]map[string]string {
	settings := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
	return map[string]map[string]string{
		"empty key in data": {
			"kustomization.yaml": "resources: [cm.yaml]" + mergeSettings,
			"cm.yaml":            settings + "data: {\"\": x}\n",
		},
		"null key in data": {
			"kustomization.yaml": "resources: [cm.yaml]" + mergeSettings,
			"cm.yaml":            settings + "data: {null: x}\n",
		},
		"empty key in binary data in a list": {
			"kustomization.yaml": "resources: [cm.yaml]" + mergeSettings,
			"cm.yaml": "apiVersion: v1\nkind: ConfigMapList\nitems:\n" +
				"- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, binaryData: {\"\": eA==}}\n",
		},
		"empty key by strategic merge": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: p.yaml}]\n",
			"base/cm.yaml":            settings,
			"base/p.yaml":             settings + "data: {\"\": x}\n",
		},
		"empty key by inline patch": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches:\n- patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {\"\": x}}'\n",
			"base/cm.yaml":            settings,
		},
		"empty key by JSON patch": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
			"base/cm.yaml":            settings + "data: {k: v}\n",
			"base/p.yaml":             "- {op: add, path: /data/, value: x}\n",
		},
		"empty key by JSON patch that is no YAML": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: p.json, target: {kind: ConfigMap}}]\n",
			"base/cm.yaml":            settings + "data: {k: v}\n",
			"base/p.json":             "[\n\t{\n\t\t\"op\": \"add\",\n\t\t\"path\": \"/data/\", \"value\": \"x\"}]",
		},
		"empty key by JSON patch that is no document": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
			"base/cm.yaml":            settings + "data: {k: v}\n",
			"base/p.yaml":             "# x\n--- [{op: add, path: /data/, value: x}]\n",
		},
		"empty key in the value of a JSON patch": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
			"base/cm.yaml":            settings,
			"base/p.yaml":             "- {op: add, path: /data, value: {\"\": x}}\n",
		},
		"empty key by moving": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
			"base/cm.yaml":            settings + "other: {\"\": x}\n",
			"base/p.yaml":             "- {op: move, from: /other, path: /data}\n",
		},
		"empty key by replacement": {
			"kustomization.yaml": "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\nreplacements:\n- source: {kind: ConfigMap, fieldPath: metadata.name}\n" +
				"  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.], options: {create: true}}]\n",
			"base/cm.yaml": settings + "data: {k: v}\n",
		},
		"empty key by replacement of data": {
			"kustomization.yaml": "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\nreplacements:\n- source: {kind: ConfigMap, fieldPath: other}\n" +
				"  targets: [{select: {kind: ConfigMap}, fieldPaths: [data], options: {create: true}}]\n",
			"base/cm.yaml": settings + "other: {\"\": x}\n",
		},
		"empty key by field specification": {
			"kustomization.yaml": "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: LabelTransformer\n  metadata: {name: l}\n" +
				"  labels: {\"\": x}\n  fieldSpecs: [{path: data, create: true}]\n",
			"base/cm.yaml": settings + "data: {k: v}\n",
		},
		"empty key by label": {
			"kustomization.yaml":      "resources: [base]" + mergeSettings,
			"base/kustomization.yaml": "resources: [cm.yaml]\nlabels:\n- pairs: {\"\": x}\n  fields: [{path: data, create: true}]\n",
			"base/cm.yaml":            settings + "data: {k: v}\n",
		},
		"key that is no string, reference in doubt": {
			"kustomization.yaml":     "resources: [one, two, pod.yaml]\n",
			"one/kustomization.yaml": "namePrefix: x-\nresources: [cm.yaml]\n",
			"one/cm.yaml":            settings,
			"two/kustomization.yaml": "namePrefix: y-\nresources: [cm.yaml]\n",
			"two/cm.yaml":            settings,
			"pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  volumes: [{name: v, configMap: {name: settings}}]\n" +
				"  nodeSelector: {1: x}\n",
		},
		"infinity, reference in doubt": {
			"kustomization.yaml":     "resources: [one, two, pod.yaml]\n",
			"one/kustomization.yaml": "namePrefix: x-\nresources: [cm.yaml]\n",
			"one/cm.yaml":            settings,
			"two/kustomization.yaml": "namePrefix: y-\nresources: [cm.yaml]\n",
			"two/cm.yaml":            settings,
			"pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  volumes: [{name: v, configMap: {name: settings}}]\n" +
				"  priority: .inf\n",
		},
		"custom type that refers to itself": {
			"kustomization.yaml": "resources: [cm.yaml]\ncrds: [crd.json]\n",
			"cm.yaml":            settings,
			"crd.json":           `{"a.Bee":{"Schema":{"properties":{"apiVersion":{},"kind":{},"metadata":{},"self":{"$ref":"a.Bee"}}}}}`,
		},
		"anchor that holds itself": {
			"kustomization.yaml": "resources: [cm.yaml]\n",
			"cm.yaml":            settings + "data: &a\n  k: *a\n",
		},
	}
}

// Each case is built in a process of its own, because that is what would end.
func TestAttackContentThatEndsTheProcess(t *testing.T) {
	if name := os.Getenv("KUSTOMIZE_FATAL"); name != "" {
		_, err := kustomize.Build(t.Context(), tree(fatal()[name]), ".", kustomize.Options{})
		fmt.Println("survived:", err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(fatal())) {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAttackContentThatEndsTheProcess$", "-test.v")
			cmd.Env = append(os.Environ(), "KUSTOMIZE_FATAL="+name)
			out, err := cmd.CombinedOutput()
			if len(out) > 1500 {
				out = out[:1500]
			}
			t.Logf("%s", out)
			require.NoError(t, err)
			require.Contains(t, string(out), "survived:")
		})
	}
}
