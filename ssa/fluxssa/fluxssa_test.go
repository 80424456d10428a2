package fluxssa_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/object"
	flux "github.com/fluxcd/pkg/ssa"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/ssa"
	"github.com/gitopskit/gitopskit/ssa/fluxssa"
)

const (
	fluxField = "kustomize-controller"
	owner     = "shop"
)

// fixture has both engines on one control plane.
type fixture struct {
	t       *testing.T
	cfg     *rest.Config
	client  dynamic.Interface
	manager *flux.ResourceManager
	flux    *fluxssa.Applier
	ours    *ssa.Applier
}

func setup(t *testing.T) *fixture {
	cfg := testplane.Small(t).Config()
	cfg.QPS = -1
	f := &fixture{t: t, cfg: cfg}
	var err error
	f.client, err = dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	c, err := client.New(cfg, client.Options{})
	require.NoError(t, err)
	poller := polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{})
	f.manager = flux.NewResourceManager(c, poller, flux.Owner{Field: fluxField, Group: "kustomize.toolkit.fluxcd.io"})
	f.flux = fluxssa.New(f.manager, fluxssa.Options{Wait: flux.WaitOptions{Interval: 100 * time.Millisecond}})
	f.ours, err = ssa.New(cfg, ssa.Options{Manager: fluxField})
	require.NoError(t, err)
	return f
}

func (f *fixture) namespace() string { return testplane.Namespace(f.t, testplane.Small(f.t)) }

