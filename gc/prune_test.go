package gc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

type fixture struct {
	cfg    *rest.Config
	client dynamic.ResourceInterface
	pruner *gc.Pruner
	meter  meter.Meter
	ns     string
}

func setup(t *testing.T) *fixture {
	t.Helper()
	plane := testplane.Small(t)
	f := &fixture{cfg: plane.Config(), ns: testplane.Namespace(t, plane)}
	client, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	f.client = client.Resource(configMaps).Namespace(f.ns)
	metered := plane.Config()
	metered.Wrap(f.meter.Wrap)
	f.pruner, err = gc.NewPruner(metered)
	require.NoError(t, err)
	return f
}

// make creates a ConfigMap that belongs to "mine" and returns its entry.
func (f *fixture) make(t *testing.T, name string, change func(*unstructured.Unstructured)) gc.Entry {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	u.SetName(name)
	u.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
	if change != nil {
		change(u)
	}
	u, err := f.client.Create(t.Context(), u, metav1.CreateOptions{})
	require.NoError(t, err)
	return gc.Entry{
		Key:     gc.Key{Kind: "ConfigMap", Namespace: f.ns, Name: name},
		Version: "v1", Resource: "configmaps", UID: u.GetUID(), ResourceVersion: u.GetResourceVersion(),
	}
}

func (f *fixture) exists(t *testing.T, name string) bool {
	t.Helper()
	list, err := f.client.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(t, err)
	return len(list.Items) == 1
}

func TestPruneDeletesWhatIsOurs(t *testing.T) {
	f := setup(t)
	inv := gc.NewInventory(f.make(t, "a", nil), f.make(t, "b", nil))
	var seen []gc.Pruned
	res, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Progress: func(p gc.Pruned) { seen = append(seen, p) }})
	require.NoError(t, err)
	require.Equal(t, []gc.Pruned{{Key: inv[0].Key, Outcome: gc.Deleted}, {Key: inv[1].Key, Outcome: gc.Deleted}}, res.Objects)
	require.Len(t, seen, 2)
	require.Empty(t, res.Kept)
	require.False(t, f.exists(t, "a") || f.exists(t, "b"))
	require.EqualValues(t, 4, f.meter.Count().Requests, "a look and a delete for each")

	res, err = f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, gc.Absent, res.Objects[0].Outcome)
}

func TestPruneLeavesAlone(t *testing.T) {
	f := setup(t)
	tests := []struct {
		name   string
		change func(*unstructured.Unstructured)
		entry  func(*gc.Entry)
		want   gc.Outcome
		detail string
	}{
		{"asked-to-stay", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{gc.PruneAnnotation: "disabled"})
		}, nil, gc.Orphaned, "gitopskit.dev/prune"},
		{"asked-in-flux-words", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{gc.FluxPruneAnnotation: "Disabled"})
		}, nil, gc.Orphaned, "kustomize.toolkit.fluxcd.io/prune"},
		{"asked-by-label", func(u *unstructured.Unstructured) {
			u.SetLabels(map[string]string{gc.OwnerLabel: "mine", gc.FluxPruneAnnotation: "DISABLED"})
		}, nil, gc.Orphaned, "label kustomize.toolkit.fluxcd.io/prune"},
		{"not-reconciled-in-flux-words", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{"kustomize.toolkit.fluxcd.io/reconcile": "disabled"})
		}, nil, gc.Orphaned, "kustomize.toolkit.fluxcd.io/reconcile"},
		{"ignored-in-flux-words", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{"kustomize.toolkit.fluxcd.io/ssa": "Ignore"})
		}, nil, gc.Orphaned, "kustomize.toolkit.fluxcd.io/ssa"},
		{"detached", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{"client.lifecycle.config.k8s.io/deletion": "detach"})
		}, nil, gc.Orphaned, "client.lifecycle.config.k8s.io/deletion"},
		{"kept-in-cli-utils-words", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{"cli-utils.sigs.k8s.io/on-remove": "keep"})
		}, nil, gc.Orphaned, "cli-utils.sigs.k8s.io/on-remove"},
		{"kept-in-helm-words", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{"helm.sh/resource-policy": "keep"})
		}, nil, gc.Orphaned, "helm.sh/resource-policy"},
		{"kept-in-argo-words", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{gc.SyncOptionsAnnotation: "ServerSideApply=true, Prune=false"})
		}, nil, gc.Orphaned, "argocd.argoproj.io/sync-options: Prune=false"},
		{"of-another-set", func(u *unstructured.Unstructured) {
			u.SetLabels(map[string]string{gc.OwnerLabel: "theirs"})
		}, nil, gc.Foreign, `"theirs", not "mine"`},
		{"of-nobody", func(u *unstructured.Unstructured) { u.SetLabels(nil) }, nil, gc.Foreign, `"", not "mine"`},
		{"a-namesake", nil, func(e *gc.Entry) { e.UID = types.UID("00000000-0000-0000-0000-000000000000") }, gc.Foreign, "another of the same name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := f.make(t, tt.name, tt.change)
			if tt.entry != nil {
				tt.entry(&e)
			}
			res, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
			require.NoError(t, err)
			require.Equal(t, tt.want, res.Objects[0].Outcome)
			require.Contains(t, res.Objects[0].Detail, tt.detail)
			require.Empty(t, res.Kept)
			require.True(t, f.exists(t, tt.name))
		})
	}
}

