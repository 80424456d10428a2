package release_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/helm"
	"github.com/gitopskit/gitopskit/helm/release"
	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/helmcommand"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// world is a namespace on a real cluster, an engine, and the helm command.
type world struct {
	*testing.T
	plane     *controlplane.Plane
	namespace string
	client    dynamic.Interface
	engine    *release.Engine
	meter     *meter.Meter
	state     release.State
}

// pods makes a world where pods become ready; api one that only stores objects.
func pods(t *testing.T) *world { return newWorld(t, testplane.Full(t)) }
func api(t *testing.T) *world  { return newWorld(t, testplane.Small(t)) }

func newWorld(t *testing.T, plane *controlplane.Plane) *world {
	t.Helper()
	w := &world{T: t, plane: plane, namespace: testplane.Namespace(t, plane), meter: &meter.Meter{}}
	var err error
	w.client, err = dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	cfg := plane.Config()
	cfg.Wrap(w.meter.Wrap)
	w.engine, err = release.New(cfg, release.Options{})
	require.NoError(t, err)
	t.Cleanup(w.engine.Close)
	return w
}

// spec is a release of a chart in the world's namespace.
func (w *world) spec(c *helm.Chart) release.Spec {
	return release.Spec{Name: "shop", Namespace: w.namespace, Chart: c, Timeout: time.Minute}
}

// reconcile reconciles with the state of the last time.
func (w *world) reconcile(spec release.Spec) (*release.Result, error) {
	w.Helper()
	result, err := w.engine.Reconcile(w.Context(), spec, w.state)
	if result != nil {
		// A caller keeps the state as JSON.
		text, jsonErr := json.Marshal(result.State)
		require.NoError(w, jsonErr)
		w.state = release.State{}
		require.NoError(w, json.Unmarshal(text, &w.state))
	}
	return result, err
}

// must reconciles without a fault, and takes those actions.
func (w *world) must(spec release.Spec, actions ...release.Action) *release.Result {
	w.Helper()
	result, err := w.reconcile(spec)
	require.NoError(w, err)
	require.Equal(w, actions, taken(result), "found %s: %s", result.Found, result.Why)
	return result
}

func taken(r *release.Result) []release.Action {
	var actions []release.Action
	for _, s := range r.Steps {
		actions = append(actions, s.Action)
	}
	return actions
}

// helm runs the helm command.
func (w *world) helm(args ...string) string {
	w.Helper()
	out, err := w.tryHelm(args...)
	require.NoError(w, err, out)
	return out
}

func (w *world) tryHelm(args ...string) (string, error) {
	w.Helper()
	program, err := helmcommand.Ensure(w.Context())
	require.NoError(w, err)
	dir := w.TempDir()
	config := filepath.Join(dir, "kubeconfig")
	require.NoError(w, os.WriteFile(config, w.plane.Kubeconfig(), 0o600))
	cmd := exec.CommandContext(w.Context(), program, append([]string{"--kubeconfig", config, "--namespace", w.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir)
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	err = cmd.Run()
	return out.String() + faults.String(), err
}

// history is what helm history says: the status of each version.
func (w *world) history() []string {
	w.Helper()
	var list []struct {
		Revision int    `json:"revision"`
		Status   string `json:"status"`
	}
	require.NoError(w, yaml.Unmarshal([]byte(w.helm("history", "shop", "-o", "json")), &list))
	var out []string
	for _, v := range list {
		out = append(out, v.Status)
	}
	return out
}

func resource(group, name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: "v1", Resource: name}
}

func configMaps() schema.GroupVersionResource  { return resource("", "configmaps") }
func secrets() schema.GroupVersionResource     { return resource("", "secrets") }
func jobs() schema.GroupVersionResource        { return resource("batch", "jobs") }
func deployments() schema.GroupVersionResource { return resource("apps", "deployments") }

// get reads an object; nil if there is none.
func (w *world) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	w.Helper()
	list, err := w.client.Resource(gvr).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(w, err)
	if len(list.Items) == 0 || list.Items[0].GetDeletionTimestamp() != nil {
		return nil
	}
	return &list.Items[0]
}

func (w *world) names(gvr schema.GroupVersionResource, selector string) []string {
	w.Helper()
	list, err := w.client.Resource(gvr).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(w, err)
	var out []string
	for _, item := range list.Items {
		out = append(out, item.GetName())
	}
	return out
}

// value reads a key of a ConfigMap.
func (w *world) value(name, key string) string {
	w.Helper()
	obj := w.get(configMaps(), name)
	require.NotNil(w, obj, "ConfigMap %s", name)
	text, _, err := unstructured.NestedString(obj.Object, "data", key)
	require.NoError(w, err)
	return text
}

// edit changes a live object as kubectl edit does.
func (w *world) edit(gvr schema.GroupVersionResource, name string, change func(obj map[string]any)) {
	w.Helper()
	obj := w.get(gvr, name)
	require.NotNil(w, obj)
	change(obj.Object)
	_, err := w.client.Resource(gvr).Namespace(w.namespace).Update(w.Context(), obj, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
	require.NoError(w, err)
}

// files of a chart, over those that every chart has.
func chartFiles(version string, files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{
		"Chart.yaml":  {Data: []byte("apiVersion: v2\nname: shop\nversion: " + version + "\nappVersion: \"7\"\n")},
		"values.yaml": {Data: []byte("color: red\n")},
		"templates/config.yaml": {Data: []byte(`apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
data:
  color: {{ .Values.color | quote }}
  revision: {{ .Release.Revision | quote }}
  version: {{ .Chart.Version | quote }}
`)},
		"templates/NOTES.txt": {Data: []byte("The shop is {{ .Values.color }}.\n")},
	}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func chart(t testing.TB, version string, files map[string]string) *helm.Chart {
	t.Helper()
	c, err := helm.Load(t.Context(), chartFiles(version, files), ".", helm.LoadOptions{})
	require.NoError(t, err)
	return c
}

// onDisk writes a chart for the helm command.
func onDisk(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, file := range chartFiles("1.0.0", files) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, file.Data, 0o600))
	}
	return dir
}

// deployment is a template that becomes ready, where pods do.
const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas | default 1 }}
  selector:
    matchLabels: {app: shop}
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
      - name: shop
        image: {{ .Values.image | default "example.test/shop:1" }}
`

// jobHook is a hook that is a Job; fail says whether it can succeed.
func configHook(name, events, extra string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n  annotations:\n    helm.sh/hook: " + events + "\n" + extra
}