// app is a set with what the engines treat in ways of their own.
const app = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {color: blue, size: large}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
data: {password: c2VjcmV0}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "web:reader"}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, protocol: TCP}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example.test/web:1", resources: {requests: {cpu: 100m}}}]}
`

func objects(t *testing.T, docs string) []*unstructured.Unstructured {
	t.Helper()
	var list []*unstructured.Unstructured
	for doc := range strings.SplitSeq(docs, "\n---\n") {
		u := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(doc), &u.Object))
		list = append(list, u)
	}
	return list
}

// live reads the objects of an inventory without what is of the single object.
func (f *fixture) live(inv gc.Inventory) []string {
	f.t.Helper()
	var out []string
	for _, e := range inv {
		u, err := f.client.Resource(e.GVR()).Namespace(e.Namespace).Get(f.t.Context(), e.Name, metav1.GetOptions{})
		require.NoError(f.t, err)
		for _, own := range []string{"uid", "namespace", "resourceVersion", "creationTimestamp", "managedFields"} {
			unstructured.RemoveNestedField(u.Object, "metadata", own)
		}
		for _, ip := range []string{"clusterIP", "clusterIPs"} {
			unstructured.RemoveNestedField(u.Object, "spec", ip)
		}
		b, err := json.Marshal(u.Object)
		require.NoError(f.t, err)
		out = append(out, string(b))
	}
	return out
}

func (f *fixture) uids(inv gc.Inventory) map[gc.Key]types.UID {
	f.t.Helper()
	out := map[gc.Key]types.UID{}
	for _, e := range inv {
		u, err := f.client.Resource(e.GVR()).Namespace(e.Namespace).Get(f.t.Context(), e.Name, metav1.GetOptions{})
		require.NoError(f.t, err)
		out[e.Key] = u.GetUID()
	}
	return out
}

func (f *fixture) exists(e gc.Entry) bool {
	f.t.Helper()
	_, err := f.client.Resource(e.GVR()).Namespace(e.Namespace).Get(f.t.Context(), e.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		require.NoError(f.t, err)
	}
	return err == nil
}

// addresses are the entries' names and types, without the namespace.
func addresses(inv gc.Inventory) []gc.Entry {
	var out []gc.Entry
	for _, e := range inv {
		k := e.Key
		k.Namespace = ""
		out = append(out, gc.Entry{Key: k, Version: e.Version, Resource: e.Resource})
	}
	return out
}

func TestBothEnginesMakeTheSame(t *testing.T) {
	f := setup(t)
	made := map[string]gc.Inventory{}
	for name, engine := range map[string]fluxssa.Engine{"flux": f.flux, "ours": f.ours} {
		opts := ssa.ApplyOptions{Owner: owner, Namespace: f.namespace()}
		given := objects(t, app)
		targets, err := engine.Targets(t.Context(), given, opts)
		require.NoError(t, err)
		res, err := engine.Apply(t.Context(), given, opts)
		require.NoError(t, err)
		require.Equal(t, objects(t, app), given, "the objects are the caller's")
		require.Equal(t, len(given), res.Count(ssa.Created))
		for i, change := range res.Changes {
			require.Equal(t, given[i].GetName(), change.Key.Name, "in the order of the objects")
		}
		require.Equal(t, addresses(targets), addresses(res.Entries))
		made[name] = res.Entries

		res, err = engine.Apply(t.Context(), given, opts)
		require.NoError(t, err)
		require.Equal(t, len(given), res.Count(ssa.Unchanged, ssa.Configured), "there already")
	}
	require.Equal(t, addresses(made["ours"]), addresses(made["flux"]))
	require.Equal(t, f.live(made["ours"]), f.live(made["flux"]))
}

// A set that Flux applied, and whose inventory is known only from what it told, is
// ours without a deletion. From then on it is pruned as any other.
func TestSetOfFluxIsTakenOver(t *testing.T) {
	f := setup(t)
	ns := f.namespace()
	given := objects(t, app)
	for _, obj := range given {
		obj.SetNamespace(ns)
	}
	f.manager.SetOwnerLabels(given, owner, "flux-system")
	changes, err := f.manager.ApplyAllStaged(t.Context(), given, flux.DefaultApplyOptions())
	require.NoError(t, err)
	told, err := fluxssa.Result(changes, f.manager.Client().RESTMapper())
	require.NoError(t, err)
	require.Equal(t, len(given), told.Count(ssa.Created))
	before := f.uids(told.Entries)

	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), told.Entries))
	report := f.reconcile(f.ours, store, objects(t, app), ns)
	require.Empty(t, report.Pruned.Objects)
	require.Equal(t, before, f.uids(report.Inventory), "nothing was deleted and made again")

	report = f.reconcile(f.ours, store, objects(t, app)[1:], ns)
	require.Len(t, report.Pruned.Objects, 1)
	require.Equal(t, gc.Deleted, report.Pruned.Objects[0].Outcome)
	require.Equal(t, "ServiceAccount", report.Pruned.Objects[0].Key.Kind)
	require.Len(t, report.Inventory, len(given)-1)
}

// An object that left the manifests before we ever applied it does not carry our
// label, so it stays.
func TestWhatFluxAloneAppliedIsNotPruned(t *testing.T) {
	f := setup(t)
	ns := f.namespace()
	given := objects(t, app)
	for _, obj := range given {
		obj.SetNamespace(ns)
	}
	changes, err := f.manager.ApplyAllStaged(t.Context(), given, flux.DefaultApplyOptions())
	require.NoError(t, err)
	inv, err := fluxssa.Inventory(changes.ToObjMetadataSet(), f.manager.Client().RESTMapper())
	require.NoError(t, err)
	store := &gc.MemoryStore{}
	require.NoError(t, store.Save(t.Context(), inv))
	report := f.reconcile(f.ours, store, objects(t, app)[1:], ns)
	require.Len(t, report.Pruned.Objects, 1)
	require.Equal(t, gc.Foreign, report.Pruned.Objects[0].Outcome)
	for _, e := range inv {
		require.True(t, f.exists(e), e.Key)
	}
}

// Engines may change from one reconcile to the next, in either direction.
func TestEnginesTakeTurns(t *testing.T) {
	f := setup(t)
	ns := f.namespace()
	store := &gc.MemoryStore{}
	var before map[gc.Key]types.UID
	for i, engine := range []fluxssa.Engine{f.flux, f.ours, f.flux, f.ours} {
		given := objects(t, app)
		color := fmt.Sprint("color ", i)
		require.NoError(t, unstructured.SetNestedField(given[1].Object, color, "data", "color"))
		if i%2 == 1 {
			unstructured.RemoveNestedField(given[1].Object, "data", "size")
		}
		report := f.reconcile(engine, store, given, ns)
		require.Empty(t, report.Pruned.Objects)
		uids := f.uids(report.Inventory)
		if i > 0 {
			require.Equal(t, before, uids)
		}
		before = uids
		live, err := f.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(ns).Get(t.Context(), "settings", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, given[1].Object["data"], live.Object["data"], "a field that left the manifest leaves the object")
	}
	// What the other engine applied last is pruned as well.
	report := f.reconcile(f.flux, store, objects(t, app)[:1], ns)
	require.Len(t, report.Pruned.Objects, 5)
	require.Len(t, report.Inventory, 1)
}

// reconcile does what a controller does, with either engine.
func (f *fixture) reconcile(engine fluxssa.Engine, store gc.Store, objs []*unstructured.Unstructured, ns string) gc.Report {
	f.t.Helper()
	pruner, err := gc.NewPruner(f.cfg)
	require.NoError(f.t, err)
	opts := ssa.ApplyOptions{Owner: owner, Namespace: ns}
	targets, err := engine.Targets(f.t.Context(), objs, opts)
	require.NoError(f.t, err)
	report, err := gc.Reconcile(f.t.Context(), store, gc.Steps{
		Targets: targets,
		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
			opts.Previous = previous
			res, err := engine.Apply(ctx, objs, opts)
			return res.Entries, err
		},
		Prune: func(ctx context.Context, gone gc.Inventory) (gc.PruneResult, error) {
			return pruner.Prune(ctx, gone, gc.PruneOptions{Owner: owner})
		},
	})
	require.NoError(f.t, err)
	return report
}

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.%[1]s.test}
spec:
  group: %[1]s.test
  scope: Cluster
  names: {plural: lamps, singular: lamp, kind: Lamp}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: %[1]s.test/v1
kind: Lamp
metadata: {name: desk, namespace: ignored}
`

