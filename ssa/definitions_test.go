package ssa_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/ssa"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// definedOutside makes a definition that is in no set, and returns custom resources.
func (f *fixture) definedOutside(t *testing.T, plural string, count int) []*unstructured.Unstructured {
	t.Helper()
	text := strings.NewReplacer("GROUP", f.ns+".example.com", "widgets", plural, "WidgetList", plural+"list", "widget,", plural+"one,",
		"Widget", strings.ToUpper(plural[:1])+plural[1:]).Replace(widgets)
	parts := objects(t, text)
	_, err := f.others.Resource(definitions).Create(t.Context(), parts[0], metav1.CreateOptions{})
	require.NoError(t, err)
	name := parts[0].GetName()
	t.Cleanup(func() { _ = f.others.Resource(definitions).Delete(t.Context(), name, metav1.DeleteOptions{}) })
	f.established(t, name)
	var objs []*unstructured.Unstructured
	for i := range count {
		obj := parts[1].DeepCopy()
		obj.SetName(fmt.Sprintf("%s-%d", plural, i))
		objs = append(objs, obj)
	}
	return objs
}

// redefine changes the definition outside the set.
func (f *fixture) redefine(t *testing.T, plural, patch string) {
	t.Helper()
	_, err := f.others.Resource(definitions).Patch(t.Context(), plural+"."+f.ns+".example.com", types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

// patient makes an applier. What is counted of it does not hold the requests that a
// server which takes up a definition asked to send again.
func (f *fixture) patient(t *testing.T, cfg *rest.Config) {
	t.Helper()
	again := &atomic.Int64{}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusTooManyRequests {
				again.Add(1)
			}
			return resp, err
		})
	})
	f.applier, f.putOff = newApplier(t, cfg, f.meter), again
}

// served applies until the server knows the types.
func (f *fixture) served(t *testing.T, objs []*unstructured.Unstructured) *ssa.Result {
	t.Helper()
	var res *ssa.Result
	require.Eventually(t, func() bool {
		var err error
		res, err = f.applier.Apply(t.Context(), objs, f.options())
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	return res
}

const (
	describe   = `[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema/description","value":"two"}]`
	addDefault = `[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour","value":{"type":"string","default":"red"}}]`
	takeAway   = `[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties","value":{"other":{"type":"string"}}}]`
)

func TestDefinitionThatChangesOutsideTheSet(t *testing.T) {
	for name, patch := range map[string]string{"its text": describe, "a new default": addDefault} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.patient(t, f.cfg)
			objs := f.definedOutside(t, "widgets", 3)
			prev, requests := f.again(t, objs, f.served(t, objs))
			require.Equal(t, len(objs), prev.Count(ssa.Unchanged))
			require.EqualValues(t, 2, requests, "a list, and a look at the definition")

			f.redefine(t, "widgets", patch)
			prev, requests = f.again(t, objs, prev)
			require.EqualValues(t, 2+2*len(objs), requests, "each is asked for")
			prev, requests = f.again(t, objs, prev)
			require.Equal(t, len(objs), prev.Count(ssa.Unchanged))
			require.EqualValues(t, 2, requests)
		})
	}
}

// The fields are gone without a write, so that nothing else tells.
func TestDefinitionThatPrunesIsSeen(t *testing.T) {
	f := setup(t)
	f.patient(t, f.cfg)
	objs := f.definedOutside(t, "widgets", 2)
	prev := f.served(t, objs)
	before := f.get(t, prev.Entries[0].GVR(), prev.Entries[0].Name).GetResourceVersion()
	f.redefine(t, "widgets", takeAway)
	require.Eventually(t, func() bool {
		got := f.get(t, prev.Entries[0].GVR(), prev.Entries[0].Name)
		require.Equal(t, before, got.GetResourceVersion())
		_, there, _ := unstructured.NestedFieldNoCopy(got.Object, "spec", "size")
		return !there
	}, 30*time.Second, 20*time.Millisecond)
	opts := f.options()
	opts.Previous = prev.Entries
	res, err := f.applier.Apply(t.Context(), objs, opts)
	require.ErrorContains(t, err, "size")
	require.Equal(t, 2, res.Count(ssa.Failed))
}

func TestDefinitionsCostOneListForAnyNumber(t *testing.T) {
	f := setup(t)
	f.patient(t, f.cfg)
	objs := append(f.definedOutside(t, "widgets", 2), f.definedOutside(t, "gadgets", 2)...)
	prev := f.served(t, objs)
	prev, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), prev.Count(ssa.Unchanged))
	require.EqualValues(t, 2+1, requests, "a list for each type, and one for the definitions")
	f.redefine(t, "gadgets", describe)
	prev, requests = f.again(t, objs, prev)
	require.EqualValues(t, 3+2*2, requests, "those of the one that changed are asked for")
	prev, _ = f.again(t, objs, prev)
	require.Equal(t, len(objs), prev.Count(ssa.Unchanged))
}

