package gc_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// crowd makes as many objects of the set as are looked for by a list.
func (f *fixture) crowd(t *testing.T) gc.Inventory {
	t.Helper()
	return f.named(t, "crowd", 10)
}

func isList(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/configmaps") && req.URL.Query().Get("watch") == ""
}

// Where many objects go, one list tells what a look at each would.
func TestPruneLooksAtManyByAList(t *testing.T) {
	f := setup(t)
	inv := f.crowd(t)
	gone := f.make(t, "gone", nil)
	require.NoError(t, f.client.Delete(t.Context(), "gone", metav1.DeleteOptions{}))
	kept := f.make(t, "kept", func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{gc.PruneAnnotation: "disabled"})
	})
	theirs := f.make(t, "theirs", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{gc.OwnerLabel: "theirs"}) })
	anew := f.make(t, "anew", nil)
	anew.UID = "of another"
	all := inv.Union([]gc.Entry{gone, kept, theirs, anew})

	before := f.meter.Count()
	res, err := f.pruner.Prune(t.Context(), all, gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.EqualValues(t, 1+len(inv), f.meter.Count().Sub(before).Requests, "a list, and a delete for each")
	outcomes := map[gc.Key]gc.Outcome{}
	for _, o := range res.Objects {
		outcomes[o.Key] = o.Outcome
	}
	for _, e := range inv {
		require.Equal(t, gc.Deleted, outcomes[e.Key])
		require.False(t, f.exists(t, e.Name))
	}
	require.Equal(t, gc.Absent, outcomes[gone.Key])
	require.Equal(t, gc.Orphaned, outcomes[kept.Key])
	require.Equal(t, gc.Foreign, outcomes[theirs.Key])
	require.Equal(t, gc.Foreign, outcomes[anew.Key])
}

// A list that is refused, or fails, costs a look at each.
func TestPruneWithoutList(t *testing.T) {
	for _, code := range []int{http.StatusForbidden, http.StatusInternalServerError, http.StatusGone} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			f := setup(t)
			inv := f.crowd(t)
			p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if isList(req) {
					return answer(req, code, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d}`, code)), nil
				}
				return next.RoundTrip(req)
			})
			res, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine"})
			require.NoError(t, err)
			for _, o := range res.Objects {
				require.Equal(t, gc.Deleted, o.Outcome)
			}
			require.Zero(t, f.count(t))
		})
	}
}

// Others may have far more objects in a place than go: then a list is not worth it.
func TestPruneDoesNotReadEndlessLists(t *testing.T) {
	f := setup(t)
	inv := f.crowd(t)
	const page = `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"continue":"more"},"items":[%s]}`
	other := fmt.Sprintf(`{"metadata":{"name":"other","namespace":%q}}`, f.ns)
	pages := 0
	p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if isList(req) {
			pages++
			return answer(req, http.StatusOK, fmt.Sprintf(page, other+strings.Repeat(","+other, 99))), nil
		}
		return next.RoundTrip(req)
	})
	_, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	require.Equal(t, 5, pages)
	require.Zero(t, f.count(t))
}

// What changes after the list is seen, on the very version that would be deleted.
func TestAttackBetweenListAndDelete(t *testing.T) {
	f := setup(t)
	inv := f.crowd(t)
	p := f.beforeDelete(t, func(n int) {
		if n != 1 {
			return
		}
		f.patch(t, inv[4].Name, `{"metadata":{"labels":{"`+gc.OwnerLabel+`":"theirs"}}}`)
		f.patch(t, inv[5].Name, `{"metadata":{"annotations":{"`+gc.PruneAnnotation+`":"disabled"}}}`)
		require.NoError(t, f.client.Delete(t.Context(), inv[6].Name, metav1.DeleteOptions{}))
		f.make(t, inv[6].Name, nil)
		f.patch(t, inv[7].Name, `{"data":{"a":"b"}}`)
	})
	res, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Concurrency: 1})
	require.NoError(t, err)
	for i, want := range map[int]gc.Outcome{3: gc.Deleted, 4: gc.Foreign, 5: gc.Orphaned, 6: gc.Foreign, 7: gc.Deleted} {
		require.Equal(t, want, res.Objects[i].Outcome, i)
		require.Equal(t, want != gc.Deleted, f.exists(t, inv[i].Name))
	}
}

// An entry that says cluster-scoped of a namespaced type is not taken for an object
// of that name elsewhere.
func TestAttackEntriesWithoutANamespace(t *testing.T) {
	f := setup(t)
	inv := f.crowd(t)
	var lost []gc.Entry
	for _, e := range inv {
		e.Namespace = ""
		lost = append(lost, e)
	}
	res, err := f.pruner.Prune(t.Context(), gc.NewInventory(lost...), gc.PruneOptions{Owner: "mine"})
	require.NoError(t, err)
	for _, o := range res.Objects {
		require.Equal(t, gc.Absent, o.Outcome)
	}
	require.Equal(t, len(inv), f.count(t))
}
