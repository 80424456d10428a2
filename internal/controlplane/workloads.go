package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// startWorkloads starts what turns objects into pods, and makes the nodes.
func (p *Plane) startWorkloads(ctx context.Context, opts Options) error {
	if err := os.WriteFile(filepath.Join(p.dir, fileKubeconfig), p.Kubeconfig(), 0o600); err != nil {
		return err
	}
	stages, err := stageFiles(p.binaries)
	if err != nil {
		return err
	}
	for _, start := range []struct {
		name string
		args []string
	}{
		{binController, controllerArgs()},
		{binScheduler, schedulerArgs()},
		{binKwok, kwokArgs(stages)},
	} {
		opts.report(Progress{Stage: Starting, Name: start.name})
		c, err := p.run(start.name, start.args...)
		if err != nil {
			return err
		}
		p.others = append(p.others, c)
	}
	return p.startNodes(ctx, opts)
}

func controllerArgs() []string {
	return []string{
		"--kubeconfig=" + fileKubeconfig,
		"--secure-port=0",
		"--leader-elect=false",
		"--service-account-private-key-file=" + fileServiceAccountKey,
		"--root-ca-file=" + fileCA,
		// The defaults spare a server that others share.
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
		"--profiling=false",
	}
}

func schedulerArgs() []string {
	return []string{
		"--kubeconfig=" + fileKubeconfig,
		"--secure-port=0",
		"--leader-elect=false",
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
		"--profiling=false",
	}
}

func kwokArgs(stages []string) []string {
	args := []string{
		"--kubeconfig=" + fileKubeconfig,
		"--manage-all-nodes=true",
		"--node-ip=127.0.0.1",
	}
	for _, stage := range stages {
		args = append(args, "--config="+stage)
	}
	return args
}

// Kubeconfig returns a kubeconfig file with all rights, for kubectl and
// friends.
func (p *Plane) Kubeconfig() []byte {
	const name = "gitopskit"
	config := p.Config()
	data, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
	if err != nil {
		panic("controlplane: a kubeconfig cannot be written: " + err.Error()) // strings and bytes only: always can
	}
	return data
}

// The stages tell kwok what becomes of nodes and pods. They come with kwok's
// module, as files.
const (
	stagesFolder = "kwok-stages"
	kwokModule   = "sigs.k8s.io/kwok"
)

// stageSources are the folders in kwok's module: nodes become ready and stay
// so, pods become ready, complete or go without delay.
var stageSources = []string{"node/fast", "node/heartbeat-with-lease", "pod/fast"}

// stageFiles lists the stages in a folder of binaries.
func stageFiles(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, stagesFolder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stagesFolder), fs.ErrNotExist)
	}
	return files, nil
}

func (m *module) copyStages(ctx context.Context, _, to string, _ Options) error {
	out, err := m.goTool(ctx, []string{"list", "-m", "-f", "{{.Dir}}", kwokModule}, func(string) bool { return false })
	if err != nil {
		return err
	}
	root := strings.TrimSpace(out)
	if root == "" {
		return fmt.Errorf("the sources of %s are not in the module cache", kwokModule)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, source := range stageSources {
		files, err := filepath.Glob(filepath.Join(root, "kustomize", "stage", filepath.FromSlash(source), "*.yaml"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s in %s holds no stages", source, kwokModule)
		}
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	nodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
)

// startNodes makes the nodes and waits until kwok has made them ready and the
// controllers are at work.
func (p *Plane) startNodes(ctx context.Context, opts Options) error {
	client, err := dynamic.NewForConfig(p.Config())
	if err != nil {
		return err
	}
	for i := range opts.nodes() {
		if _, err := client.Resource(nodes).Create(ctx, newNode(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating a node: %w", err)
		}
	}
	return p.awaitAll(ctx, client)
}

func newNode(i int) *unstructured.Unstructured {
	name := fmt.Sprintf("node-%d", i)
	resources := map[string]any{"cpu": "64", "memory": "256Gi", "pods": "1000"}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Node",
		"metadata": map[string]any{
			"name":   name,
			"labels": map[string]any{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
		},
		"status": map[string]any{"capacity": resources, "allocatable": resources},
	}}
}

// awaitAll waits for the work of each component; the scheduler has none until
// there is a pod.
func (p *Plane) awaitAll(ctx context.Context, client dynamic.Interface) error {
	for _, c := range p.others {
		var ready func(context.Context) error
		switch c.name {
		case binController:
			ready = func(ctx context.Context) error {
				_, err := client.Resource(serviceAccounts).Namespace("default").Get(ctx, "default", metav1.GetOptions{})
				return err
			}
		case binKwok:
			ready = func(ctx context.Context) error { return nodesReady(ctx, client) }
		default:
			continue
		}
		if err := c.await(ctx, ready); err != nil {
			return err
		}
	}
	return nil
}

func nodesReady(ctx context.Context, client dynamic.Interface) error {
	list, err := client.Resource(nodes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		if !nodeReady(&list.Items[i]) {
			return errors.New("node " + list.Items[i].GetName() + " is not ready")
		}
	}
	return nil
}

func nodeReady(node *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(node.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" && c["status"] == "True" {
			return true
		}
	}
	return false
}