func TestPruneOfAnApplyWhoseAnswerWasLost(t *testing.T) {
	f := setup(t)
	e := f.make(t, "lost", nil)
	e.UID, e.ResourceVersion = "", ""
	res, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, gc.Deleted, res.Objects[0].Outcome)

	e = f.make(t, "copied", nil)
	e.UID = ""
	res, err = f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Manager: "kit"})
	require.NoError(t, err)
	require.Equal(t, gc.Foreign, res.Objects[0].Outcome, "who knows the field manager does not go by a label alone")
	require.Contains(t, res.Objects[0].Detail, `"kit" never applied it`)
	require.True(t, f.exists(t, "copied"))

	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"copied","labels":{"` + gc.OwnerLabel + `":"mine"}}}`)
	_, err = f.client.Patch(t.Context(), "copied", types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "kit"})
	require.NoError(t, err)
	res, err = f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine", Manager: "kit"})
	require.NoError(t, err)
	require.Equal(t, gc.Deleted, res.Objects[0].Outcome)
}

func TestPruneWaitsAndNamesFinalizers(t *testing.T) {
	f := setup(t)
	e := f.make(t, "held", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/hold"}) })
	inv := gc.NewInventory(e)

	res, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Timeout: 200 * time.Millisecond})
	var failed *gc.PruneError
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, "finalizers still hold it: example.com/hold")
	require.Equal(t, inv, res.Kept, "kept, to be tried again")

	released := make(chan error, 1)
	go func() {
		_, err := f.client.Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		released <- err
	}()
	res, err = f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Timeout: time.Minute})
	require.NoError(t, err)
	require.NoError(t, <-released)
	require.Contains(t, []gc.Outcome{gc.Deleted, gc.Absent}, res.Objects[0].Outcome)
}

func TestPruneOfATypeThatIsNotServed(t *testing.T) {
	f := setup(t)
	for name, e := range map[string]gc.Entry{
		"the group is unknown":   {Key: gc.Key{Group: "shop.example.com", Kind: "Gadget", Namespace: f.ns, Name: "x"}, Version: "v1", Resource: "gadgets"},
		"the version is unknown": {Key: gc.Key{Group: "apps", Kind: "Gadget", Namespace: f.ns, Name: "x"}, Version: "v7", Resource: "gadgets"},
		"the core has no such":   {Key: gc.Key{Kind: "Gadget", Namespace: f.ns, Name: "x"}, Version: "v1", Resource: "gadgets"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{Owner: "mine"})
			require.NoError(t, err)
			require.Equal(t, gc.Absent, res.Objects[0].Outcome)
			require.Empty(t, res.Kept)
		})
	}
}

func TestPruneNeedsAnOwner(t *testing.T) {
	f := setup(t)
	e := f.make(t, "a", nil)
	res, err := f.pruner.Prune(t.Context(), gc.NewInventory(e), gc.PruneOptions{})
	require.ErrorContains(t, err, "Owner is empty")
	require.Len(t, res.Kept, 1)
	require.True(t, f.exists(t, "a"))
}