func TestDefinitionAndItsResourceInOneSet(t *testing.T) {
	f := setup(t)
	for name, engine := range map[string]fluxssa.Engine{"flux": f.flux, "ours": f.ours} {
		given := objects(t, fmt.Sprintf(definition, name))
		opts := ssa.ApplyOptions{Owner: owner}
		targets, err := engine.Targets(t.Context(), given, opts)
		require.NoError(t, err)
		res, err := engine.Apply(t.Context(), given, opts)
		require.NoError(t, err, name)
		require.Equal(t, addresses(targets), addresses(res.Entries))
		require.True(t, res.Entries.Has(gc.Key{Group: name + ".test", Kind: "Lamp", Name: "desk"}))
	}
}

// A definition in a set does not change how the types of Kubernetes are addressed.
func TestAttackDefinitionOfABuiltInType(t *testing.T) {
	f := setup(t)
	given := objects(t, app)
	forged := objects(t, strings.NewReplacer("%[1]s.test", "apps", "Lamp", "Deployment").Replace(definition))[:1]
	opts := ssa.ApplyOptions{Owner: owner, Namespace: f.namespace()}
	inv, err := f.flux.Targets(t.Context(), append(forged, given...), opts)
	require.NoError(t, err)
	web, ok := inv.Lookup(gc.Key{Group: "apps", Kind: "Deployment", Namespace: opts.Namespace, Name: "web"})
	require.True(t, ok)
	require.Equal(t, "deployments", web.Resource)
}

func TestFailureIsToldAsFarAsTheEngineTells(t *testing.T) {
	f := setup(t)
	given := objects(t, app)
	require.NoError(t, unstructured.SetNestedField(given[5].Object, "many", "spec", "replicas"))
	opts := ssa.ApplyOptions{Owner: owner, Namespace: f.namespace()}
	var seen []ssa.Change
	opts.Progress = func(c ssa.Change) { seen = append(seen, c) }
	res, err := f.flux.Apply(t.Context(), given, opts)
	var failed *ssa.ApplyError
	require.ErrorAs(t, err, &failed)
	require.Len(t, res.Changes, len(given))
	require.Equal(t, res.Changes, seen)
	require.Equal(t, ssa.Failed, res.Changes[5].Action)
	require.ErrorContains(t, res.Changes[5].Err, "dry-run failed")
	require.Equal(t, ssa.Skipped, res.Changes[0].Action)
	require.ErrorIs(t, res.Changes[0].Err, fluxssa.ErrUntold)
	require.Len(t, res.Entries, len(given), "they may have been applied")
}

