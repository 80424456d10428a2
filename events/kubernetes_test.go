package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// cluster is a namespace on a real API server.
type cluster struct {
	config    *rest.Config
	namespace string
	client    dynamic.ResourceInterface
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	plane := testplane.Small(t)
	c := &cluster{config: plane.Config(), namespace: testplane.Namespace(t, plane)}
	client, err := dynamic.NewForConfig(c.config)
	require.NoError(t, err)
	c.client = client.Resource(eventResource).Namespace(c.namespace)
	return c
}

var eventResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}

func (c *cluster) sink(t *testing.T, opts events.KubernetesOptions, wrap ...func(http.RoundTripper) http.RoundTripper) *events.KubernetesSink {
	t.Helper()
	config := rest.CopyConfig(c.config)
	for _, w := range wrap {
		config.Wrap(w)
	}
	sink, err := events.NewKubernetesSink(config, opts)
	require.NoError(t, err)
	return sink
}

// events lists the Event objects, as the type of the API reads them.
func (c *cluster) events(t *testing.T) []corev1.Event {
	t.Helper()
	list, err := c.client.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return typed(t, list.Items)
}

func typed(t *testing.T, items []unstructured.Unstructured) []corev1.Event {
	t.Helper()
	all := make([]corev1.Event, len(items))
	for i, item := range items {
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &all[i]))
	}
	return all
}

func (c *cluster) event(name, message string) events.Event {
	e := event(name, message)
	e.InvolvedObject.Namespace = c.namespace
	return e
}

// at returns the event some seconds later.
func at(e events.Event, seconds int) events.Event {
	e.Timestamp = metav1.NewTime(noon.Add(time.Duration(seconds) * time.Second))
	return e
}

func TestKubernetesSinkCreatesAnEvent(t *testing.T) {
	c := newCluster(t)
	e := c.event("Web.Server", "applied <all> of it")
	e.InvolvedObject.ResourceVersion, e.InvolvedObject.FieldPath = "42", "spec.path"
	e.ReportingInstance = "app-controller-0"
	e.Metadata = map[string]string{"example.test/Revision": "main@sha1:1f0c", "not a key": "left out"}
	require.NoError(t, c.sink(t, events.KubernetesOptions{}).Send(t.Context(), e))

	all := c.events(t)
	require.Len(t, all, 1)
	got := all[0]
	require.Regexp(t, `^web-server\.[0-9a-f]{16}$`, got.Name)
	require.Equal(t, map[string]string{"example.test/Revision": "main@sha1:1f0c"}, got.Annotations)
	require.Equal(t, corev1.ObjectReference{
		APIVersion: "example.test/v1", Kind: "App", Namespace: c.namespace, Name: "Web.Server", UID: "uid-Web.Server",
		ResourceVersion: "42", FieldPath: "spec.path",
	}, got.InvolvedObject)
	require.Equal(t, "applied <all> of it", got.Message)
	require.Equal(t, "Succeeded", got.Reason)
	require.Equal(t, corev1.EventTypeNormal, got.Type)
	require.Equal(t, "app-controller", got.Source.Component)
	require.Equal(t, "app-controller", got.ReportingController)
	require.Equal(t, "app-controller-0", got.ReportingInstance)
	require.EqualValues(t, 1, got.Count)
	require.True(t, got.FirstTimestamp.Equal(&noon))
	require.True(t, got.LastTimestamp.Equal(&noon))
}

func TestKubernetesSinkTypes(t *testing.T) {
	c := newCluster(t)
	sink := c.sink(t, events.KubernetesOptions{})
	want := map[string]string{"trace": "Normal", "info": "Normal", "error": "Warning"}
	for severity := range want {
		e := c.event("web", severity)
		e.Severity = events.Severity(severity)
		require.NoError(t, sink.Send(t.Context(), e))
	}
	got := map[string]string{}
	for _, e := range c.events(t) {
		got[e.Message] = e.Type
	}
	require.Equal(t, want, got)
}

