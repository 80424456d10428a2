package gc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/gc"
)

// history is one random story: a set that changes, processes that die, and
// outsiders who do what they like, also between two requests of ours.
type history struct {
	*world
	t       *testing.T
	rnd     *rand.Rand
	client  dynamic.ResourceInterface
	applied map[types.UID]bool // what we applied, and nobody took over since
	strange map[types.UID]bool // made by outsiders, never applied by us, not deleted by them
	wanted  map[string]bool    // the set of the reconcile that runs
	log     []string

	requests, act int // the outsiders act before request number act
}

var historyNames = []string{"a", "b", "c", "d", "e"}

// observe wraps the transport next to the server: it sees what was carried out.
func (h *history) observe(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if h.requests++; h.requests == h.act {
			h.outsider()
		}
		name := path.Base(req.URL.Path)
		if !strings.Contains(req.URL.Path, "/configmaps/") || len(name) != 1 {
			return next.RoundTrip(req)
		}
		switch req.Method {
		case http.MethodPatch:
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode < 300 {
				h.sawApply(name)
			}
			return resp, err
		case http.MethodDelete:
			before, getErr := h.client.Get(req.Context(), name, metav1.GetOptions{})
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = io.NopCloser(bytes.NewReader(body))
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode < 300 && getErr == nil {
				h.sawDelete(name, before, body)
			}
			return resp, err
		}
		return next.RoundTrip(req)
	})
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *history) sawApply(name string) {
	u, err := h.client.Get(h.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		h.t.Errorf("after an apply: %v", err)
		return
	}
	h.note("we apply %s %s", name, u.GetUID())
	h.applied[u.GetUID()] = true
	delete(h.strange, u.GetUID())
}

func (h *history) sawDelete(name string, u *unstructured.Unstructured, body []byte) {
	h.note("we delete %s %s", name, u.GetUID())
	var opts metav1.DeleteOptions
	ours := json.Unmarshal(body, &opts) == nil && opts.Preconditions != nil && opts.Preconditions.UID != nil && opts.Preconditions.ResourceVersion != nil
	switch {
	case !ours:
		h.t.Errorf("%s was deleted without preconditions", name)
	case !h.applied[u.GetUID()]:
		h.t.Errorf("%s was deleted, and we never applied it, or somebody took it over", name)
	case u.GetLabels()[gc.OwnerLabel] != "mine":
		h.t.Errorf("%s was deleted, and its owner is %q", name, u.GetLabels()[gc.OwnerLabel])
	case u.GetAnnotations()[gc.PruneAnnotation] != "":
		h.t.Errorf("%s was deleted, and was to be kept", name)
	case h.wanted[name]:
		h.t.Errorf("%s was deleted, and is wanted", name)
	}
}

// outsider does one thing to one object.
func (h *history) outsider() {
	ctx, name := h.t.Context(), historyNames[h.rnd.IntN(len(historyNames))]
	u, err := h.client.Get(ctx, name, metav1.GetOptions{})
	there := err == nil
	switch what := h.rnd.IntN(6); {
	case !there && what < 2:
		h.create(name, nil)
	case !there:
	case what == 0:
		h.remove(u)
	case what == 1:
		h.remove(u)
		h.create(name, map[string]string{gc.OwnerLabel: "mine"}) // a copy, with all labels
	case what == 2:
		h.note("somebody takes over %s", name)
		h.patch(name, `{"metadata":{"labels":{"`+gc.OwnerLabel+`":"theirs"}}}`)
		delete(h.applied, u.GetUID())
		h.strange[u.GetUID()] = true
	case what == 3:
		h.note("somebody wants to keep %s", name)
		h.patch(name, `{"metadata":{"annotations":{"`+gc.PruneAnnotation+`":"disabled"}}}`)
	default:
		h.note("somebody changes %s", name)
		h.patch(name, `{"data":{"value":"changed"}}`)
	}
}

func (h *history) create(name string, labels map[string]string) {
	u := configMapObject(h.ns, name, "strange")
	u.SetLabels(labels)
	u, err := h.client.Create(h.t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		h.t.Errorf("create %s: %v", name, err)
		return
	}
	h.note("somebody creates %s %s %v", name, u.GetUID(), labels)
	h.strange[u.GetUID()] = true
}

func (h *history) remove(u *unstructured.Unstructured) {
	h.note("somebody deletes %s %s", u.GetName(), u.GetUID())
	if err := h.client.Delete(h.t.Context(), u.GetName(), metav1.DeleteOptions{}); err != nil {
		h.t.Errorf("delete %s: %v", u.GetName(), err)
	}
	delete(h.strange, u.GetUID())
	delete(h.applied, u.GetUID())
}

func (h *history) patch(name, body string) {
	_, err := h.client.Patch(h.t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{})
	if err != nil {
		h.t.Errorf("patch %s: %v", name, err)
	}
}