// The server's refusal of a Secret quotes its value.
func TestAttackSecretInAnError(t *testing.T) {
	f := setup(t)
	given := objects(t, app)
	given[2].Object["data"] = map[string]any{"password": int64(8675309)} // of the wrong type
	res, err := f.flux.Apply(t.Context(), given, ssa.ApplyOptions{Owner: owner, Namespace: f.namespace()})
	require.Error(t, err)
	require.Equal(t, ssa.Failed, res.Changes[2].Action)
	for _, c := range res.Changes {
		if c.Err == nil {
			continue
		}
		for err := c.Err; err != nil; err = unwrapped(err) {
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "8675309")
		}
	}
	require.NotContains(t, err.Error(), "8675309")
}

func unwrapped(err error) error {
	if e, ok := err.(interface{ Unwrap() error }); ok {
		return e.Unwrap()
	}
	return nil
}

func TestWrongSetsAreRefusedBeforeAnyWrite(t *testing.T) {
	f := setup(t)
	ns := f.namespace()
	settings := objects(t, app)[1]
	unnamed := settings.DeepCopy()
	unnamed.SetName("")
	unknown := settings.DeepCopy()
	unknown.SetKind("Teapot")
	for want, set := range map[string][]*unstructured.Unstructured{
		"is in the set twice":                     {settings, settings},
		"object 1 of the set lacks an apiVersion": {unnamed},
		"the API server does not serve Teapot":    {unknown},
		"object 2 of the set lacks":               {settings, nil},
	} {
		res, err := f.flux.Apply(t.Context(), set, ssa.ApplyOptions{Owner: owner, Namespace: ns, Previous: gc.NewInventory(gc.Entry{Key: gc.Key{Kind: "ConfigMap", Name: "old"}})})
		var invalid *ssa.InvalidSetError
		require.ErrorAs(t, err, &invalid)
		require.ErrorContains(t, err, want)
		require.Len(t, res.Entries, 1, "what there was stays")
	}
	_, err := f.flux.Apply(t.Context(), []*unstructured.Unstructured{settings}, ssa.ApplyOptions{Owner: owner})
	require.ErrorContains(t, err, "names no namespace")
	_, err = f.flux.Apply(t.Context(), nil, ssa.ApplyOptions{})
	require.ErrorContains(t, err, "ApplyOptions.Owner is empty")
	_, err = f.flux.Targets(t.Context(), nil, ssa.ApplyOptions{Owner: "a/b"})
	require.ErrorContains(t, err, "is no label value")
}

// What the engine cannot do is not silently left out.
func TestWhatTheEngineCannotDoIsRefused(t *testing.T) {
	f := setup(t)
	ns := f.namespace()
	settings := objects(t, app)[1]
	for option, change := range map[string]func(*ssa.ApplyOptions){
		"Policy":              func(o *ssa.ApplyOptions) { o.Policy = ssa.IfNotPresent },
		"Conflicts":           func(o *ssa.ApplyOptions) { o.Conflicts = ssa.Report },
		"Validate":            func(o *ssa.ApplyOptions) { o.Validate = true },
		"WaitForDependencies": func(o *ssa.ApplyOptions) { o.WaitForDependencies = true },
		"Ignore":              func(o *ssa.ApplyOptions) { o.Ignore = []ssa.IgnoreRule{{Pointers: []string{"/data"}}} },
	} {
		opts := ssa.ApplyOptions{Owner: owner, Namespace: ns, Previous: gc.Inventory{{Key: gc.Key{Kind: "ConfigMap", Name: "old"}}}}
		change(&opts)
		res, err := f.flux.Apply(t.Context(), []*unstructured.Unstructured{settings}, opts)
		var wrong *ssa.OptionError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, "ApplyOptions."+option, wrong.Option)
		require.Equal(t, opts.Previous, res.Entries)
	}
	for annotation, value := range map[string]string{ssa.PolicyAnnotation: "ignore", ssa.ConflictAnnotation: "leave"} {
		asking := settings.DeepCopy()
		asking.SetAnnotations(map[string]string{annotation: value})
		_, err := f.flux.Apply(t.Context(), []*unstructured.Unstructured{asking}, ssa.ApplyOptions{Owner: owner, Namespace: ns})
		require.ErrorContains(t, err, "apply ConfigMap "+ns+"/settings: annotation "+annotation)
	}
	for option, opts := range map[string]ssa.WaitOptions{
		"Checks": {Checks: []ssa.HealthCheck{{}}}, "GoneJobs": {GoneJobs: true}, "Undecided": {Undecided: ssa.InProgress},
	} {
		_, err := f.flux.Wait(t.Context(), nil, opts)
		require.ErrorContains(t, err, "WaitOptions."+option)
	}
}