func TestKubernetesSinkTakesWhatIsHardToTake(t *testing.T) {
	c := newCluster(t)
	for name, change := range map[string]func(*events.Event){
		"a long message":    func(e *events.Event) { e.Message = strings.Repeat("é", events.MaxMessage) },
		"a long name":       func(e *events.Event) { e.InvolvedObject.Name = strings.Repeat("a", 253) },
		"a name of a role":  func(e *events.Event) { e.InvolvedObject.Name = "system:node:*" },
		"a name of signs":   func(e *events.Event) { e.InvolvedObject.Name = "::.::" },
		"a name of letters": func(e *events.Event) { e.InvolvedObject.Name = "Straße/ÄÖÜ\x00\n" },
		"a long reason":     func(e *events.Event) { e.Reason = strings.Repeat("R", events.MaxField) },
		"much metadata": func(e *events.Event) {
			e.Metadata = map[string]string{"k": strings.Repeat("v", events.MaxMetadata-1)}
		},
		"odd metadata": func(e *events.Event) {
			e.Metadata = map[string]string{"": "empty", "a/b/c": "slashes", "../..": "dots", "ok": "\x00\xff"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := c.event("web", name)
			change(&e)
			require.NoError(t, c.sink(t, events.KubernetesOptions{}).Send(t.Context(), e))
		})
	}
}

func TestKubernetesSinkShortensMessages(t *testing.T) {
	c := newCluster(t)
	long := strings.Repeat("a", 5000)
	require.NoError(t, c.sink(t, events.KubernetesOptions{}).Send(t.Context(), c.event("short", long)))
	require.NoError(t, c.sink(t, events.KubernetesOptions{MaxMessage: 1 << 30}).Send(t.Context(), c.event("long", long)))
	for _, e := range c.events(t) {
		if e.InvolvedObject.Name == "short" {
			require.Len(t, e.Message, events.DefaultKubernetesMessage)
			require.True(t, strings.HasSuffix(e.Message, "[truncated]"))
		} else {
			require.Equal(t, long, e.Message)
		}
	}
}

func TestKubernetesSinkOnAClusterScopedObject(t *testing.T) {
	c := newCluster(t)
	e := event(c.namespace, "made") // a name that no other test uses
	e.InvolvedObject = events.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: c.namespace}
	require.NoError(t, c.sink(t, events.KubernetesOptions{}).Send(t.Context(), e))

	client, err := dynamic.NewForConfig(c.config)
	require.NoError(t, err)
	list, err := client.Resource(eventResource).Namespace("default").List(t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.name=" + c.namespace,
	})
	require.NoError(t, err)
	require.Len(t, typed(t, list.Items), 1)
}

func TestKubernetesSinkCountsRepeats(t *testing.T) {
	c := newCluster(t)
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Nanosecond})
	for i := range 5 {
		require.NoError(t, sink.Send(t.Context(), at(c.event("web", "again"), i)))
		all := c.events(t)
		require.Len(t, all, 1)
		require.EqualValues(t, i+1, all[0].Count)
		require.True(t, all[0].FirstTimestamp.Equal(&noon))
		require.Equal(t, noon.Add(time.Duration(i)*time.Second).Unix(), all[0].LastTimestamp.Unix())
	}
	require.NoError(t, sink.Send(t.Context(), c.event("web", "another")))
	require.Len(t, c.events(t), 2)
}

func TestKubernetesSinkDoesNotStormTheAPI(t *testing.T) {
	c := newCluster(t)
	var wire meter.Meter
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Hour}, wire.Wrap)
	rec := record(t, sink, func(o *events.Options) { o.Sinks[0].Workers = 4 })
	for i := range 900 {
		emit(t, rec, at(c.event(fmt.Sprint("object-", i%3), "again"), i/3))
	}
	flush(t, rec)
	require.EqualValues(t, 900, rec.Stats().Sinks["sink"].Delivered, "repeats are counted, not dropped")
	all := c.events(t)
	require.Len(t, all, 3)
	for _, e := range all {
		require.EqualValues(t, 300, e.Count)
		require.Equal(t, noon.Add(299*time.Second).Unix(), e.LastTimestamp.Unix())
	}
	require.EqualValues(t, 6, wire.Count().Requests, "one to create each, one to count")

	require.NoError(t, sink.Flush(t.Context()))
	require.EqualValues(t, 6, wire.Count().Requests, "nothing left to write")
}

func TestKubernetesSinkBeginsANewSeriesAfterTheWindow(t *testing.T) {
	c := newCluster(t)
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Hour, Window: time.Minute})
	for _, seconds := range []int{0, 30, 90, 151} {
		require.NoError(t, sink.Send(t.Context(), at(c.event("web", "again"), seconds)))
	}
	counts := map[time.Duration]int32{}
	for _, e := range c.events(t) {
		counts[e.FirstTimestamp.Sub(noon.Time)] = e.Count
	}
	require.Equal(t, map[time.Duration]int32{0: 3, 151 * time.Second: 1}, counts, "the repeats of the first are not lost")
}

