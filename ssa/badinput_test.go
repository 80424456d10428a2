package ssa_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
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
	res, err := f.applier.Apply(t.Context(), other, f.options())
	var definition *ssa.DefinitionError
	require.ErrorAs(t, err, &definition)
	require.Equal(t, "gadgets."+f.ns+".example.com", definition.Definition.Name)
	require.ErrorContains(t, err, "apply Widget."+f.ns+".example.com "+f.ns+"/one: its type is not served, because CustomResourceDefinition.apiextensions.k8s.io gadgets.")
	require.ErrorContains(t, err, `List" is already in use`)
	require.False(t, terminal(err))
	require.Equal(t, ssa.Created, res.Changes[0].Action)
	require.Equal(t, ssa.Failed, res.Changes[1].Action)
}

// One whose fate nobody may look up is waited for until the end.
func TestApplyThatEndsBeforeATypeIsServed(t *testing.T) {
	f := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if strings.HasSuffix(req.URL.Path, "/widgets/one") && req.Method == http.MethodPatch {
			cancel()
			return answer(req, http.StatusNotFound, "404 page not found"), nil
		}
		return next.RoundTrip(req)
	})
	res, err := f.applier.Apply(ctx, objects(t, strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com")), f.options())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "look at the status of CustomResourceDefinition.apiextensions.k8s.io widgets.")
	require.False(t, terminal(err))
	require.Equal(t, ssa.Created, res.Changes[0].Action)
	require.Equal(t, ssa.Failed, res.Changes[1].Action)
}

// A Secret that is refused while the Apply is being ended is quoted no more than
// any other.
func TestAttackSecretInTheErrorOfAnEndedApply(t *testing.T) {
	f := setup(t)
	const canary = "c4n4ry-v4lue"
	ctx, cancel := context.WithCancel(t.Context())
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method != http.MethodPatch {
			return next.RoundTrip(req)
		}
		defer cancel()
		return answer(req, 422, status(422, "Invalid", "it is "+canary)), nil
	})
	_, err := f.applier.Apply(ctx, objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: "+canary+"}"), f.options())
	require.ErrorContains(t, err, "apply Secret "+f.ns+"/x")
	require.NotContains(t, everything(err), canary)
}

// Wrong Secrets are no server in trouble, although what is wrong with them is not told.
func TestManyWrongSecretsDoNotStopTheRest(t *testing.T) {
	f := setup(t)
	var objs []*unstructured.Unstructured
	for i := range 20 {
		objs = append(objs, objects(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: s-%d}\nunknown: {a: b}", i))...)
	}
	objs = append(objs, many(t, 20)...)
	res, err := f.applier.Apply(t.Context(), objs, f.options())
	require.Error(t, err)
	require.Equal(t, 20, res.Count(ssa.Failed))
	require.Equal(t, 20, res.Count(ssa.Created))
}

// A wait names its objects, and what keeps it from seeing them.
func TestWaitInAStorm(t *testing.T) {
	t.Parallel() // it outlasts what a wait bears
	f := setup(t)
	res := f.apply(t, web(t), f.options())
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return answer(req, http.StatusTooManyRequests, status(429, "TooManyRequests", "too many requests")), nil
	})
	_, err := f.applier.Wait(t.Context(), res.Entries, ssa.WaitOptions{Owner: "test"})
	var overloaded *ssa.OverloadedError
	require.ErrorAs(t, err, &overloaded)
	require.ErrorContains(t, err, "Deployment.apps "+f.ns+"/web is Unknown")
	require.ErrorContains(t, err, "overloaded or in trouble")
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

// Webhooks wait for the rest of a set, whose authors choose how many there are of both.
func TestAttackManyWebhooks(t *testing.T) {
	f := setup(t)
	objs := many(t, 4000)
	for i := range 4000 {
		objs = append(objs, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": fmt.Sprintf("w-%d", i)}}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if strings.Contains(req.URL.Path, "/configmaps") {
			cancel() // it is prepared
		}
		return next.RoundTrip(req)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := f.applier.Apply(ctx, objs, f.options())
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, len(objs), res.Count(ssa.Skipped)+res.Count(ssa.Failed))
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(300<<20))
}

// A webhook that is away refuses its objects, each by name, and may come back.
func TestWebhookThatIsAway(t *testing.T) {
	f := setup(t)
	hook := objects(t, strings.ReplaceAll(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NS}
webhooks:
- name: none.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 1
  clientConfig: {url: "https://127.0.0.1:1/nobody"}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: ["*"], resources: [configmaps]}]`, "NS", f.ns))
	gvr := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
	f.apply(t, hook, f.options())
	defer func() { require.NoError(t, f.others.Resource(gvr).Delete(t.Context(), f.ns, metav1.DeleteOptions{})) }()
	secret := objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}")
	var res *ssa.Result
	var err error
	n := 0
	require.Eventually(t, func() bool { // until the server goes by the webhook
		n++
		objs := append(objects(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%d}", n)), secret...)
		res, err = f.applier.Apply(t.Context(), objs, f.options())
		return err != nil
	}, 30*time.Second, 20*time.Millisecond)
	require.ErrorContains(t, err, fmt.Sprintf("1 of 2 objects were not applied: apply ConfigMap %s/cm-%d: ", f.ns, n))
	require.ErrorContains(t, err, `failed calling webhook "none.example.com"`)
	require.False(t, terminal(err))
	require.Equal(t, ssa.Failed, res.Changes[0].Action)
	require.NotEqual(t, ssa.Failed, res.Changes[1].Action)
}