// Flux's annotations mean the same to both engines.
func TestAnnotationsOfFlux(t *testing.T) {
	f := setup(t)
	for name, engine := range map[string]fluxssa.Engine{"flux": f.flux, "ours": f.ours} {
		opts := ssa.ApplyOptions{Owner: owner, Namespace: f.namespace()}
		configMaps := f.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(opts.Namespace)
		for annotation, stays := range map[string]bool{"reconcile: disabled": true, "ssa: Ignore": true, "ssa: IfNotPresent": true, "force: enabled": false} {
			key, value, _ := strings.Cut(annotation, ": ")
			theirs := objects(t, app)[1]
			require.NoError(t, unstructured.SetNestedField(theirs.Object, "theirs", "data", "color"))
			require.NoError(t, unstructured.SetNestedField(theirs.Object, true, "immutable"))
			_, err := configMaps.Create(t.Context(), theirs, metav1.CreateOptions{})
			require.NoError(t, err)
			ours := objects(t, app)[1]
			ours.SetAnnotations(map[string]string{"kustomize.toolkit.fluxcd.io/" + key: value})
			require.NoError(t, unstructured.SetNestedField(ours.Object, "ours", "data", "color"))
			_, err = engine.Apply(t.Context(), []*unstructured.Unstructured{ours}, opts)
			require.NoError(t, err, "%s %s", name, annotation)
			live, err := configMaps.Get(t.Context(), "settings", metav1.GetOptions{})
			require.NoError(t, err)
			color, _, _ := unstructured.NestedString(live.Object, "data", "color")
			require.Equal(t, map[bool]string{true: "theirs", false: "ours"}[stays], color, "%s %s", name, annotation)
			require.NoError(t, configMaps.Delete(t.Context(), "settings", metav1.DeleteOptions{}))
		}
	}
}

// A server that does not answer is no fault of the set.
func TestServerThatIsAwayIsNotTheSetsFault(t *testing.T) {
	f := setup(t)
	cfg := rest.CopyConfig(f.cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, ctx.Err() }
	c, err := client.New(cfg, client.Options{})
	require.NoError(t, err)
	away := fluxssa.New(flux.NewResourceManager(c, nil, flux.Owner{Field: fluxField}), fluxssa.Options{})
	_, err = away.Apply(t.Context(), objects(t, app), ssa.ApplyOptions{Owner: owner, Namespace: "x"})
	var down *ssa.DiscoveryError
	require.ErrorAs(t, err, &down)
	var invalid *ssa.InvalidSetError
	require.NotErrorAs(t, err, &invalid)
}

func TestEndedApplyForgetsNothing(t *testing.T) {
	f := setup(t)
	opts := ssa.ApplyOptions{Owner: owner, Namespace: f.namespace()}
	_, err := f.flux.Targets(t.Context(), objects(t, app), opts) // the types are known from then on
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res, err := f.flux.Apply(ctx, objects(t, app), opts)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, fluxssa.ErrUntold)
	require.Len(t, res.Entries, 6)
	require.Equal(t, 6, res.Count(ssa.Skipped))
}

