package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// Health of one object: its kstatus, and why.
type Health struct {
	Object  Object
	Status  string // Current, InProgress, Failed, Terminating, NotFound or Unknown
	Message string
}

// The statuses.
const (
	current    = "Current"
	inProgress = "InProgress"
	broken     = "Failed"
	notFound   = "NotFound"
	unknown    = "Unknown"
)

var errBroken = errors.New("an object failed")

// judge tells the health of an object; gone ones are nil, or as they were last.
type judge func(ctx context.Context, obj Object, live *unstructured.Unstructured, gone bool) Health

// place is what one list and watch cover.
type place struct {
	schema.GroupVersionResource
	namespace string
}

const (
	// outage is how long a wait bears a server that does not answer.
	outage        = 15 * time.Second
	retryDelay    = 100 * time.Millisecond
	maxRetryDelay = 2 * time.Second
)

// await returns when every object is what the judge calls Current. It lists each
// type in each namespace once, and then follows a watch.
func (j *job) await(ctx context.Context, objects []*unstructured.Unstructured, judge judge) error {
	b := &board{judge: judge, health: map[Object]Health{}, labelled: true}
	places := map[place][]Object{}
	for _, obj := range objects {
		t, err := j.target(ctx, obj)
		if err != nil {
			return err
		}
		o := objectOf(obj)
		b.labelled = b.labelled && obj.GetLabels()[managedByLabel] == managedBy
		p := place{t.GroupVersionResource, t.Namespace}
		places[p] = append(places[p], o)
		b.health[o] = Health{Object: o, Status: unknown, Message: "not looked at yet"}
	}
	g, groupCtx := errgroup.WithContext(ctx)
	for p, list := range places {
		g.Go(func() error { return j.awaitPlace(groupCtx, p, list, b) })
	}
	err := g.Wait()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &HealthError{Objects: b.unready(objects), Total: len(objects), Err: err}
}

// awaitPlace waits for the objects of one type in one namespace.
func (j *job) awaitPlace(ctx context.Context, p place, objects []Object, b *board) error {
	opts := metav1.ListOptions{}
	if b.labelled {
		opts.LabelSelector = managedByLabel + "=" + managedBy
	}
	if len(objects) == 1 {
		opts = metav1.ListOptions{FieldSelector: "metadata.name=" + objects[0].Name}
	}
	reached := time.Now()
	for delay := retryDelay; ; delay = min(2*delay, maxRetryDelay) {
		done, err := j.follow(ctx, p, opts, objects, b, &reached)
		switch {
		case done || errors.Is(err, errBroken):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			delay = retryDelay
		case !kube.Transient(err) || time.Since(reached) > outage:
			return fmt.Errorf("watch %s: %s: %w", p.Resource, kube.Explain(err), err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
	}
}

// follow lists and then watches until all objects are what they should be.
func (j *job) follow(ctx context.Context, p place, opts metav1.ListOptions, objects []Object, b *board, reached *time.Time) (bool, error) {
	client := j.client.Dynamic.Resource(p.GroupVersionResource).Namespace(p.namespace)
	list, err := client.List(ctx, opts)
	if err != nil {
		return false, err
	}
	live := make(map[string]*unstructured.Unstructured, len(list.Items))
	for i := range list.Items {
		live[list.Items[i].GetName()] = &list.Items[i]
	}
	waiting := map[string]Object{}
	var failure error
	for _, o := range objects {
		if err := b.see(ctx, o, live[o.Name], live[o.Name] == nil, waiting); err != nil {
			failure = err
		}
	}
	if failure != nil || len(waiting) == 0 {
		return failure == nil, failure
	}
	opts.ResourceVersion = list.GetResourceVersion()
	w, err := client.Watch(ctx, opts)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	defer func() { *reached = time.Now() }()
	names := make(map[string]Object, len(objects))
	for _, o := range objects {
		names[o.Name] = o
	}
	for ev := range w.ResultChan() {
		if ev.Type == watch.Error {
			return false, apierrors.FromObject(ev.Object)
		}
		u, ok := ev.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		o, ours := names[u.GetName()]
		if !ours {
			continue
		}
		if err := b.see(ctx, o, u, ev.Type == watch.Deleted, waiting); err != nil {
			return false, err
		}
		if len(waiting) == 0 {
			return true, nil
		}
	}
	return false, nil
}

// board holds the health of all objects of one wait.
type board struct {
	judge judge
	// labelled says that all objects have Helm's label, which narrows what is listed.
	labelled bool

	mu     sync.Mutex
	health map[Object]Health
}

func (b *board) see(ctx context.Context, o Object, live *unstructured.Unstructured, gone bool, waiting map[string]Object) error {
	h := b.judge(ctx, o, live, gone)
	b.mu.Lock()
	b.health[o] = h
	b.mu.Unlock()
	if h.Status == current {
		delete(waiting, o.Name)
		return nil
	}
	waiting[o.Name] = o
	if h.Status == broken {
		return errBroken
	}
	return nil
}

func (b *board) unready(objects []*unstructured.Unstructured) []Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	var failed, others []Health
	for _, obj := range objects {
		switch h := b.health[objectOf(obj)]; h.Status {
		case current:
		case broken:
			failed = append(failed, h)
		default:
			others = append(others, h)
		}
	}
	return append(failed, others...)
}

// awaitReady waits until objects are ready.
func (j *job) awaitReady(ctx context.Context, objects []*unstructured.Unstructured, jobs bool) error {
	var asked []*unstructured.Unstructured
	for _, obj := range objects {
		o := objectOf(obj)
		if j.checked(o) || !passive(o) && (jobs || o.Kind != "Job") {
			asked = append(asked, obj)
		}
	}
	return j.await(ctx, asked, j.ready)
}

func (j *job) checked(o Object) bool {
	for _, c := range j.spec.Wait.Checks {
		if c.Kind == o.Kind && c.Group == o.Group {
			return true
		}
	}
	return false
}

// ready is the health of an object of the release.
func (j *job) ready(ctx context.Context, o Object, live *unstructured.Unstructured, gone bool) Health {
	if gone {
		if o.Kind == "Job" && live != nil && hasCondition(live, "Complete") {
			return Health{o, current, "it completed"}
		}
		return Health{o, notFound, "it does not exist"}
	}
	for _, c := range j.spec.Wait.Checks {
		if c.Kind != o.Kind || c.Group != o.Group {
			continue
		}
		s, message, err := c.Func(ctx, live)
		switch {
		case err != nil && o.secret():
			return Health{o, unknown, "its health check failed (" + kube.Withheld + ")"}
		case err != nil:
			return Health{o, unknown, clip.Quote(err.Error(), maxMessage)}
		case s != "":
			return Health{o, s, clip.Quote(message, maxMessage)}
		}
	}
	return byKstatus(o, live)
}

func byKstatus(o Object, live *unstructured.Unstructured) Health {
	if live.GetDeletionTimestamp() != nil {
		return Health{o, "Terminating", "it is being deleted"}
	}
	res, err := status.Compute(live)
	if err != nil {
		return Health{o, unknown, clip.Quote(err.Error(), maxMessage)}
	}
	h := Health{o, string(res.Status), clip.Quote(res.Message, maxMessage)}
	if o.Group == "batch" && o.Kind == "Job" && h.Status == current && !hasCondition(live, "Complete") {
		if suspended, _, _ := unstructured.NestedBool(live.Object, "spec", "suspend"); !suspended {
			h.Status = inProgress // for kstatus a Job has arrived when it runs
		}
	}
	return h
}

// passive tells the kinds that are all they will ever be once they exist.
func passive(o Object) bool {
	switch o.Group {
	case "":
		switch o.Kind {
		case "ConfigMap", "Secret", "ServiceAccount", "LimitRange", "ResourceQuota":
			return true
		}
	case "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "scheduling.k8s.io", "storage.k8s.io":
		return true
	case "networking.k8s.io":
		return o.Kind == "NetworkPolicy" || o.Kind == "IngressClass"
	}
	return false
}

func hasCondition(u *unstructured.Unstructured, wanted string) bool {
	return condition(u, wanted) != nil
}

// condition returns a condition that is true.
func condition(u *unstructured.Unstructured, wanted string) map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(u.Object, "status", "conditions")
	items, _ := list.([]any)
	for _, item := range items {
		if c, ok := item.(map[string]any); ok && c["type"] == wanted && c["status"] == "True" {
			return c
		}
	}
	return nil
}

