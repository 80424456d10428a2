package controlplane

import (
	"context"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

// startWorkloads starts what turns objects into pods, and makes nodes and volumes.
func (p *Plane) startWorkloads(ctx context.Context, opts Options) error {
	if err := os.WriteFile(filepath.Join(p.dir, fileKubeconfig), p.kubeconfig, 0o600); err != nil {
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
	client, err := dynamic.NewForConfig(p.Config())
	if err != nil {
		return err
	}
	if err := createNodes(ctx, client, opts.nodes()); err != nil {
		return err
	}
	if err := createVolumes(ctx, client); err != nil {
		return err
	}
	return p.awaitWorkloads(ctx, client)
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
		// On a busy machine kwok may be late to report its nodes. Their pods would be
		// marked as not ready then, and nobody would ever mark them ready again.
		"--node-monitor-grace-period=24h",
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

// awaitWorkloads waits for the work of each component; the scheduler has none until
// there is a pod.
func (p *Plane) awaitWorkloads(ctx context.Context, client dynamic.Interface) error {
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
		if err := p.await(ctx, c, ready); err != nil {
			return err
		}
	}
	return nil
}
