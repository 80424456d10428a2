// Package testplane gives the tests of a package one control plane to share,
// started when the first of them asks and gone with the test process: there is
// nothing to set up in TestMain and nothing to close.
package testplane

import (
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Small returns the plane of this test process with etcd and kube-apiserver.
// It fails the test when there is none; a start that failed once is not tried
// again.
func Small(t testing.TB) *controlplane.Plane {
	t.Helper()
	return small.get(t)
}

// Full returns the plane of this test process that also runs workloads: pods
// become ready, namespaces are deleted, owner references are followed. It
// fails the test when there is none; a start that failed once is not tried
// again.
func Full(t testing.TB) *controlplane.Plane {
	t.Helper()
	return full.get(t)
}

var (
	small = lazy{}
	full  = lazy{opts: controlplane.Options{Workloads: true}}
)

type lazy struct {
	opts  controlplane.Options
	once  sync.Once
	plane *controlplane.Plane
	err   error
}

func (l *lazy) get(t testing.TB) *controlplane.Plane {
	t.Helper()
	l.once.Do(func() {
		opts := l.opts
		report, done := controlplane.Printer(os.Stderr)
		defer done()
		opts.Progress = func(p controlplane.Progress) {
			if p.Stage != controlplane.Starting { // seconds, and in the way of the test's own output
				report(p)
			}
		}
		l.plane, l.err = controlplane.Start(t.Context(), opts)
	})
	if l.err != nil {
		t.Fatalf("no control plane: %v", l.err)
	}
	return l.plane
}

var (
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	notInName       = regexp.MustCompile(`[^a-z0-9]+`)
)

// requestTimeout bounds what is asked of the plane.
const requestTimeout = 30 * time.Second

// Namespace makes a namespace with a name of its own, derived from the test's,
// and returns the name. On a plane with workloads, pods may be created in it at
// once. It asks for its deletion when the test ends, and does not wait for it.
func Namespace(t testing.TB, p *controlplane.Plane) string {
	t.Helper()
	client, err := dynamic.NewForConfig(p.Config())
	if err != nil {
		t.Fatalf("a client for the control plane: %v", err)
	}
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"generateName": prefix(t.Name())},
	}}
	ns, err = client.Resource(namespaces).Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	name := ns.GetName()
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), requestTimeout)
		defer cancel()
		// A test may have deleted it, or stopped the server: no reason to fail.
		_ = client.Resource(namespaces).Delete(ctx, name, metav1.DeleteOptions{})
	})
	if p.Workloads() {
		awaitServiceAccount(t, client, name)
	}
	return name
}

// awaitServiceAccount waits for the account that pods run as: without it, the
// server refuses them.
func awaitServiceAccount(t testing.TB, client dynamic.Interface, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := client.Resource(serviceAccounts).Namespace(namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("namespace %s gets no default service account: %v", namespace, err)
		case <-ticker.C:
		}
	}
}

// prefix turns a test's name into the beginning of a namespace's.
func prefix(test string) string {
	const longest = 40
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(test), "-"), "-")
	if len(name) > longest {
		name = strings.Trim(name[len(name)-longest:], "-")
	}
	return "t-" + name + "-"
}