// awaitGone waits until objects are gone.
func (j *job) awaitGone(ctx context.Context, objects []*unstructured.Unstructured) error {
	return j.await(ctx, objects, func(_ context.Context, o Object, live *unstructured.Unstructured, gone bool) Health {
		switch {
		case gone:
			return Health{o, current, "it is gone"}
		case len(live.GetFinalizers()) > 0:
			return Health{o, "Terminating", "it waits for " + strings.Join(live.GetFinalizers(), ", ")}
		}
		return Health{o, "Terminating", "it is being deleted"}
	})
}

// awaitHook waits until a hook has done its work: a Job or a Pod ends, an object of
// any other kind exists.
func (j *job) awaitHook(ctx context.Context, obj *unstructured.Unstructured) (string, error) {
	var last Health
	err := j.await(ctx, []*unstructured.Unstructured{obj}, func(_ context.Context, o Object, live *unstructured.Unstructured, gone bool) Health {
		last = hookHealth(o, live, gone)
		return last
	})
	return last.Message, err
}

func hookHealth(o Object, live *unstructured.Unstructured, gone bool) Health {
	switch {
	case o.Group == "batch" && o.Kind == "Job" && live != nil:
		if hasCondition(live, "Complete") {
			return Health{o, current, "it completed"}
		}
		if c := condition(live, "Failed"); c != nil {
			return Health{o, broken, clip.Quote(fmt.Sprintf("%v: %v", c["reason"], c["message"]), maxMessage)}
		}
	case o.Group == "" && o.Kind == "Pod" && live != nil:
		phase, _, _ := unstructured.NestedString(live.Object, "status", "phase")
		switch phase {
		case "Succeeded":
			return Health{o, current, "it succeeded"}
		case "Failed":
			message, _, _ := unstructured.NestedString(live.Object, "status", "message")
			return Health{o, broken, clip.Quote(strings.TrimSpace("the pod failed "+message), maxMessage)}
		}
	case !gone:
		return Health{o, current, "it exists"}
	}
	if gone {
		return Health{o, broken, "it was deleted before it was done"}
	}
	return Health{o, inProgress, "it is running"}
}
