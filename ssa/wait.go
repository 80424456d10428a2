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

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// DefaultWaitTimeout is how long Wait waits unless told otherwise.
const DefaultWaitTimeout = 5 * time.Minute

const (
	// outageGrace is how long Wait bears an API server that cannot be reached: a
	// restart takes seconds, and a wait should survive one.
	outageGrace   = 15 * time.Second
	retryDelay    = 100 * time.Millisecond
	retryMaxDelay = 2 * time.Second
)

// WaitOptions of Wait. The zero value is usable.
type WaitOptions struct {
	// Owner, the value that was given to Apply, narrows what is listed and watched
	// to the set's own objects.
	Owner string
	// Timeout bounds the wait; default 5 minutes.
	Timeout time.Duration
	// Checks judge objects before kstatus does, in their order: see HealthCheck.
	// Package ssa/celhealth makes them from CEL expressions.
	Checks []HealthCheck
	// Undecided is the status of custom resources that tell nothing of their
	// health: neither a Ready, Reconciling or Stalled condition nor an
	// observedGeneration. Default Current, because many kinds never tell; InProgress
	// waits until their controllers have written something; Unknown as well, and
	// calls it by its name.
	Undecided Status
	// Patient waits on, as long as Timeout allows, when an object has Failed: it may
	// recover. By default the wait ends at the first.
	Patient bool
	// GoneJobs takes Jobs that were applied and are not there when the wait begins
	// for finished. Set it where Jobs have a ttlSecondsAfterFinished so short that
	// they may vanish before; whoever deletes a Job then passes for its end. Without
	// it, a Job that vanishes is Current if the wait saw its end.
	GoneJobs bool
	// Progress is called when an object's status changes, never concurrently.
	Progress func(Health)
}

// Wait returns when every object is Current. It lists each type in each
// namespace once and then follows a watch; it never polls. Kinds without a health
// of their own (ConfigMap, Secret, RBAC and the like) cost nothing, unless a check
// names them.
//
// It ends early when an object is Failed, unless told to be Patient. The error is
// a *HealthError that names every object that is not ready; the health of all
// objects is returned with it.
func (a *Applier) Wait(ctx context.Context, entries gc.Inventory, opts WaitOptions) ([]Health, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultWaitTimeout
	}
	start := time.Now()
	waitCtx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()

	doctor, err := newDoctor(opts)
	if err != nil {
		return nil, err
	}
	board := newBoard(entries, doctor, opts)
	places := map[place][]gc.Entry{}
	for _, e := range entries {
		if passive(e.Key) && !doctor.knows(e.Key) {
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
	err = g.Wait()
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
	for delay := retryDelay; ; delay = min(2*delay, retryMaxDelay) {
		done, err := a.follow(ctx, ri, opts, entries, b, &reached)
		switch {
		case done || errors.Is(err, errBroken):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			delay = retryDelay // the watch ended in good order: list again
		case !kube.Transient(err):
			return &ObjectError{Key: entries[0].Key, Op: "watch", Reason: kube.Explain(err) + "; waiting needs the rights to list and watch " + p.gvr.Resource, Err: err}
		case time.Since(reached) > outageGrace && kube.Unreachable(err):
			return &UnreachableError{Server: a.client.Host(), Err: err}
		case time.Since(reached) > outageGrace:
			return &OverloadedError{Err: err}
		}
		// Even after an end in good order: a proxy may end each watch at once.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
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
		u := live[e.Name]
		if u == nil && e.UID != "" && b.goneJobs && isJob(e.Key) {
			b.set(Health{Key: e.Key, Status: Current, Message: "it is gone, as finished Jobs may be"})
		}
		if err := b.judge(ctx, e.Key, u, u == nil, waiting); err != nil {
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
		if err := b.judge(ctx, key, u, ev.Type == watch.Deleted, waiting); err != nil {
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
	doctor   *doctor
	progress func(Health)
	patient  bool
	goneJobs bool

	mu     sync.Mutex
	health map[gc.Key]Health
}

func newBoard(entries gc.Inventory, d *doctor, opts WaitOptions) *board {
	b := &board{doctor: d, progress: opts.Progress, patient: opts.Patient, goneJobs: opts.GoneJobs,
		health: make(map[gc.Key]Health, len(entries))}
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

func (b *board) of(key gc.Key) Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.health[key]
}

// judge computes the health of an object and keeps the list of those that are
// waited for. Of an object that is gone, u is what it was at the end, or nil if
// nobody saw that.
func (b *board) judge(ctx context.Context, key gc.Key, u *unstructured.Unstructured, gone bool, waiting map[string]gc.Key) error {
	var h Health
	switch {
	case gone && isJob(key):
		h = b.jobsEnd(ctx, key, u)
	case gone:
		h = missing(key)
	default:
		h = b.doctor.examine(ctx, key, u)
	}
	b.set(h)
	if h.Status == Current {
		delete(waiting, key.Name)
		return nil
	}
	waiting[key.Name] = key
	if h.Status == Broken && !b.patient {
		return errBroken
	}
	return nil
}

// jobsEnd is the health of a Job that is gone. Finished Jobs vanish by themselves
// if they have a time to live, and are what they should be all the same.
func (b *board) jobsEnd(ctx context.Context, key gc.Key, u *unstructured.Unstructured) Health {
	last := b.of(key)
	if u != nil {
		u.SetDeletionTimestamp(nil) // what it was counts, not that it went
		last = b.doctor.examine(ctx, key, u)
	}
	if last.Status == Current && last.Message != suspendedJob || last.Status == Broken {
		return last
	}
	return missing(key)
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
