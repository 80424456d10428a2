package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gitopskit/gitopskit/events/internal/post"
	"github.com/gitopskit/gitopskit/internal/clip"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// The defaults of [KubernetesOptions].
const (
	DefaultKubernetesMessage  = 1024
	DefaultKubernetesInterval = 10 * time.Second
	DefaultKubernetesWindow   = 10 * time.Minute
	DefaultKubernetesSeries   = 4096
	DefaultKubernetesSimilar  = 10

	// Requests a second and at once, where the client configuration has no limit
	// of its own. Events must not crowd out what a controller is there for.
	kubernetesQPS   = 20
	kubernetesBurst = 100
)

// KubernetesOptions configures a [KubernetesSink]. Zero fields mean the defaults.
type KubernetesOptions struct {
	// MaxMessage is the longest message that is kept, in bytes. Zero means
	// [DefaultKubernetesMessage], which is what the events.k8s.io API allows.
	MaxMessage int
	// Interval is the least time between two writes that count repeats of one
	// event. Zero means [DefaultKubernetesInterval].
	Interval time.Duration
	// Window is how long after an event an equal one counts as its repeat and
	// not as a new event. Zero means [DefaultKubernetesWindow].
	Window time.Duration
	// Series is how many different events are remembered in order to count
	// their repeats; the one that was quiet longest is forgotten first. Zero
	// means [DefaultKubernetesSeries].
	Series int
	// Similar is how many events that differ in message and metadata alone, each
	// within the window after the one before, have an object of their own. Others
	// share one, which tells the latest of them. Zero means
	// [DefaultKubernetesSimilar].
	Similar int
}

// KubernetesSink keeps events as core/v1 Event objects, where kubectl describe finds
// them. It needs the right to create and to patch events.
//
// The first of a series of equal events creates an object. Its repeats raise the
// object's count and last timestamp, at most once per interval: in between they are
// counted here, and written by the next repeat or by Flush. Events that change their
// message all the time end up in one series too, so that one object in trouble does not
// fill the API server's store.
//
// Why not the series of events.k8s.io/v1: the server keeps both kinds in one place and
// serves each as the other, but that group does not let its clients write the
// lastTimestamp and the count, by which people and tools sort and compare events (kubectl
// get events --sort-by=.lastTimestamp). Readers of events.k8s.io/v1 see them as
// deprecatedLastTimestamp and deprecatedCount. Both ways cost the same requests.
type KubernetesSink struct {
	client *rest.RESTClient
	pace   flowcontrol.RateLimiter // nil where the client has one
	host   string
	opts   KubernetesOptions

	tallies *lru[*tally]
	crowds  *lru[*crowd]
}

// NewKubernetesSink returns a sink for an API server. A configuration without a rate
// limit gets one of 20 requests a second, 100 at once.
func NewKubernetesSink(cfg *rest.Config, opts KubernetesOptions) (*KubernetesSink, error) {
	if cfg == nil {
		return nil, errors.New("events: the Kubernetes sink has no client configuration")
	}
	client, err := newEventClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("events: a client for Kubernetes events: %w", err)
	}
	opts.MaxMessage = min(orDefault(opts.MaxMessage, DefaultKubernetesMessage), MaxMessage)
	opts.Interval = orDefault(opts.Interval, DefaultKubernetesInterval)
	opts.Window = orDefault(opts.Window, DefaultKubernetesWindow)
	opts.Series = orDefault(opts.Series, DefaultKubernetesSeries)
	opts.Similar = orDefault(opts.Similar, DefaultKubernetesSimilar)
	s := &KubernetesSink{
		client:  client,
		host:    client.Get().URL().Host,
		opts:    opts,
		tallies: newLRU[*tally](opts.Series),
		crowds:  newLRU[*crowd](opts.Series),
	}
	if !paced(cfg) {
		s.pace = flowcontrol.NewTokenBucketRateLimiter(kubernetesQPS, kubernetesBurst)
	}
	return s, nil
}

// paced reports whether a configuration says how fast its client may be.
func paced(cfg *rest.Config) bool { return cfg.QPS != 0 || cfg.RateLimiter != nil }

func newEventClient(cfg *rest.Config) (*rest.RESTClient, error) {
	version := schema.GroupVersion{Version: "v1"}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, version) // knows Status, the server's errors
	cfg = rest.CopyConfig(cfg)
	cfg.APIPath = "/api"
	cfg.GroupVersion = &version
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.ContentType = runtime.ContentTypeJSON
	cfg.AcceptContentTypes = runtime.ContentTypeJSON
	if !paced(cfg) {
		cfg.QPS = -1 // the sink waits itself: the client would log that it does
	}
	if cfg.WarningHandler == nil && cfg.WarningHandlerWithContext == nil {
		cfg.WarningHandler = rest.NoWarnings{} // the default one logs
	}
	return rest.RESTClientFor(cfg)
}

// CountsRepeats is true: a recorder passes on every repeat.
func (s *KubernetesSink) CountsRepeats() bool { return true }

