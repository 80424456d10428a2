// Package trees holds the kustomizations that both sides build.
package trees

import (
	"fmt"
	"strings"
)

// Tree is a directory to build, with all that it refers to.
type Tree struct {
	Files   map[string]string // by path
	Dir     string            // to build
	Objects int               // that come out
}

// Small is one ConfigMap.
func Small() Tree {
	return Tree{Dir: ".", Objects: 1, Files: map[string]string{
		"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- config.yaml\n",
		"config.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config\n  namespace: default\ndata:\n  key: value\n",
	}}
}

// Plain is some applications of five objects each, and nothing that changes them.
func Plain(applications int) Tree {
	files := map[string]string{}
	var list strings.Builder
	for i := range applications {
		file := fmt.Sprintf("app-%03d.yaml", i)
		files["base/"+file] = application(fmt.Sprintf("app-%03d", i))
		fmt.Fprintf(&list, "- %s\n", file)
	}
	files["base/kustomization.yaml"] = header + "resources:\n" + list.String()
	return Tree{Files: files, Dir: "base", Objects: 5 * applications}
}

// Overlay is what an environment makes of such applications: its namespace, a
// prefix, labels, images, three patches and a generated ConfigMap.
func Overlay(applications int) Tree {
	t := Plain(applications)
	t.Dir = "overlay"
	t.Objects++
	t.Files["overlay/kustomization.yaml"] = header + overlay
	t.Files["overlay/replicas.yaml"] = replicas
	return t
}

const header = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"

const overlay = `resources:
- ../base
namespace: production
namePrefix: prod-
labels:
- pairs:
    env: production
  includeSelectors: true
images:
- name: ghcr.io/example/app
  newTag: 1.27.3
- name: redis
  newName: registry.example.com/redis
configMapGenerator:
- name: environment
  literals:
  - REGION=eu-west-1
patches:
- path: replicas.yaml
- target:
    kind: Deployment
    name: app-001
  patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: any
    spec:
      template:
        spec:
          containers:
          - name: app
            envFrom:
            - configMapRef:
                name: environment
- target:
    kind: Service
    name: app-002
  patch: |
    - op: add
      path: /spec/type
      value: LoadBalancer
`

const replicas = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-000
spec:
  replicas: 5
  template:
    spec:
      containers:
      - name: app
        resources:
          limits:
            memory: 1Gi
`

// application is a Deployment and what it needs.
func application(name string) string { return strings.ReplaceAll(objects, "NAME", name) }

const objects = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
  labels:
    app: NAME
spec:
  replicas: 2
  selector:
    matchLabels:
      app: NAME
  template:
    metadata:
      labels:
        app: NAME
    spec:
      serviceAccountName: NAME
      containers:
      - name: app
        image: ghcr.io/example/app:1.25.0
        ports:
        - name: http
          containerPort: 8080
        envFrom:
        - configMapRef:
            name: NAME
        readinessProbe:
          httpGet:
            path: /healthz
            port: http
        resources:
          requests:
            cpu: 100m
            memory: 128Mi
          limits:
            memory: 256Mi
        volumeMounts:
        - name: credentials
          mountPath: /etc/credentials
      - name: cache
        image: redis:7
      volumes:
      - name: credentials
        secret:
          secretName: NAME
---
apiVersion: v1
kind: Service
metadata:
  name: NAME
  labels:
    app: NAME
spec:
  selector:
    app: NAME
  ports:
  - name: http
    port: 80
    targetPort: http
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: NAME
data:
  LOG_LEVEL: info
  WORKERS: "4"
---
apiVersion: v1
kind: Secret
metadata:
  name: NAME
stringData:
  password: example
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: NAME
`
