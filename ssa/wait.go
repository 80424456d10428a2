package ssa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// DefaultWaitTimeout is how long Wait waits unless told otherwise.
const DefaultWaitTimeout = 5 * time.Minute

const (
	// outageGrace is how long Wait bears an API server that cannot be reached: a
	// restart takes seconds, and a wait should survive one.
	outageGrace = 15 * time.Second
	retryDelay  = 100 * time.Millisecond
)

// Status is an object's health, as kstatus defines it.
type Status string

// The kstatus values.
const (
	Current     Status = "Current"     // it is what its specification asks for
	InProgress  Status = "InProgress"  // its controller is at work
	Broken      Status = "Failed"      // its controller says that it cannot go on
	Terminating Status = "Terminating" // it is being deleted
	NotFound    Status = "NotFound"    // it does not exist
	Unknown     Status = "Unknown"     // its status cannot be read
)

// Health is the status of one object, and why.
type Health struct {
	Key     gc.Key
	Status  Status
	Message string
}

// WaitOptions of Wait. The zero value is usable.
type WaitOptions struct {
	// Owner, the value that was given to Apply, narrows what is listed and watched
	// to the set's own objects.
	Owner string
	// Timeout bounds the wait; default 5 minutes.
	Timeout time.Duration
	// Progress is called when an object's status changes, never concurrently.
	Progress func(Health)
}

// Wait returns when every object is Current. It lists each type in each
// namespace once and then follows a watch; it never polls, and kinds without a
// health of their own (ConfigMap, Secret, RBAC and the like) cost nothing.
//
// It ends early when an object is Failed. The error is a *HealthError that names
// every object that is not ready; the health of all objects is returned with it.
func (a *Applier) Wait(ctx context.Context, entries gc.Inventory, opts WaitOptions) ([]Health, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultWaitTimeout
	}
	start := time.Now()
	waitCtx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()

	board := newBoard(entries, opts.Progress)
	places := map[place][]gc.Entry{}
	for _, e := range entries {
		if passive(e.Key) {
			board.set(Health{Key: e.Key, Status: Current})
			continue
		}
		p := place{e.GVR(), e.Namespace}
		places[p] = append(places[p], e)
	}
	g, groupCtx := errgroup.WithContext(waitCtx)
	for p, list := range places {
		g.Go(func() error { return a.waitPlace(groupCtx, p, list, opts.Owner, board) })
	}
	err := g.Wait()
	health := board.all(entries)
	if err == nil {
		return health, nil
	}
	if u := asUnreachable(err); u != nil {
		return health, u
	}
	if ctx.Err() != nil { // the caller's own end comes before what it made fail
		err, opts.Timeout = context.Cause(ctx), time.Since(start).Round(time.Millisecond)
	}
	return health, &HealthError{Objects: board.unready(entries), Total: len(entries), Timeout: opts.Timeout, Err: err}
}

var errBroken = errors.New("an object failed")

// waitPlace waits for the objects of one type in one namespace.
func (a *Applier) waitPlace(ctx context.Context, p place, entries []gc.Entry, owner string, b *board) error {
	ri := a.client.Dynamic.Resource(p.gvr).Namespace(p.namespace)
	opts := metav1.ListOptions{}
	if owner != "" {
		opts.LabelSelector = labels.Set{gc.OwnerLabel: owner}.String()
	}
	if len(entries) == 1 {
		opts = metav1.ListOptions{FieldSelector: "metadata.name=" + entries[0].Name}
	}
	reached := time.Now() // when a watch last stood
	for {
		done, err := a.follow(ctx, ri, opts, entries, b, &reached)
		switch {
		case done || errors.Is(err, errBroken):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			// The watch ended in good order: list again.
		case !kube.Transient(err):
			return &ObjectError{Key: entries[0].Key, Op: "watch", Reason: kube.Explain(err) + "; waiting needs the rights to list and watch " + p.gvr.Resource, Err: err}
		case time.Since(reached) > outageGrace:
			return &UnreachableError{Server: a.client.Host(), Err: err}
		}
		// Even after an end in good order: a proxy may end each watch at once.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryDelay):
		}
	}
}

