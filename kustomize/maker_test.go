package kustomize_test

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

// maker makes a random tree.
type maker struct {
	*rand.Rand
	files map[string]string
	used  map[string]bool
	done  []string // layers that are there, to be used once more
	n     int
}

func newMaker(seed uint64) *maker {
	return &maker{Rand: rand.New(rand.NewPCG(seed, 1)), files: map[string]string{}, used: map[string]bool{}}
}

func (m *maker) pick(values ...string) string { return values[m.IntN(len(values))] }

// maybe is a line or nothing.
func (m *maker) maybe(percent int, line string) string {
	if m.IntN(100) < percent {
		return line
	}
	return ""
}

func (m *maker) tree() map[string]string {
	m.layer("top", 0)
	return m.files
}

func (m *maker) name() string      { return m.pick("a", "b", "c", "d", "e") }
func (m *maker) generated() string { return m.name() + "-gen" }
func (m *maker) namespace() string { return m.pick("", "", "one", "two", "default") }

func (m *maker) layer(dir string, depth int) {
	var k strings.Builder
	k.WriteString("kind: Kustomization\nresources:\n")
	for i := range 1 + m.IntN(3) {
		file := fmt.Sprintf("r%d.yaml", i)
		m.files[path.Join(dir, file)] = m.manifests()
		k.WriteString("- " + file + "\n")
	}
	if depth < 2 {
		for i := range m.IntN(3 - depth) {
			base := fmt.Sprintf("%s-base%d", dir, i)
			m.layer(base, depth+1)
			k.WriteString("- ../" + base + "\n")
		}
	}
	if len(m.done) > 0 && m.IntN(4) == 0 {
		k.WriteString("- ../" + m.pick(m.done...) + "\n")
	}
	if depth < 2 && m.IntN(4) == 0 {
		m.files[dir+"-component/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n" + m.transformers(dir+"-component")
		k.WriteString("components: [../" + dir + "-component]\n")
	}
	k.WriteString(m.transformers(dir))
	m.files[path.Join(dir, "kustomization.yaml")] = k.String()
	m.done = append(m.done, dir)
}

func (m *maker) transformers(dir string) string {
	return m.maybe(35, "namePrefix: "+m.pick("p-", "a-", "\"1\"", "x.")+"\n") +
		m.maybe(25, "nameSuffix: "+m.pick("-s", "-a", "\"0\"")+"\n") +
		m.maybe(30, "namespace: "+m.pick("one", "two", "three", "default")+"\n") +
		m.maybe(20, "commonAnnotations: {"+m.pick("note: x", "num: \"1\"", "e: \"\"")+"}\n") +
		m.maybe(15, "commonLabels: {app: x, num: \"1\"}\n") +
		m.maybe(30, "labels:\n- pairs: {team: "+m.pick("a", "\"2\"")+"}\n"+
			m.maybe(30, "  includeSelectors: true\n")+m.maybe(30, "  includeTemplates: true\n")+
			m.maybe(15, "  fields: [{path: spec/extra, create: true}]\n")) +
		m.maybe(30, "images:\n- name: "+m.pick("nginx", "redis", "quay.io/x/app")+"\n"+
			m.pick("  newTag: \"1.27\"\n", "  newName: other\n", "  newName: r/o\n  newTag: v2\n", "  digest: sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3\n")) +
		m.maybe(1, "replicas: [{name: "+m.name()+", count: 7}]\n") +
		m.patches(dir) + m.generators(dir)
}

func (m *maker) patches(dir string) string {
	var out strings.Builder
	for range m.IntN(3) {
		out.WriteString(m.patch(dir))
	}
	if out.Len() == 0 {
		return ""
	}
	return "patches:\n" + out.String()
}

func (m *maker) patch(dir string) string {
	m.n++
	kind := m.pick("Deployment", "ConfigMap", "Service", "ServiceAccount", "StatefulSet")
	target := "  target: {kind: " + kind + m.maybe(50, ", name: "+m.pick("a", "b", "p-a", ".*", "a|b")) +
		m.maybe(20, ", namespace: one") + m.maybe(20, ", labelSelector: \"app=x\"") + "}\n"
	merge := "apiVersion: " + apiVersion(kind) + "\nkind: " + kind + "\nmetadata:\n  name: " + m.pick("a", "b", "p-a", "any") + "\n" +
		m.maybe(30, "  namespace: one\n") +
		m.maybe(30, "  labels: {patched: \"yes\", app: null}\n") +
		m.maybe(30, "  annotations: "+m.pick("{patched: \"1\"}", "{note: null}", "{}")+"\n") +
		m.maybe(10, "$patch: delete\n") +
		m.maybe(50, m.body(kind))
	options := m.maybe(20, "  options: {allowNameChange: true, allowKindChange: true}\n")
	indent := func(text string) string {
		return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
	}
	switch m.IntN(4) {
	case 0:
		file := fmt.Sprintf("p%d.yaml", m.n)
		m.files[path.Join(dir, file)] = merge
		return "- path: " + file + "\n" + m.maybe(95, target) + options
	case 1:
		return "- patch: |\n" + indent(merge) + m.maybe(95, target) + options
	default:
		op := m.pick(
			"- {op: add, path: /metadata/annotations/x, value: y}",
			"- {op: add, path: /metadata/annotations, value: {x: y}}",
			"- {op: add, path: /metadata/labels, value: {app: z}}",
			"- {op: add, path: /more, value: {replicas: 3, ratio: 1.5, list: [1, null]}}",
			"- {op: replace, path: /metadata/name, value: renamed"+m.pick("1", "2", "3")+"}",
			m.pick("- {op: test, path: /metadata/name, value: a}", "- {op: copy, from: /metadata/name, path: /more}", "- {op: remove, path: /metadata/labels}"),
		)
		return "- patch: |-\n    " + op + "\n" + target
	}
}

func (m *maker) generators(dir string) string {
	out := ""
	if m.IntN(4) == 0 {
		out += "configMapGenerator:\n- name: " + m.pick(m.name(), m.generated()) + "\n  literals: [k=" + m.pick("v", "1", "true") + "]\n" +
			m.maybe(5, "  behavior: "+m.pick("merge", "replace")+"\n") + m.maybe(30, "  namespace: one\n")
	}
	if m.IntN(5) == 0 {
		m.files[path.Join(dir, "key.txt")] = "secret\n"
		m.files[path.Join(dir, "x.env")] = "A=1\nB=two\n"
		out += "secretGenerator:\n- name: " + m.generated() + "\n  files: [key=key.txt]\n  envs: [x.env]\n" + m.maybe(5, "  behavior: merge\n")
	}
	return out + m.maybe(15, "generatorOptions: {disableNameSuffixHash: true, labels: {gen: \"1\"}, annotations: {gen: \"2\"}}\n")
}

func (m *maker) manifests() string {
	var docs []string
	for range 1 + m.IntN(4) {
		kind := m.pick("ConfigMap", "Secret", "Service", "ServiceAccount", "Deployment", "Deployment", "StatefulSet", "Role",
			"RoleBinding", "ClusterRole", "ClusterRoleBinding", "Ingress", "HorizontalPodAutoscaler", "Namespace",
			"CustomResourceDefinition", "CronJob", "Widget", "PersistentVolumeClaim", "StorageClass", "ValidatingWebhookConfiguration")
		docs = append(docs, m.manifest(kind))
	}
	return m.maybe(10, "# a comment\n---\n") + strings.Join(docs, m.pick("---\n", "--- # next\n", "---\n---\n# nothing\n---\n{}\n---\n"))
}

// manifest makes an object, seldom one whose id there may be already.
func (m *maker) manifest(kind string) string {
	ns, name := m.namespace(), m.name()
	for id := kind + name; m.used[id] && m.IntN(60) > 0; id = kind + name {
		name += m.pick("a", "b", "1")
	}
	m.used[kind+name] = true
	if ns != "" {
		ns = "  namespace: " + ns + "\n"
	}
	if strings.HasPrefix(kind, "Cluster") || slices.Contains([]string{"Namespace", "StorageClass", "CustomResourceDefinition", "ValidatingWebhookConfiguration"}, kind) {
		ns = ""
	}
	return "apiVersion: " + apiVersion(kind) + "\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n" + ns +
		m.maybe(30, "  labels: "+m.pick("{app: x}", "{app: \"1\"}", "null", "{}")+"\n") +
		m.maybe(25, "  annotations: "+m.pick("{note: a}", "{}", "null", "{config.kubernetes.io/local-config: \"true\"}", "{config.kubernetes.io/local-config: \"false\"}")+"\n") +
		m.body(kind)
}

func apiVersion(kind string) string {
	switch kind {
	case "Deployment", "StatefulSet":
		return "apps/v1"
	case "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
		return "rbac.authorization.k8s.io/v1"
	case "Ingress":
		return "networking.k8s.io/v1"
	case "HorizontalPodAutoscaler":
		return "autoscaling/v2"
	case "CustomResourceDefinition":
		return "apiextensions.k8s.io/v1"
	case "CronJob":
		return "batch/v1"
	case "Widget":
		return "example.com/v1"
	case "StorageClass":
		return "storage.k8s.io/v1"
	case "ValidatingWebhookConfiguration":
		return "admissionregistration.k8s.io/v1"
	}
	return "v1"
}

func (m *maker) body(kind string) string {
	switch kind {
	case "ConfigMap":
		if m.IntN(8) == 0 {
			return "data: &d {k: v}\nmore: {<<: *d, own: 1}\nagain: *d\n"
		}
		return "data: {k: " + m.pick("v", "\"1\"", "\"x\\ny\"") + "}\n"
	case "Secret":
		return m.pick("data: {k: dg==}\n", "stringData: {k: v}\n")
	case "Service":
		return "spec: {selector: {app: x}, ports: [{port: 80}]}\n"
	case "Deployment":
		return "spec:\n" + m.pod("  ")
	case "StatefulSet":
		return "spec:\n  serviceName: " + m.name() + "\n  volumeClaimTemplates: [{metadata: {name: data}, spec: {storageClassName: " + m.name() + "}}]\n" + m.pod("  ")
	case "CronJob":
		return "spec:\n  schedule: \"* * * * *\"\n  jobTemplate:\n    spec:\n" + m.pod("      ")
	case "Role", "ClusterRole":
		return "rules: [{apiGroups: [\"\"], resources: [secrets], resourceNames: [" + m.name() + ", " + m.name() + "], verbs: [get]}]\n"
	case "RoleBinding", "ClusterRoleBinding":
		return "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: " + m.pick("Role", "ClusterRole") + ", name: " + m.name() + "}\n" +
			"subjects: [{kind: ServiceAccount, name: " + m.pick("default", m.name()) + m.maybe(60, ", namespace: "+m.pick("one", "two", "default")) + "}, {kind: Group, name: g}]\n"
	case "Ingress":
		return "spec: {tls: [{secretName: " + m.name() + "}], defaultBackend: {service: {name: " + m.name() + ", port: {number: 80}}}}\n"
	case "HorizontalPodAutoscaler":
		return "spec: {scaleTargetRef: {kind: " + m.pick("Deployment", "StatefulSet") + ", apiVersion: apps/v1, name: " + m.name() + "}, maxReplicas: 3}\n"
	case "CustomResourceDefinition":
		return "spec: {group: example.com, conversion: {webhook: {clientConfig: {service: {name: " + m.name() + ", namespace: one}}}}}\n"
	case "Widget":
		return "spec: {ratio: 0.5, big: 12345678901234567890, on: yes, time: 2001-01-01, containers: [{image: \"nginx:1\"}]}\n"
	case "PersistentVolumeClaim":
		return "spec: {storageClassName: " + m.name() + "}\n"
	case "ValidatingWebhookConfiguration":
		return "webhooks: [{name: w.example.com, clientConfig: {service: {name: " + m.name() + ", namespace: " + m.pick("one", "two", "default") + "}}}]\n"
	}
	return ""
}

func (m *maker) pod(indent string) string {
	lines := "selector: {matchLabels: {app: x}}\n" +
		m.maybe(30, "replicas: "+m.pick("2", "\"3\"")+"\n") +
		"template:\n" +
		m.maybe(60, "  metadata: {labels: {app: x}}\n") +
		"  spec:\n" +
		m.maybe(50, "    serviceAccountName: "+m.name()+"\n") +
		m.maybe(40, "    imagePullSecrets: [{name: "+m.name()+"}]\n") +
		"    containers:\n    - name: " + m.pick("main", "side") + "\n      image: " + m.pick("nginx", "nginx:1.0", "redis@sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3", "quay.io/x/app:1") + "\n" +
		m.maybe(50, "      env: [{name: X, valueFrom: {configMapKeyRef: {name: "+m.pick(m.name(), m.name()+"-gen")+", key: k}}}]\n") +
		m.maybe(50, "      envFrom: [{secretRef: {name: "+m.pick(m.name(), m.name()+"-gen")+"}}]\n") +
		m.maybe(40, "    volumes: [{name: v, configMap: {name: "+m.pick(m.name(), m.name()+"-gen")+"}}, {name: c, persistentVolumeClaim: {claimName: "+m.name()+"}}]\n")
	return indent + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n"+indent) + "\n"
}