// Send creates an Event object or counts a repeat. The error is a [*SendError].
func (s *KubernetesSink) Send(ctx context.Context, e Event) error {
	t, e, combined := s.place(e)
	if err := t.lock(ctx); err != nil {
		return s.failure(e.InvolvedObject, err)
	}
	defer t.unlock()
	if t.count == 0 || e.Timestamp.Sub(t.last.Time) > s.opts.Window {
		return s.begin(ctx, t, e, combined)
	}
	return s.repeat(ctx, t, e)
}

// Flush writes the repeats that were only counted here so far. What the server will
// never take is in the error once.
func (s *KubernetesSink) Flush(ctx context.Context) error {
	var errs []error
	for _, t := range s.tallies.all() {
		if err := t.lock(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, s.catchUp(ctx, t))
		t.unlock()
	}
	return errors.Join(errs...)
}

// begin creates the object of a new series.
func (s *KubernetesSink) begin(ctx context.Context, t *tally, e Event, combined bool) error {
	if err := s.catchUp(ctx, t); err != nil && !terminal(err) {
		return err
	}
	next := series{first: e.Timestamp, last: e.Timestamp, count: 1}
	if combined {
		next.latest = e.Message
	}
	return s.create(ctx, t, e, next)
}

// repeat counts, and writes if the interval has passed. A repeat that could not be
// written is not counted, since the caller will send it again.
func (s *KubernetesSink) repeat(ctx context.Context, t *tally, e Event) error {
	before := t.series
	t.count++
	if t.latest != "" {
		t.latest = e.Message
	}
	if t.last.Before(&e.Timestamp) {
		t.last = e.Timestamp
	}
	if time.Since(t.wroteAt) < s.opts.Interval {
		return nil
	}
	err := s.patch(ctx, t)
	if gone(err) { // events expire
		err = s.create(ctx, t, e, t.series)
	}
	if err != nil {
		t.series = before
	}
	return err
}

// catchUp writes what was counted and not written. Where the object is gone there is
// nothing left to say: the next event begins a new series.
func (s *KubernetesSink) catchUp(ctx context.Context, t *tally) error {
	if t.count == t.written {
		return nil
	}
	err := s.patch(ctx, t)
	switch {
	case gone(err):
		t.series = series{}
		return nil
	case terminal(err):
		t.written = t.count
	}
	return err
}

// create makes the object of a series. That it is there already means that an
// earlier attempt came through and only its answer was lost: the name holds the time
// and what the event says.
func (s *KubernetesSink) create(ctx context.Context, t *tally, e Event, next series) error {
	object := newKubeEvent(e, s.opts.MaxMessage)
	object.FirstTimestamp, object.LastTimestamp, object.Count = next.first, next.last, next.count
	body, err := json.Marshal(object)
	if err != nil {
		return s.failure(e.InvolvedObject, err)
	}
	err = s.do(ctx, s.client.Post().Namespace(object.Metadata.Namespace).Body(body))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return s.failure(e.InvolvedObject, err)
	}
	next.about, next.namespace, next.name = e.InvolvedObject, object.Metadata.Namespace, object.Metadata.Name
	next.written, next.wroteAt = next.count, time.Now()
	t.series = next
	return nil
}

// patch brings the object's count up to date.
func (s *KubernetesSink) patch(ctx context.Context, t *tally) error {
	change := map[string]any{"count": t.count, "lastTimestamp": t.last}
	if t.latest != "" {
		change["message"] = clip.Text(t.latest, s.opts.MaxMessage)
	}
	body, err := json.Marshal(change)
	if err != nil {
		return s.failure(t.about, err)
	}
	err = s.do(ctx, s.client.Patch(types.MergePatchType).Namespace(t.namespace).Name(t.name).Body(body))
	if err != nil {
		return s.failure(t.about, err)
	}
	t.written, t.wroteAt = t.count, time.Now()
	return nil
}

// gone reports whether the server says that there is no such object.
func gone(err error) bool {
	var fail *SendError
	return errors.As(err, &fail) && fail.Status == http.StatusNotFound
}

// do sends one request about events, once.
func (s *KubernetesSink) do(ctx context.Context, req *rest.Request) error {
	if s.pace != nil {
		if err := s.pace.Wait(ctx); err != nil {
			return err
		}
	}
	return req.Resource("events").MaxRetries(0).Do(ctx).Error()
}

// failure turns a client's error into ours.
func (s *KubernetesSink) failure(about ObjectReference, err error) error {
	fail := &SendError{Target: s.host, Reason: "no answer from the API server about " + about.String()}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
			if errors.Is(err, end) {
				fail.Err = end
			}
		}
		return fail
	}
	fail.Status = int(status.Status().Code)
	fail.Reason = fmt.Sprintf("answered %d about %s: %s", fail.Status, about, clip.Text(status.Status().Message, 500))
	fail.Final = post.FinalStatus(fail.Status)
	switch fail.Status {
	case http.StatusForbidden:
		fail.Reason += "; grant create and patch on events, unless the namespace is being deleted"
	case http.StatusUnauthorized, http.StatusConflict:
		fail.Final = false // credentials are renewed, and a conflict passes
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		fail.After = time.Duration(seconds) * time.Second
	}
	return fail
}