// follow lists the objects and watches from there until all are current.
func (a *Applier) follow(ctx context.Context, ri dynamic.ResourceInterface, opts metav1.ListOptions, entries []gc.Entry,
	b *board, reached *time.Time) (bool, error) {
	list, err := ri.List(ctx, opts)
	if err != nil {
		return false, err
	}
	live := make(map[string]*unstructured.Unstructured, len(list.Items))
	for i := range list.Items {
		live[list.Items[i].GetName()] = &list.Items[i]
	}
	waiting := map[string]gc.Key{}
	var broken error
	for _, e := range entries {
		if err := b.judge(e.Key, live[e.Name], waiting); err != nil {
			broken = err // and see what the others are, for a complete report
		}
	}
	if len(waiting) == 0 || broken != nil {
		return broken == nil, broken
	}
	names := make(map[string]gc.Key, len(entries))
	for _, e := range entries {
		names[e.Name] = e.Key
	}
	opts.ResourceVersion = list.GetResourceVersion()
	w, err := ri.Watch(ctx, opts)
	if err != nil {
		return false, err
	}
	defer func() { *reached = time.Now() }()
	defer w.Stop()
	for ev := range w.ResultChan() {
		if ev.Type == watch.Error {
			return false, apierrors.FromObject(ev.Object)
		}
		u, ok := ev.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		key, ours := names[u.GetName()]
		if !ours {
			continue
		}
		if ev.Type == watch.Deleted {
			u = nil
		}
		if err := b.judge(key, u, waiting); err != nil {
			return false, err
		}
		if len(waiting) == 0 {
			return true, nil
		}
	}
	return false, nil
}

// board holds the health of all objects of one Wait.
type board struct {
	mu       sync.Mutex
	health   map[gc.Key]Health
	progress func(Health)
}

func newBoard(entries gc.Inventory, report func(Health)) *board {
	b := &board{health: make(map[gc.Key]Health, len(entries)), progress: report}
	for _, e := range entries {
		b.health[e.Key] = Health{Key: e.Key, Status: Unknown, Message: "not looked at yet"}
	}
	return b
}

func (b *board) set(h Health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.health[h.Key] == h {
		return
	}
	b.health[h.Key] = h
	if b.progress != nil {
		b.progress(h)
	}
}

// judge computes the health of an object (nil if it does not exist) and keeps
// the list of those that are waited for.
func (b *board) judge(key gc.Key, u *unstructured.Unstructured, waiting map[string]gc.Key) error {
	h := healthOf(key, u)
	b.set(h)
	if h.Status == Current {
		delete(waiting, key.Name)
		return nil
	}
	waiting[key.Name] = key
	if h.Status == Broken {
		return errBroken
	}
	return nil
}

func (b *board) all(entries gc.Inventory) []Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Health, 0, len(entries))
	for _, e := range entries {
		out = append(out, b.health[e.Key])
	}
	return out
}

func (b *board) unready(entries gc.Inventory) []Health {
	var out []Health
	for _, h := range b.all(entries) {
		if h.Status != Current {
			out = append(out, h)
		}
	}
	return out
}

func healthOf(key gc.Key, u *unstructured.Unstructured) Health {
	if u == nil {
		return Health{Key: key, Status: NotFound, Message: "it does not exist"}
	}
	res, err := status.Compute(u)
	if err != nil {
		return Health{Key: key, Status: Unknown, Message: err.Error()}
	}
	return Health{Key: key, Status: Status(res.Status), Message: res.Message}
}

// passive tells the kinds that are all they will ever be once they exist.
func passive(k gc.Key) bool {
	switch k.Group {
	case "":
		switch k.Kind {
		case "ConfigMap", "Secret", "ServiceAccount", "LimitRange", "ResourceQuota":
			return true
		}
	case rbacGroup, "admissionregistration.k8s.io", "scheduling.k8s.io", "storage.k8s.io":
		return true
	case "networking.k8s.io":
		return k.Kind == "NetworkPolicy" || k.Kind == "IngressClass"
	}
	return false
}

// HealthError says which objects are not ready.
type HealthError struct {
	Objects []Health      // those that are not Current, in the order of their keys
	Total   int           // objects waited for
	Timeout time.Duration // how long was waited, where time ran out
	Err     error         // what ended the wait
}

func (e *HealthError) Error() string {
	const most = 3
	var parts []string
	for _, h := range sortBrokenFirst(e.Objects)[:min(most, len(e.Objects))] {
		part := fmt.Sprintf("%s is %s", h.Key, h.Status)
		if h.Message != "" {
			part += " (" + strings.TrimSpace(h.Message) + ")"
		}
		parts = append(parts, part)
	}
	if n := len(e.Objects) - most; n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", n))
	}
	head := fmt.Sprintf("%d of %d objects are not ready", len(e.Objects), e.Total)
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		head += fmt.Sprintf(" after %s", e.Timeout)
	case errors.Is(e.Err, context.Canceled):
		head += " and the wait was cancelled"
	case !errors.Is(e.Err, errBroken):
		head += ": " + e.Err.Error()
	}
	if len(parts) == 0 {
		return head
	}
	return head + ": " + strings.Join(parts, "; ")
}

// Unwrap returns what ended the wait.
func (e *HealthError) Unwrap() error { return e.Err }

func sortBrokenFirst(in []Health) []Health {
	out := make([]Health, 0, len(in))
	for _, h := range in {
		if h.Status == Broken {
			out = append(out, h)
		}
	}
	for _, h := range in {
		if h.Status != Broken {
			out = append(out, h)
		}
	}
	return out
}
