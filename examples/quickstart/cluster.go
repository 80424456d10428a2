package main

import (
	"context"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane"
)

// cluster is where the demo takes place.
type cluster struct {
	cfg       *rest.Config
	client    dynamic.Interface // for what is not part of the road
	namespace string
	plane     *controlplane.Plane // nil on the user's own cluster
}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// newCluster starts a control plane or connects to the user's, and makes a
// namespace for the demo.
func newCluster(ctx context.Context, kubeconfig string, out *printer) (*cluster, error) {
	c := &cluster{}
	err := out.steps(ctx, step{"cluster", func(ctx context.Context) (string, error) {
		if kubeconfig != "" || os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" {
			return c.connect(kubeconfig)
		}
		return c.start(ctx, out)
	}})
	if err != nil {
		return nil, err
	}
	if err := c.makeNamespace(ctx); err != nil {
		return nil, c.closeAfter(err)
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, out *printer) (string, error) {
	plane, err := controlplane.Start(ctx, controlplane.Options{Workloads: true, Progress: func(p controlplane.Progress) {
		out.progress("%s", p)
	}})
	if err != nil {
		return "", err
	}
	c.plane, c.cfg = plane, plane.Config()
	return "embedded control plane with simulated nodes", nil
}

func (c *cluster) connect(kubeconfig string) (string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules() // knows $KUBECONFIG
	rules.ExplicitPath = kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)
	cfg, err := loader.ClientConfig()
	if err != nil {
		return "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	c.cfg = cfg
	return cfg.Host, nil
}

func (c *cluster) makeNamespace(ctx context.Context) error {
	client, err := dynamic.NewForConfig(c.cfg)
	if err != nil {
		return err
	}
	c.client = client
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	ns.SetGenerateName("quickstart-")
	ns, err = client.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a namespace for the demo on %s: %w", c.cfg.Host, err)
	}
	c.namespace = ns.GetName()
	return nil
}

// close removes the namespace from a user's cluster, or the whole embedded one.
// It must work after the context ended, so it takes its own time.
func (c *cluster) close(out *printer, keep bool) error {
	if c.plane != nil {
		return c.plane.Close()
	}
	if keep || c.namespace == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return out.steps(ctx, step{"clean up", func(ctx context.Context) (string, error) {
		return "namespace " + c.namespace + " is removed", c.removeNamespace(ctx)
	}})
}

func (c *cluster) closeAfter(err error) error {
	if c.plane != nil {
		_ = c.plane.Close() // the first error says more
	}
	return err
}

func (c *cluster) removeNamespace(ctx context.Context) error {
	ri := c.client.Resource(namespaces)
	err := ri.Delete(ctx, c.namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the namespace %s: %w", c.namespace, err)
	}
	w, err := ri.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + c.namespace})
	if err != nil {
		return fmt.Errorf("watch the end of the namespace %s: %w", c.namespace, err)
	}
	defer w.Stop()
	for {
		if _, err := ri.Get(ctx, c.namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return nil
		}
		if _, open := <-w.ResultChan(); !open {
			return fmt.Errorf("the namespace %s is still there; remove it with: kubectl delete namespace %s", c.namespace, c.namespace)
		}
	}
}

// versions reads the resourceVersion of every object of an inventory, behind the
// back of the road.
func (c *cluster) versions(ctx context.Context, inv gc.Inventory) (map[gc.Key]string, error) {
	out := map[gc.Key]string{}
	for _, e := range inv {
		u, err := c.client.Resource(e.GVR()).Namespace(e.Namespace).Get(ctx, e.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", e.Key, err)
		}
		// Controllers write the status of workloads in their own time, which moves
		// the resourceVersion but not the generation.
		out[e.Key] = u.GetResourceVersion()
		if g := u.GetGeneration(); g > 0 {
			out[e.Key] = fmt.Sprint("generation ", g)
		}
	}
	return out, nil
}