// step is one process with a random set, and faults unless it is clean.
func (h *history) step(ctx context.Context, set []string, clean bool) error {
	h.wanted = map[string]bool{}
	for _, name := range set {
		h.wanted[name[:1]] = true
	}
	s := &saboteur{}
	h.requests, h.act = 0, 0
	if !clean {
		h.act = h.rnd.IntN(20)
		if h.rnd.IntN(2) == 0 {
			s.fault = []fault{refused, denied, unanswered, killed, killedAfter}[h.rnd.IntN(5)]
			s.at = 1 + h.rnd.IntN(16)
		}
	}
	h.note("the set is %v; %s at %d", set, s.fault, s.at)
	err := h.reconcile(ctx, h.objects(set...), s)
	h.note("it ended with %v", err)
	return err
}

// holds checks the invariant: what we applied and is still ours is on record.
func (h *history) holds() {
	t := h.t
	inv := h.record()
	list, err := h.client.List(t.Context(), metav1.ListOptions{LabelSelector: gc.OwnerLabel + "=mine"})
	require.NoError(t, err)
	for _, u := range list.Items {
		kept := u.GetAnnotations()[gc.PruneAnnotation] != ""
		if h.applied[u.GetUID()] && !kept {
			require.True(t, inv.Has(keyOf(&u)), "%s was applied and is not on record", u.GetName())
		}
	}
	for uid := range h.strange {
		require.True(t, h.alive(uid), "the stranger %s is gone", uid)
	}
}

func (h *history) record() gc.Inventory {
	store, err := gc.NewConfigMapStore(h.cfg, h.ns, "inventory", gc.StoreOptions{})
	require.NoError(h.t, err)
	inv, err := store.Load(h.t.Context())
	require.NoError(h.t, err)
	return inv
}

func (h *history) alive(uid types.UID) bool {
	list, err := h.client.List(h.t.Context(), metav1.ListOptions{})
	require.NoError(h.t, err)
	for _, u := range list.Items {
		if u.GetUID() == uid {
			return true
		}
	}
	return false
}

func (h *history) randomSet() []string {
	var set []string
	for _, name := range historyNames {
		if h.rnd.IntN(2) == 0 {
			set = append(set, fmt.Sprintf("%s=%d", name, h.rnd.IntN(2)))
		}
	}
	return set
}

// Over random histories: we never delete what we did not apply, and never lose
// what we did.
func TestHistories(t *testing.T) {
	t.Parallel()
	const histories, steps = 30, 12
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.crowding = seed%2 == 1
			h := &history{
				world: w, t: t, rnd: rand.New(rand.NewPCG(seed, 4)), client: w.all.Resource(configMaps).Namespace(w.ns),
				applied: map[types.UID]bool{}, strange: map[types.UID]bool{},
			}
			w.cfg.Wrap(h.observe)
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(strings.Join(h.log, "\n"))
				}
			})
			for range steps {
				_ = h.step(t.Context(), h.randomSet(), false) // it may well fail
				if h.rnd.IntN(2) == 0 {
					h.outsider()
				}
				h.holds()
			}
			require.NoError(t, h.step(t.Context(), nil, true))
			h.holds()
			require.Empty(t, h.record())
			list, err := h.client.List(t.Context(), metav1.ListOptions{LabelSelector: gc.OwnerLabel + "=mine"})
			require.NoError(t, err)
			for _, u := range list.Items {
				kept := u.GetAnnotations()[gc.PruneAnnotation] != ""
				require.True(t, kept || h.strange[u.GetUID()], "%s was applied by us, and was left behind", u.GetName())
			}
			h.check(t, nil, nil)
		})
	}
}

// An apply that made an object anew, and whose answer died with the process,
// leaves a UID on record that is not the object's. It is ours all the same.
func TestPruneKnowsWhatItAppliedAnew(t *testing.T) {
	w := newWorld(t)
	client := w.all.Resource(configMaps).Namespace(w.ns)
	w.settle(t, w.objects("a", "b"))
	require.NoError(t, client.Delete(t.Context(), "a", metav1.DeleteOptions{}))
	s := &saboteur{fault: killedAfter}
	for s.at = 1; ; s.at++ {
		*s = saboteur{fault: killedAfter, at: s.at}
		_ = w.reconcile(t.Context(), w.objects("a", "b"), s)
		if _, err := client.Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			break
		}
	}
	require.Contains(t, s.last, "PATCH")
	w.settle(t, w.objects("b"))
	_, err := client.Get(t.Context(), "a", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)

	w.settle(t, w.objects("a", "b"))
	require.NoError(t, client.Delete(t.Context(), "a", metav1.DeleteOptions{}))
	copied := configMapObject(w.ns, "a", "a copy")
	copied.SetLabels(map[string]string{gc.OwnerLabel: "mine"})
	_, err = client.Create(t.Context(), copied, metav1.CreateOptions{})
	require.NoError(t, err)
	w.settle(t, w.objects("b"))
	_, err = client.Get(t.Context(), "a", metav1.GetOptions{})
	require.NoError(t, err, "a copy that somebody made, labels included, is not ours")
}
