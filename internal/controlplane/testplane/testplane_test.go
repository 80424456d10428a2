package testplane_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

func TestSmallIsShared(t *testing.T) {
	var wg sync.WaitGroup
	hosts := make([]string, 4)
	for i := range hosts {
		wg.Go(func() { hosts[i] = testplane.Small(t).Config().Host })
	}
	wg.Wait()
	for _, host := range hosts {
		require.Equal(t, hosts[0], host)
	}
	require.False(t, testplane.Small(t).Workloads())
}

func TestNamespace(t *testing.T) {
	p := testplane.Small(t)
	client, err := dynamic.NewForConfig(p.Config())
	require.NoError(t, err)
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})

	var names []string
	for _, test := range []string{"short", "short", "With/Slash_and " + strings.Repeat("long", 30), "--", "ünïcödé"} {
		t.Run(test, func(t *testing.T) {
			name := testplane.Namespace(t, p)
			names = append(names, name)
			ns, err := namespaces.Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			require.Nil(t, ns.GetDeletionTimestamp())
		})
	}
	unique := map[string]bool{}
	for _, name := range names {
		unique[name] = true
		ns, err := namespaces.Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		require.NotNil(t, ns.GetDeletionTimestamp(), "deleted with its test, gone only where there are workloads")
	}
	require.Len(t, unique, 5)
}

func TestAFailedStartIsNotTriedAgain(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", t.TempDir())
	first := failure(t, func(t testing.TB) { testplane.Full(t) })
	require.Contains(t, first, "lacks etcd")

	t.Setenv("KUBEBUILDER_ASSETS", "")
	require.Equal(t, first, failure(t, func(t testing.TB) { testplane.Full(t) }))
}

// recorder is a test that keeps its failure to itself.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func failure(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	require.NotEmpty(t, r.failure, "the test failed")
	return r.failure
}