const ready = `{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1,
"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`

func TestWaitTellsTheHealthOfEachObject(t *testing.T) {
	f := setup(t)
	ns := f.namespace()
	res, err := f.flux.Apply(t.Context(), objects(t, app), ssa.ApplyOptions{Owner: owner, Namespace: ns})
	require.NoError(t, err)

	health, err := f.flux.Wait(t.Context(), res.Entries, ssa.WaitOptions{Timeout: 500 * time.Millisecond})
	var unhealthy *ssa.HealthError
	require.ErrorAs(t, err, &unhealthy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "1 of 6 objects are not ready after 500ms: Deployment.apps "+ns+"/web is InProgress")
	require.Len(t, health, 6)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	health, err = f.flux.Wait(ctx, res.Entries, ssa.WaitOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, ssa.Unknown, health[0].Status, "nobody had the time to look")

	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	_, err = f.client.Resource(deployments).Namespace(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(ready), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	var seen []ssa.Health
	health, err = f.flux.Wait(t.Context(), res.Entries, ssa.WaitOptions{Progress: func(h ssa.Health) { seen = append(seen, h) }})
	require.NoError(t, err)
	require.Equal(t, health, seen)
	for _, h := range health {
		require.Equal(t, ssa.Current, h.Status)
	}
}

func TestIdentifiersThereAndBack(t *testing.T) {
	f := setup(t)
	mapper := f.manager.Client().RESTMapper()
	set := object.ObjMetadataSet{
		{GroupKind: schema.GroupKind{Kind: "ConfigMap"}, Namespace: "a", Name: "settings"},
		{GroupKind: schema.GroupKind{Group: "apps", Kind: "Deployment"}, Namespace: "a", Name: "web"},
		{GroupKind: schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}, Name: "a:b"},
		{GroupKind: schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}, Name: "a__b"},
	}
	inv, err := fluxssa.Inventory(set, mapper)
	require.NoError(t, err)
	require.Len(t, inv, 4)
	web, ok := inv.Lookup(gc.Key{Group: "apps", Kind: "Deployment", Namespace: "a", Name: "web"})
	require.True(t, ok)
	require.Equal(t, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, web.GVR())
	require.Equal(t, set, fluxssa.ObjMetadataSet(inv))

	lost := object.ObjMetadata{GroupKind: schema.GroupKind{Group: "gone.test", Kind: "Lamp"}, Name: "desk"}
	inv, err = fluxssa.Inventory(append(set, lost), mapper)
	var unmapped *fluxssa.UnmappedError
	require.ErrorAs(t, err, &unmapped)
	require.ErrorContains(t, err, "Lamp.gone.test desk")
	require.Len(t, inv, 4)
}

func TestResultsKeepWhatIsUnknown(t *testing.T) {
	f := setup(t)
	id := object.ObjMetadata{GroupKind: schema.GroupKind{Kind: "ConfigMap"}, Namespace: "a", Name: "settings"}
	gone := id
	gone.Name = "gone"
	excluded := id
	excluded.Name = "excluded"
	changes := flux.NewChangeSet()
	changes.Add(flux.ChangeSetEntry{ObjMetadata: id, GroupVersion: "v1", Action: flux.UnknownAction})
	changes.Add(flux.ChangeSetEntry{ObjMetadata: gone, GroupVersion: "v1", Action: flux.DeletedAction})
	changes.Add(flux.ChangeSetEntry{ObjMetadata: excluded, GroupVersion: "v1", Action: flux.SkippedAction})
	res, err := fluxssa.Result(changes, f.manager.Client().RESTMapper())
	require.NoError(t, err)
	require.Len(t, res.Changes, 2)
	require.Equal(t, ssa.Failed, res.Changes[0].Action)
	require.ErrorIs(t, res.Changes[0].Err, fluxssa.ErrUntold)
	require.Equal(t, ssa.Skipped, res.Changes[1].Action)
	require.NoError(t, res.Changes[1].Err)
	require.Len(t, res.Entries, 2)
}