func TestKubernetesSinkForgetsTheLongestQuiet(t *testing.T) {
	c := newCluster(t)
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Nanosecond, Series: 2})
	for i, name := range []string{"a", "b", "a", "c", "a", "b"} {
		require.NoError(t, sink.Send(t.Context(), at(c.event(name, "again"), i)))
	}
	counts := map[string][]int32{}
	for _, e := range c.events(t) {
		counts[e.InvolvedObject.Name] = append(counts[e.InvolvedObject.Name], e.Count)
	}
	require.Equal(t, map[string][]int32{"a": {3}, "b": {1, 1}, "c": {1}}, counts)
}

// An object in trouble says something else each time.
func TestKubernetesSinkCombinesSimilarEvents(t *testing.T) {
	c := newCluster(t)
	var wire meter.Meter
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Hour, Similar: 3}, wire.Wrap)
	send := func(e events.Event) { require.NoError(t, sink.Send(t.Context(), e)) }
	for i := range 50 {
		send(at(c.event("web", fmt.Sprint("attempt ", i)), i))
	}
	other := c.event("web", "attempt 0")
	other.Reason = "Other"
	send(at(other, 50))
	send(at(c.event("web", "attempt 0"), 51))
	require.EqualValues(t, 5, wire.Count().Requests)
	require.NoError(t, sink.Flush(t.Context()))
	counts := map[string]int32{}
	for _, e := range c.events(t) {
		counts[e.Reason+": "+e.Message] = e.Count
	}
	require.Equal(t, map[string]int32{
		"Succeeded: attempt 0": 2, "Succeeded: attempt 1": 1, "Succeeded: attempt 2": 1, "Other: attempt 0": 1,
		"Succeeded: (combined from similar events): attempt 49": 47,
	}, counts)

	send(at(c.event("web", "later"), 1000))
	require.Len(t, c.events(t), 6, "after the window all is new")
}

// Events expire, one hour after they were written.
func TestKubernetesSinkMakesAnExpiredEventAgain(t *testing.T) {
	c := newCluster(t)
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Nanosecond})
	for i := range 3 {
		require.NoError(t, sink.Send(t.Context(), at(c.event("web", "again"), i)))
	}
	require.NoError(t, c.client.Delete(t.Context(), c.events(t)[0].Name, metav1.DeleteOptions{}))
	for i := range 2 {
		require.NoError(t, sink.Send(t.Context(), at(c.event("web", "again"), 3+i)))
	}
	all := c.events(t)
	require.Len(t, all, 1)
	require.EqualValues(t, 5, all[0].Count)
	require.True(t, all[0].FirstTimestamp.Equal(&noon))
}

func TestKubernetesSinkFlushOfAnExpiredEvent(t *testing.T) {
	c := newCluster(t)
	sink := c.sink(t, events.KubernetesOptions{Interval: time.Hour})
	for i := range 3 {
		require.NoError(t, sink.Send(t.Context(), at(c.event("web", "again"), i)))
	}
	require.NoError(t, c.client.Delete(t.Context(), c.events(t)[0].Name, metav1.DeleteOptions{}))
	require.NoError(t, sink.Flush(t.Context()))
	require.Empty(t, c.events(t), "nothing new has happened")
	require.NoError(t, sink.Send(t.Context(), at(c.event("web", "again"), 3)))
	all := c.events(t)
	require.Len(t, all, 1)
	require.EqualValues(t, 1, all[0].Count)
}

// lossy loses the server's answers, after the server has done what it was asked.
type lossy struct {
	next http.RoundTripper
	lose atomic.Int64
}

func (l *lossy) wrap(next http.RoundTripper) http.RoundTripper {
	l.next = next
	return l
}

func (l *lossy) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err == nil && l.lose.Add(-1) >= 0 {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return nil, errors.New("the connection broke")
	}
	return resp, err
}

func TestKubernetesSinkSentTwiceIsWrittenOnce(t *testing.T) {
	c := newCluster(t)
	var wire lossy
	rec := record(t, c.sink(t, events.KubernetesOptions{Interval: time.Nanosecond}, wire.wrap), func(o *events.Options) {
		o.Retry = events.Retry{Initial: time.Millisecond, Max: time.Millisecond}
	})
	for i := range 3 {
		wire.lose.Store(2)
		emit(t, rec, at(c.event("web", "again"), i))
		flush(t, rec)
	}
	require.Equal(t, events.SinkStats{Accepted: 3, Delivered: 3, Retried: 6}, outcomes(rec, "sink"))
	all := c.events(t)
	require.Len(t, all, 1)
	require.EqualValues(t, 3, all[0].Count)
}

