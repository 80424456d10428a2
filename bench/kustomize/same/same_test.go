// Package same_test holds what the peer and we must agree on.
package same_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	flux "github.com/fluxcd/pkg/kustomize"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/kustomize"
)

const web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {team: a}}\nspec:\n  selector: {matchLabels: {app: web}}\n" +
	"  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: [{name: web, image: 'nginx:1.0'}, {name: log, image: 'fluent@sha256:aa'}]\n" +
	"      volumes: [{name: c, configMap: {name: settings}}]\n"

func files() map[string]string {
	component := "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
	return map[string]string{
		"app/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: old\nnamePrefix: old-\nresources: [web.yaml, ../base]\ncomponents: [../one]\n" +
			"configMapGenerator: [{name: settings, literals: [a=b]}]\nimages: [{name: nginx, newName: x/nginx, newTag: '2'}, {name: fluent, digest: 'sha256:bb'}]\n" +
			"patches: [{patch: '[{\"op\": \"add\", \"path\": \"/spec/replicas\", \"value\": 1}]', target: {kind: Deployment}}]\n",
		"app/web.yaml":             web,
		"plain/web.yaml":           web,
		"plain/sub/rbac.yml":       "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: r, apiGroup: rbac.authorization.k8s.io}\nsubjects: [{kind: ServiceAccount, name: default, namespace: default}]\n",
		"plain/over/Kustomization": "resources: [../../base]\n",
		"base/kustomization.yaml":  "resources: [cm.yaml]\nnameSuffix: -base\n",
		"base/cm.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm, namespace: own}\ndata: {k: v}\n",
		"one/kustomization.yaml":   component + "commonAnnotations: {one: 'yes'}\n",
		"two/kustomization.yaml":   component + "labels: [{pairs: {two: 'yes'}, includeSelectors: true}]\n",
	}
}

// TestSameAsFlux gives the fields of a Kustomization to both.
func TestSameAsFlux(t *testing.T) {
	for name, opts := range map[string]kustomize.Options{
		"nothing":        {},
		"namespace":      {TargetNamespace: "new"},
		"prefix, suffix": {NamePrefix: "new-", NameSuffix: "-new"},
		"tag":            {Images: []kustomize.Image{{Name: "nginx", NewTag: "3"}, {Name: "fluent", NewTag: "4"}}},
		"digest":         {Images: []kustomize.Image{{Name: "nginx", Digest: "sha256:cc"}, {Name: "fluent", NewName: "f"}}},
		"tag and digest": {Images: []kustomize.Image{{Name: "nginx", NewTag: "3", Digest: "sha256:cc"}}},
		"twice":          {Images: []kustomize.Image{{Name: "nginx", NewTag: "3"}, {Name: "nginx", NewName: "y"}}},
		"name alone":     {Images: []kustomize.Image{{Name: "nginx"}, {Name: "other"}}},
		"components":     {Components: []string{"../two"}},
		"missing components": {
			Components: []string{"../three", "../two"}, IgnoreMissingComponents: true,
		},
		"build metadata": {BuildMetadata: []string{"originAnnotations", "transformerAnnotations"}},
		"patches": {Patches: []kustomize.Patch{
			{Patch: `[{"op": "add", "path": "/spec/replicas", "value": 5}]`, Target: &kustomize.Selector{Group: "apps", Kind: "Deploy.*", LabelSelector: "team=a"}},
			{Patch: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: any}\ndata: {more: x}\n", Target: &kustomize.Selector{Kind: "ConfigMap", Name: "cm.*"}},
			{Patch: "$patch: delete\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: any}\n", Target: &kustomize.Selector{AnnotationSelector: "none"}},
		}},
		"all": {
			TargetNamespace: "new", NamePrefix: "a-", NameSuffix: "-z", Components: []string{"../two"}, BuildMetadata: []string{"originAnnotations"},
			Images:  []kustomize.Image{{Name: "nginx", NewTag: "3"}},
			Patches: []kustomize.Patch{{Patch: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 7}\n"}},
		},
	} {
		for _, dir := range []string{"app", "plain"} {
			t.Run(name+" of "+dir, func(t *testing.T) {
				root := t.TempDir()
				require.NoError(t, work.WriteFiles(root, files()))
				res, err := kustomize.Build(t.Context(), os.DirFS(root), dir, opts)
				require.NoError(t, err)
				var got []string
				for _, o := range res.Objects {
					got = append(got, text(t, o.Object))
				}
				require.ElementsMatch(t, byFlux(t, root, dir, opts), got)
			})
		}
	}
}

func byFlux(t *testing.T, root, dir string, opts kustomize.Options) (list []string) {
	t.Helper()
	spec := map[string]any{}
	for field, value := range map[string]any{
		"targetNamespace": opts.TargetNamespace, "namePrefix": opts.NamePrefix, "nameSuffix": opts.NameSuffix,
		"patches": opts.Patches, "images": opts.Images, "components": opts.Components,
		"ignoreMissingComponents": opts.IgnoreMissingComponents, "buildMetadata": opts.BuildMetadata,
	} {
		raw, err := json.Marshal(value)
		require.NoError(t, err)
		var plain any
		require.NoError(t, json.Unmarshal(raw, &plain))
		if plain != nil && plain != "" {
			spec[field] = plain
		}
	}
	at := filepath.Join(root, dir)
	_, err := flux.NewGenerator(root, unstructured.Unstructured{Object: map[string]any{"spec": spec}}).WriteFile(at)
	require.NoError(t, err)
	m, err := flux.SecureBuild(root, at, false)
	require.NoError(t, err)
	for _, r := range m.Resources() {
		object, err := r.Map()
		require.NoError(t, err)
		list = append(list, text(t, object))
	}
	return list
}

func text(t *testing.T, object map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(object)
	require.NoError(t, err)
	return string(raw)
}
