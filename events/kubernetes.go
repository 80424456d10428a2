package events

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

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
}

// KubernetesSink keeps events as core/v1 Event objects, where kubectl describe finds
// them. It needs the right to create and to patch events.
//
// The first of a series of equal events creates an object. Its repeats raise the
// object's count and last timestamp, at most once per interval: in between they are
// counted here, and written by the next repeat or by Flush.
type KubernetesSink struct {
	client *rest.RESTClient
	pace   flowcontrol.RateLimiter // nil where the client has one
	host   string
	opts   KubernetesOptions

	mu     sync.Mutex
	series map[fingerprint]*list.Element
	order  *list.List // of *series, the longest quiet one first
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
	s := &KubernetesSink{
		client: client,
		host:   client.Get().URL().Host,
		opts:   opts,
		series: map[fingerprint]*list.Element{},
		order:  list.New(),
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
	series := s.of(e.fingerprint())
	if err := series.lock(ctx); err != nil {
		return s.failure(e.InvolvedObject, err)
	}
	defer series.unlock()
	if series.count == 0 || e.Timestamp.Sub(series.last.Time) > s.opts.Window {
		return s.begin(ctx, series, e)
	}
	return s.repeat(ctx, series, e)
}

// Flush writes the repeats that were only counted here so far.
func (s *KubernetesSink) Flush(ctx context.Context) error {
	var errs []error
	for _, series := range s.all() {
		if err := series.lock(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if series.count > series.written {
			errs = append(errs, s.write(ctx, series))
		}
		series.unlock()
	}
	return errors.Join(errs...)
}

// begin creates the object of a new series.
func (s *KubernetesSink) begin(ctx context.Context, series *series, e Event) error {
	if series.count > series.written { // the last repeats of the series before
		if err := s.write(ctx, series); err != nil && !terminal(err) {
			return err
		}
	}
	object := newKubeEvent(e, s.opts.MaxMessage)
	if err := s.create(ctx, object); err != nil {
		return err
	}
	series.state = state{event: object, last: e.Timestamp, count: 1, written: 1, wroteAt: time.Now()}
	return nil
}

// repeat counts, and writes if the interval has passed. A repeat that could not be
// written is not counted, since the caller will send it again.
func (s *KubernetesSink) repeat(ctx context.Context, series *series, e Event) error {
	before := series.state
	series.count++
	if series.last.Before(&e.Timestamp) {
		series.last = e.Timestamp
	}
	if time.Since(series.wroteAt) < s.opts.Interval {
		return nil
	}
	err := s.write(ctx, series)
	if err != nil {
		series.count, series.last = before.count, before.last
	}
	return err
}

// write brings the object's count up to date. Where the object is gone, because
// events expire, it is made again.
func (s *KubernetesSink) write(ctx context.Context, series *series) error {
	patch, err := json.Marshal(map[string]any{"count": series.count, "lastTimestamp": series.last})
	if err != nil {
		return s.failure(series.event.InvolvedObject, err)
	}
	meta := series.event.Metadata
	err = s.do(ctx, s.client.Patch(types.MergePatchType).Namespace(meta.Namespace).Name(meta.Name).Body(patch))
	if apierrors.IsNotFound(err) {
		again := *series.event
		again.Metadata.Name = eventName(again.InvolvedObject.Name, series.last.Time, meta.Name)
		again.Count, again.LastTimestamp = series.count, series.last
		if err := s.create(ctx, &again); err != nil {
			return err
		}
		series.event = &again
	} else if err != nil {
		return s.failure(series.event.InvolvedObject, err)
	}
	series.written, series.wroteAt = series.count, time.Now()
	return nil
}

// create makes an Event object. That it is there already means that an earlier
// attempt came through and only its answer was lost: the name holds the time and
// what the event says.
func (s *KubernetesSink) create(ctx context.Context, object *kubeEvent) error {
	body, err := json.Marshal(object)
	if err != nil {
		return s.failure(object.InvolvedObject, err)
	}
	err = s.do(ctx, s.client.Post().Namespace(object.Metadata.Namespace).Body(body))
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return s.failure(object.InvolvedObject, err)
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
	fail.Final = finalStatus(fail.Status)
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
