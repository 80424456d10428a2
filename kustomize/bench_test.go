package kustomize_test

import (
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

func BenchmarkSmall(b *testing.B) {
	benchmarkBuild(b, tree(map[string]string{"kustomization.yaml": "resources: [cm.yaml]", "cm.yaml": configMap}), ".")
}

func BenchmarkOverlay(b *testing.B) {
	fsys := os.DirFS(corpus)
	for _, dir := range []string{"patches", "everything", "openapi"} {
		b.Run(dir, func(b *testing.B) { benchmarkBuild(b, fsys, dir) })
	}
}

func BenchmarkForty(b *testing.B) { benchmarkBuild(b, tree(applications(8)), "overlay") }

func BenchmarkThousand(b *testing.B) {
	for _, overlay := range []string{"plain", "overlay"} {
		b.Run(overlay, func(b *testing.B) { benchmarkBuild(b, tree(applications(200)), overlay) })
	}
}

func BenchmarkThousandAtOnce(b *testing.B) {
	fsys := tree(applications(200))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := kustomize.Build(b.Context(), fsys, "overlay", kustomize.Options{})
			require.NoError(b, err)
		}
	})
}

func benchmarkBuild(b *testing.B, fsys fs.FS, dir string) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := kustomize.Build(b.Context(), fsys, dir, kustomize.Options{})
		require.NoError(b, err)
	}
}

// applications is a tree of five objects for each, and an overlay over
// all of them.
func applications(applications int) map[string]string {
	files := map[string]string{
		"overlay/kustomization.yaml": "resources: [../plain]\nnamePrefix: prod-\nnamespace: prod\nlabels: [{pairs: {env: prod}, includeSelectors: true}]\n" +
			"images: [{name: nginx, newTag: \"1.27\"}, {name: redis, newName: mirror/redis}]\n" +
			"patches:\n- path: patch.yaml\n- {target: {kind: Service}, patch: \"- {op: add, path: /spec/type, value: ClusterIP}\"}\n",
		"overlay/patch.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-7}\nspec: {replicas: 4}\n",
	}
	list := "resources:\n"
	for i := range applications {
		name := fmt.Sprintf("app-%d", i)
		file := fmt.Sprintf("app-%d.yaml", i)
		list += "- " + file + "\n"
		files["plain/"+file] = fmt.Sprintf(fiveObjects, name)
	}
	files["plain/kustomization.yaml"] = list
	return files
}

const fiveObjects = `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      serviceAccountName: %[1]s
      containers:
      - name: main
        image: nginx:1.25
        ports: [{containerPort: 8080}]
        envFrom: [{configMapRef: {name: %[1]s}}]
        resources: {limits: {cpu: 100m, memory: 128Mi}}
      - name: side
        image: redis
      volumes: [{name: key, secret: {secretName: %[1]s}}]
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
data: {LOG: info, MODE: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: %[1]s}
stringData: {key: value}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
`