func TestDefinitionsAreWatched(t *testing.T) {
	f := setup(t)
	f.patient(t, f.cfg)
	objs := append(f.definedOutside(t, "widgets", 2), f.definedOutside(t, "gadgets", 2)...)
	prev := f.served(t, objs)
	changes := f.watching(t, ssa.WatchOptions{})
	prev, requests := f.again(t, objs, prev)
	require.EqualValues(t, 3*2, requests, "a list and a watch for each")
	f.quiet(t, objs, prev)
	before := prev.Entries
	f.redefine(t, "gadgets", describe)
	require.Eventually(t, func() bool {
		prev, _ = f.again(t, objs, prev)
		return prev.Entries[0].Owned != before[0].Owned && prev.Entries[1].Owned != before[1].Owned
	}, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, before[2:], prev.Entries[2:], "the others are not asked for")
	require.Eventually(t, func() bool { // the server ends the watches of what is defined anew
		prev, requests = f.again(t, objs, prev)
		return requests == 0
	}, 30*time.Second, 20*time.Millisecond)
	require.Empty(t, changes, "a definition is no object of the set")
}

// An inventory of an earlier release knows no definitions: it costs one look.
func TestInventoryWithoutDefinitions(t *testing.T) {
	f := setup(t)
	f.patient(t, f.cfg)
	objs := f.definedOutside(t, "widgets", 2)
	prev := f.served(t, objs)
	for i := range prev.Entries {
		prev.Entries[i].Owned = prev.Entries[i].Owned[:16]
	}
	res, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), res.Count(ssa.Unchanged))
	require.EqualValues(t, 2+2*len(objs), requests)
	_, requests = f.again(t, objs, res)
	require.EqualValues(t, 2, requests)
}

func TestIdentityThatMayNotReadDefinitionsIsTold(t *testing.T) {
	f := setup(t)
	one := f.definedOutside(t, "widgets", 2)
	both := append(f.definedOutside(t, "gadgets", 2), one...)
	grant(t, f, "blind", "\n- {apiGroups: ["+f.ns+".example.com], resources: [widgets, gadgets], verbs: [get, list, create, patch]}")
	cfg, err := testplane.Small(t).User("blind")
	require.NoError(t, err)
	f.patient(t, cfg)
	for _, c := range []struct {
		objs     []*unstructured.Unstructured
		requests int
		verbs    []string
	}{
		{one, 1 + 1, []string{"get"}},
		{both, 2 + 1 + 2, []string{"list", "get"}},
	} {
		prev := f.served(t, c.objs)
		f.redefine(t, "widgets", describe)
		res, requests := f.again(t, c.objs, prev)
		require.Equal(t, len(c.objs), res.Count(ssa.Unchanged))
		require.EqualValues(t, c.requests, requests)
		var verbs []string
		for _, note := range res.Notes {
			var fallback *ssa.FallbackError
			require.ErrorAs(t, note, &fallback)
			require.True(t, apierrors.IsForbidden(note))
			require.ErrorContains(t, note, "customresourcedefinitions")
			verbs = append(verbs, fallback.Verb)
		}
		require.Equal(t, c.verbs, verbs)
		require.Equal(t, prev.Entries, res.Entries)

		opts := f.options()
		opts.Previous, opts.Full = prev.Entries, true
		_, err := f.applier.Apply(t.Context(), c.objs, opts)
		require.NoError(t, err)
	}
}

// A definition that is in the set costs no request more.
func TestDefinitionInTheSet(t *testing.T) {
	f := setup(t)
	f.patient(t, f.cfg)
	objs, prev := f.defined(t)
	for i := range 3 {
		more := objs[1].DeepCopy()
		more.SetName(fmt.Sprint("more-", i))
		objs = append(objs, more)
	}
	prev = f.apply(t, objs, ssa.ApplyOptions{Owner: "test", Namespace: f.ns, Previous: prev.Entries})
	prev, requests := f.again(t, objs, prev)
	require.Equal(t, len(objs), prev.Count(ssa.Unchanged))
	require.EqualValues(t, 2, requests, "the definition, and a list")

	// What others add to it is not the set's to take away, and its objects may not be
	// what they were.
	key := gc.Key{Group: definitions.Group, Kind: "CustomResourceDefinition", Name: "widgets." + f.ns + ".example.com"}
	f.redefine(t, "widgets", `[{"op":"add","path":"/spec/names/shortNames","value":["w"]}]`)
	res, requests := f.again(t, objs, prev)
	require.EqualValues(t, 2+2*len(objs), requests)
	require.Equal(t, ssa.Unchanged, actions(res)[key.Kind+"/"+key.Name])
	_, requests = f.again(t, objs, res)
	require.EqualValues(t, 2, requests)
}