func TestKubernetesSinkErrors(t *testing.T) {
	c := newCluster(t)
	t.Run("a namespace that is not there", func(t *testing.T) {
		e := c.event("web", "fine")
		e.InvolvedObject.Namespace = "not-there"
		err := c.sink(t, events.KubernetesOptions{}).Send(t.Context(), e)
		require.True(t, sendError(t, err).Terminal())
		require.ErrorContains(t, err, `answered 404 about App not-there/web: namespaces "not-there" not found`)
	})
	t.Run("no right", func(t *testing.T) {
		nobody := &cluster{config: rest.CopyConfig(c.config), namespace: c.namespace}
		nobody.config.Impersonate.UserName = "nobody"
		err := nobody.sink(t, events.KubernetesOptions{}).Send(t.Context(), c.event("web", "fine"))
		require.True(t, sendError(t, err).Terminal())
		require.ErrorContains(t, err, "grant create and patch on events")
	})
	t.Run("no right any more", func(t *testing.T) {
		var forbid forbidding
		sink := c.sink(t, events.KubernetesOptions{Interval: time.Hour}, forbid.wrap)
		for i := range 3 {
			require.NoError(t, sink.Send(t.Context(), at(c.event("revoked", "again"), i)))
		}
		forbid.now.Store(true)
		require.ErrorContains(t, sink.Flush(t.Context()), "grant create and patch on events")
		require.NoError(t, sink.Flush(t.Context()), "said once, not every ten seconds")
	})
	t.Run("nobody there", func(t *testing.T) {
		gone := &cluster{config: &rest.Config{Host: "http://127.0.0.1:1"}}
		err := gone.sink(t, events.KubernetesOptions{}).Send(t.Context(), c.event("web", "fine"))
		require.False(t, sendError(t, err).Terminal())
		require.ErrorContains(t, err, "no answer from the API server")
	})
	t.Run("no time", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := c.sink(t, events.KubernetesOptions{}).Send(ctx, c.event("web", "fine"))
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, sendError(t, err).Terminal())
	})
	t.Run("no configuration", func(t *testing.T) {
		_, err := events.NewKubernetesSink(nil, events.KubernetesOptions{})
		require.ErrorContains(t, err, "no client configuration")
		_, err = events.NewKubernetesSink(&rest.Config{Host: "http://[::1"}, events.KubernetesOptions{})
		require.ErrorContains(t, err, "a client for Kubernetes events")
	})
}

// forbidding answers 403 in the server's place, from now on.
type forbidding struct {
	next http.RoundTripper
	now  atomic.Bool
}

func (f *forbidding) wrap(next http.RoundTripper) http.RoundTripper {
	f.next = next
	return f
}

func (f *forbidding) RoundTrip(req *http.Request) (*http.Response, error) {
	if !f.now.Load() {
		return f.next.RoundTrip(req)
	}
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A server that is busy, and says for how long, is asked once and left alone: the
// recorder decides when to come back.
func TestKubernetesSinkLeavesABusyServerAlone(t *testing.T) {
	for status, final := range map[int]bool{401: false, 413: true, 422: true, 429: false, 500: false, 503: false} {
		var requests atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		sink, err := events.NewKubernetesSink(&rest.Config{Host: server.URL}, events.KubernetesOptions{})
		require.NoError(t, err)
		fail := sendError(t, sink.Send(t.Context(), event("web", "fine")))
		require.Equal(t, status, fail.Status)
		require.Equal(t, final, fail.Terminal(), "%d", status)
		require.EqualValues(t, 1, requests.Load(), "%d", status)
		if status == 429 {
			require.Equal(t, 7*time.Second, fail.RetryAfter())
		}
	}
}

// A repeat that could not be written is sent again, and counts once.
func TestKubernetesSinkCountsARepeatOnceThatFailed(t *testing.T) {
	var refuse atomic.Bool
	var last []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse.Swap(false) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		last, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
	}))
	t.Cleanup(server.Close)
	sink, err := events.NewKubernetesSink(&rest.Config{Host: server.URL}, events.KubernetesOptions{Interval: time.Nanosecond})
	require.NoError(t, err)
	e := event("web", "again")
	require.NoError(t, sink.Send(t.Context(), e))
	refuse.Store(true)
	require.Error(t, sink.Send(t.Context(), at(e, 1)))
	require.NoError(t, sink.Send(t.Context(), at(e, 1)))
	require.True(t, bytes.Contains(last, []byte(`"count":2`)), "%s", last)
}
