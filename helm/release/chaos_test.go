package release_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/helm/release"
)

// Whatever others do to a release and its history, and wherever a call is cut off,
// a few calls later it is what it should be, and the helm command agrees.
func TestAnyHistoryIsRepaired(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := api(t)
			dir := onDisk(t, nil)
			random := rand.New(rand.NewPCG(seed, 1)) // which has to come again
			spec := w.spec(chart(t, "1.0.0", nil))
			spec.Drift.Mode, spec.MaxHistory = release.DriftCorrect, 4
			for range 12 {
				what := w.mischief(random, dir)
				spec.Values = map[string]any{"color": strconv.Itoa(random.IntN(3))}
				w.settle(spec, what)
				require.Equal(t, spec.Values["color"], w.value("shop-config", "color"), "after %s", what)
				require.Contains(t, w.helm("status", "shop"), "STATUS: deployed", "after %s", what)
				require.Len(t, w.names(secrets(), "owner=helm,status=deployed"), 1, "after %s", what)
			}
		})
	}
}

// settle reconciles until all is well.
func (w *world) settle(spec release.Spec, what string) {
	w.Helper()
	var err error
	var result *release.Result
	for range 4 {
		if result, err = w.reconcile(spec); err == nil && result.Left == release.InSync {
			return
		}
	}
	require.NoError(w, err, "after %s", what)
	require.Equal(w, release.InSync, result.Left, "after %s", what)
}

// mischief does something to the release, and says what.
func (w *world) mischief(random *rand.Rand, dir string) string {
	w.Helper()
	records := w.names(secrets(), "owner=helm")
	one := ""
	if len(records) > 0 {
		one = records[random.IntN(len(records))]
	}
	what := []string{"nothing", "helm upgrade", "helm rollback", "helm uninstall", "helm uninstall and keep", "delete " + one, "garble " + one, "delete the object", "cut off", "lose the state"}[random.IntN(10)]
	switch {
	case what == "helm upgrade":
		_, _ = w.tryHelm("upgrade", "--install", "shop", dir, "--set", "color=theirs")
	case what == "helm rollback":
		_, _ = w.tryHelm("rollback", "shop")
	case what == "helm uninstall":
		_, _ = w.tryHelm("uninstall", "shop")
	case what == "helm uninstall and keep":
		_, _ = w.tryHelm("uninstall", "shop", "--keep-history")
	case strings.HasPrefix(what, "delete ") && one != "":
		_ = w.client.Resource(secrets()).Namespace(w.namespace).Delete(w.Context(), one, metav1.DeleteOptions{})
	case strings.HasPrefix(what, "garble ") && one != "":
		w.edit(secrets(), one, func(obj map[string]any) { obj["data"].(map[string]any)["release"] = "Z2FyYmxlZA==" })
	case what == "delete the object":
		_ = w.client.Resource(configMaps()).Namespace(w.namespace).Delete(w.Context(), "shop-config", metav1.DeleteOptions{})
	case what == "cut off":
		w.cutOff(random.IntN(6))
	case what == "lose the state":
		w.state = release.State{}
	}
	return what
}

// cutOff ends a call at one of its requests.
func (w *world) cutOff(after int) {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	w.meter.Observe(func(string, string) {
		if after--; after < 0 {
			cancel()
		}
	})
	defer w.meter.Observe(nil)
	spec := w.spec(chart(w.T, "1.0.0", nil))
	spec.Values = map[string]any{"color": "half"}
	if result, _ := w.engine.Reconcile(ctx, spec, w.state); result != nil && after%2 == 0 {
		w.state = result.State // or it was killed before it could keep that
	}
}
