package ssa_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/ssa"
)

// many are n ConfigMaps.
func many(t *testing.T, n int) []*unstructured.Unstructured {
	t.Helper()
	out := make([]*unstructured.Unstructured, 0, n)
	for i := range n {
		out = append(out, objects(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%02d}", i))...)
	}
	return out
}

func status(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`, code, reason, message)
}

// A server in trouble that recovers costs no object.
func TestShortTroubleIsRetried(t *testing.T) {
	for _, code := range []int{429, 500, 502, 503, 504} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			f := setup(t)
			var mu sync.Mutex
			seen := map[string]int{}
			f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				if seen[req.URL.Path]++; req.Method == http.MethodPatch && seen[req.URL.Path] <= 2 {
					return answer(req, code, status(code, "", "trouble")), nil
				}
				return next.RoundTrip(req)
			})
			require.Equal(t, 10, f.apply(t, many(t, 10), f.options()).Count(ssa.Created))
		})
	}
}

// One that does not is left alone soon, and what was done is known.
func TestStormsEnd(t *testing.T) {
	for name, retryAfter := range map[string]string{"without a word": "", "with a time to come back": "1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			var sent, good atomic.Int64
			f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.Method != http.MethodPatch || good.Add(1) <= 5 {
					return next.RoundTrip(req)
				}
				sent.Add(1)
				resp := answer(req, http.StatusTooManyRequests, status(429, "TooManyRequests", "too many requests"))
				if retryAfter != "" {
					resp.Header.Set("Retry-After", retryAfter)
				}
				return resp, nil
			})
			objs := many(t, 80)
			start := time.Now()
			res, err := f.applier.Apply(t.Context(), objs, f.options())
			require.Less(t, time.Since(start), 20*time.Second)
			var overloaded *ssa.OverloadedError
			require.ErrorAs(t, err, &overloaded)
			require.ErrorContains(t, err, "75 of 80 objects were not applied")
			require.False(t, terminal(err))
			require.Len(t, res.Changes, len(objs))
			require.Equal(t, 5, res.Count(ssa.Created))
			require.Less(t, res.Count(ssa.Failed), 30)
			require.Less(t, sent.Load(), int64(120))
			for _, c := range res.Changes {
				if c.Action == ssa.Failed {
					require.ErrorContains(t, c.Err, "apply ConfigMap "+f.ns+"/"+c.Key.Name)
					require.True(t, apierrors.IsTooManyRequests(c.Err))
				}
			}
		})
	}
}

// What the server says about an object itself is not asked for again.
func TestRefusalsAreNotRetried(t *testing.T) {
	for name, tt := range map[string]struct {
		code           int
		reason, answer string
	}{
		"a webhook that denies":       {403, "Forbidden", `admission webhook "x" denied the request: no`},
		"a webhook that is away":      {500, "InternalError", `Internal error occurred: failed calling webhook "x": connection refused`},
		"an object that is too large": {500, "", "etcdserver: request is too large"},
		"an object that does not fit": {500, "", "failed to create typed patch object (x): field not declared in schema"},
		"an invalid object":           {422, "Invalid", "no"},
		"a missing right":             {403, "Forbidden", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			var sent atomic.Int64
			f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodPatch {
					sent.Add(1)
					return answer(req, tt.code, status(tt.code, tt.reason, tt.answer)), nil
				}
				return next.RoundTrip(req)
			})
			objs := many(t, 40)
			res, err := f.applier.Apply(t.Context(), objs, f.options())
			require.ErrorContains(t, err, "40 of 40 objects were not applied: apply ConfigMap "+f.ns+"/cm-")
			require.ErrorContains(t, err, tt.answer)
			require.EqualValues(t, len(objs), sent.Load())
			require.Equal(t, len(objs), res.Count(ssa.Failed))
			require.Equal(t, tt.code == 422 || strings.Contains(name, "object"), terminal(err), "%v", err)
		})
	}
}

func TestQuotaRefusals(t *testing.T) {
	f := setup(t)
	quota := objects(t, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {count/configmaps: '0'}}\nstatus: {hard: {count/configmaps: '0'}, used: {count/configmaps: '0'}}")[0]
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	_, err := f.others.Resource(gvr).Namespace(f.ns).Create(t.Context(), quota, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = f.others.Resource(gvr).Namespace(f.ns).Apply(t.Context(), "q", func() *unstructured.Unstructured {
		u := quota.DeepCopy()
		unstructured.RemoveNestedField(u.Object, "spec")
		return u
	}(), metav1.ApplyOptions{FieldManager: "quota", Force: true}, "status")
	require.NoError(t, err)
	require.Eventually(t, func() bool { // until the admission has read the quota
		_, err = f.applier.Apply(t.Context(), many(t, 1), f.options())
		if err == nil {
			_ = f.others.Resource(configMaps).Namespace(f.ns).Delete(t.Context(), "cm-00", metav1.DeleteOptions{})
		}
		return err != nil
	}, 30*time.Second, 50*time.Millisecond)
	require.ErrorContains(t, err, "apply ConfigMap "+f.ns+"/cm-00: ")
	require.ErrorContains(t, err, "exceeded quota: q")
	require.False(t, terminal(err), "the quota may be raised")
}

// Two definitions claim one name: the second is never established.
func TestDefinitionThatIsNeverEstablished(t *testing.T) {
	f := setup(t)
	objs := objects(t, strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"))
	f.apply(t, objs, f.options())
	other := objects(t, strings.NewReplacer("widgets", "gadgets", "GROUP", f.ns+".example.com").Replace(widgets)) // and the kind Widget again
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	res, err := f.applier.Apply(ctx, other, f.options())
	require.ErrorContains(t, err, "apply Widget."+f.ns+".example.com "+f.ns+"/one")
	require.False(t, terminal(err))
	require.Equal(t, ssa.Created, res.Changes[0].Action)
	require.Equal(t, ssa.Failed, res.Changes[1].Action)
}

func TestTwoMegabytes(t *testing.T) {
	f := setup(t)
	u := objects(t, strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"))
	preserving := u[0].Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
	preserving["x-kubernetes-preserve-unknown-fields"] = true
	u[1].Object["large"] = strings.Repeat("x", 2<<20)
	res, err := f.applier.Apply(t.Context(), append(u, many(t, 2)...), f.options())
	require.ErrorContains(t, err, "1 of 4 objects were not applied: apply Widget."+f.ns+".example.com "+f.ns+"/one")
	require.ErrorContains(t, err, "make the object smaller")
	require.True(t, terminal(err))
	require.Less(t, len(err.Error()), 2000)
	require.Equal(t, 3, res.Count(ssa.Created))
}
