package gc_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// held makes objects that a finalizer keeps.
func (f *fixture) held(t *testing.T, n int) gc.Inventory {
	t.Helper()
	var entries []gc.Entry
	for i := range n {
		entries = append(entries, f.make(t, fmt.Sprintf("held-%02d", i), func(u *unstructured.Unstructured) {
			u.SetFinalizers([]string{"example.com/hold"})
		}))
	}
	return gc.NewInventory(entries...)
}

// letGo removes the finalizers once all of the objects are on their way.
func (f *fixture) letGo(t *testing.T, inv gc.Inventory, deletes *atomic.Int64) {
	t.Helper()
	for deletes.Load() < int64(len(inv)) && t.Context().Err() == nil {
		<-time.After(5 * time.Millisecond)
	}
	for _, e := range inv {
		f.patch(t, e.Name, `{"metadata":{"finalizers":null}}`)
	}
}

// The end of many objects is seen by one list and one watch, and where these are
// refused or end, in another way.
func TestPruneWaitsForMany(t *testing.T) {
	const many = 30
	isWatch := func(req *http.Request) bool { return req.URL.Query().Get("watch") != "" }
	alone := func(req *http.Request) bool { return req.URL.Query().Get("fieldSelector") != "" }
	for name, tt := range map[string]struct {
		answer func(req *http.Request, lists int) *http.Response // nil: as the server has it
		most   int64
	}{
		"by a watch": {nil, 1 + many + 9*2 + 2},
		"without the right to watch": {func(req *http.Request, _ int) *http.Response {
			if isWatch(req) {
				return answer(req, http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
			}
			return nil
		}, 10 * many},
		"without the right to list": {func(req *http.Request, _ int) *http.Response {
			if isList(req) {
				return answer(req, http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
			}
			return nil
		}, 2 + many*4},
		"by watches that end": {func(req *http.Request, _ int) *http.Response {
			if isWatch(req) && !alone(req) {
				return answer(req, http.StatusOK, "")
			}
			return nil
		}, 10 * many},
		"by watches of which one is too old": {func(req *http.Request, lists int) *http.Response {
			if isWatch(req) && !alone(req) && lists < 3 {
				return answer(req, http.StatusOK, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`)
			}
			return nil
		}, 2*many + 30},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			inv := f.held(t, many)
			var deletes, lists atomic.Int64
			p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if isList(req) {
					lists.Add(1)
				}
				if tt.answer != nil {
					if resp := tt.answer(req, int(lists.Load())); resp != nil {
						return resp, nil
					}
				}
				resp, err := next.RoundTrip(req)
				if req.Method == http.MethodDelete {
					deletes.Add(1)
				}
				return resp, err
			})
			done := make(chan struct{})
			go func() {
				defer close(done)
				f.letGo(t, inv, &deletes)
			}()
			before := f.meter.Count()
			res, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Timeout: 30 * time.Second})
			<-done
			require.NoError(t, err)
			for _, o := range res.Objects {
				require.Equal(t, gc.Deleted, o.Outcome)
			}
			require.LessOrEqual(t, f.meter.Count().Sub(before).Requests, tt.most)
			require.Zero(t, f.count(t))
		})
	}
}

// Each of many says what holds it.
func TestPruneOfManyThatStay(t *testing.T) {
	f := setup(t)
	inv := f.held(t, 12)
	res, err := f.pruner.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Timeout: 300 * time.Millisecond})
	var failed *gc.PruneError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failed, 12)
	for _, p := range failed.Failed {
		var blocked *gc.BlockedError
		require.True(t, errors.As(p.Err, &blocked))
		require.Equal(t, []string{"example.com/hold"}, blocked.Finalizers)
		require.True(t, strings.Contains(p.Err.Error(), "300ms were over"))
	}
	require.Equal(t, inv, res.Kept)
	for _, e := range inv {
		f.patch(t, e.Name, `{"metadata":{"finalizers":null}}`)
	}
}

// One that is gone when the time is up is gone, also if nothing told so.
func TestPruneLooksOnceMoreWhenTheTimeIsUp(t *testing.T) {
	f := setup(t)
	inv := f.held(t, 1)
	p := f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.URL.Query().Get("watch") == "" {
			return next.RoundTrip(req)
		}
		f.patch(t, inv[0].Name, `{"metadata":{"finalizers":null}}`)
		<-req.Context().Done() // a connection that died without a sound
		return nil, req.Context().Err()
	})
	res, err := p.Prune(t.Context(), inv, gc.PruneOptions{Owner: "mine", Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, gc.Deleted, res.Objects[0].Outcome)
}
