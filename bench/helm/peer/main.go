// Command peer is the side of Helm's own packages in the benchmarks of helm: its
// upgrade as a dry run with the server, which is how one finds with them whether a
// release is what it should be.
package main

import (
	"context"
	"errors"
	"strconv"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitopskit/gitopskit/bench/helm/charts"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(map[string]side.Setup{"helm/noop-100": noop(100)})
}

// getter gives all releases one client, and one cache of the server's types.
type getter struct {
	cfg       *rest.Config
	namespace string
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

func newGetter(cfg *rest.Config, namespace string) (*getter, error) {
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(client)
	return &getter{cfg, namespace, cached, restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

func (g *getter) ToRESTConfig() (*rest.Config, error) { return g.cfg, nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(clientcmdapi.Config{}, &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}})
}

// noop renders each release anew, has the server look at it, and compares it with
// what was released.
func noop(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		cfg, err := cluster.Config(env)
		if err != nil {
			return side.Work{}, err
		}
		namespace, err := cluster.NewNamespace(ctx, cfg)
		if err != nil {
			return side.Work{}, err
		}
		g, err := newGetter(cfg, namespace)
		if err != nil {
			return side.Work{}, err
		}
		configs := map[string]*action.Configuration{}
		for i := range count {
			name := "podinfo-" + strconv.Itoa(i)
			configs[name] = &action.Configuration{}
			if err := configs[name].Init(g, namespace, "secret", func(string, ...any) {}); err != nil {
				return side.Work{}, err
			}
			if err := install(ctx, configs[name], name, namespace); err != nil {
				return side.Work{}, err
			}
		}
		return side.Work{Do: func(ctx context.Context) error {
			for name, cfg := range configs {
				if err := compare(ctx, cfg, name, namespace); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	}
}

func podinfo() (*chart.Chart, error) {
	var files []*loader.BufferedFile
	for name, text := range charts.Podinfo() {
		files = append(files, &loader.BufferedFile{Name: name, Data: []byte(text)})
	}
	return loader.LoadFiles(files)
}

func install(ctx context.Context, cfg *action.Configuration, name, namespace string) error {
	c, err := podinfo()
	if err != nil {
		return err
	}
	i := action.NewInstall(cfg)
	i.ReleaseName, i.Namespace = name, namespace
	_, err = i.RunWithContext(ctx, c, nil)
	return err
}

func compare(ctx context.Context, cfg *action.Configuration, name, namespace string) error {
	c, err := podinfo()
	if err != nil {
		return err
	}
	last, err := cfg.Releases.Last(name)
	if err != nil {
		return err
	}
	u := action.NewUpgrade(cfg)
	u.Namespace, u.DryRun, u.DryRunOption = namespace, true, "server"
	next, err := u.RunWithContext(ctx, name, c, nil)
	if err != nil {
		return err
	}
	if next.Manifest != last.Manifest {
		return errors.New("something changed")
	}
	return nil
}
