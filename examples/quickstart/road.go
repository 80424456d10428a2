package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/conditions"
	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/helm"
	"github.com/gitopskit/gitopskit/kustomize"
	"github.com/gitopskit/gitopskit/ssa"
)

// road is the way of a change from a Git reference to a healthy cluster. What is
// expensive is made once and kept; walk is what a controller would do on every
// interval.
type road struct {
	remote    *git.Remote
	ref       git.Ref
	keys      *git.Keys // nil: nothing is verified
	mode      git.Mode
	store     *artifact.Store
	path      string // overlay in the tree
	chart     string // chart in the tree; empty for none
	namespace string
	owner     string
	applier   *ssa.Applier
	pruner    *gc.Pruner
	inventory gc.Store
	news      *events.Recorder
	timeout   time.Duration

	out    *printer
	status status

	// seen is the last revision that was verified, and what was packed of it. A
	// revision names its content by hash, so that it need not be fetched again.
	seen git.Revision
	tree fs.FS
}

// walked is what one walk found and did.
type walked struct {
	revision string
	objects  []*unstructured.Unstructured
	result   *ssa.Result
	report   gc.Report
	health   []ssa.Health
}

// walk goes the whole road once: resolve, then (if the revision is new) fetch,
// verify and pack, then build, apply and prune, wait. The first step that fails
// ends it.
func (r *road) walk(ctx context.Context) (*walked, error) {
	w := &walked{}
	r.status.generation++
	conditions.MarkReconciling(&r.status, "Progressing", "walking the road", time.Now())
	err := r.steps(ctx, w)
	r.conclude(w, err)
	return w, err
}

func (r *road) steps(ctx context.Context, w *walked) error {
	var rev git.Revision
	err := r.out.steps(ctx, step{"resolve", func(ctx context.Context) (note string, err error) {
		rev, err = r.remote.Resolve(ctx, r.ref)
		w.revision = rev.String()
		return fmt.Sprintf("%s is %s", r.ref, rev), err
	}})
	if err != nil {
		return err
	}
	if rev != r.seen {
		if err := r.get(ctx, rev); err != nil {
			return err
		}
	}
	return r.out.steps(ctx,
		step{"build", func(ctx context.Context) (note string, err error) {
			w.objects, note, err = r.build(ctx, r.tree)
			return note, err
		}},
		step{"apply", func(ctx context.Context) (string, error) { return r.apply(ctx, w) }},
		step{"wait", func(ctx context.Context) (string, error) { return r.wait(ctx, w) }},
	)
}

// get brings a revision here: fetched, verified and packed.
func (r *road) get(ctx context.Context, rev git.Revision) error {
	var snap *git.Snapshot
	return r.out.steps(ctx,
		step{"fetch", func(ctx context.Context) (note string, err error) {
			if snap, err = r.remote.Fetch(ctx, rev, git.FetchOptions{}); err != nil {
				return "", err
			}
			c := snap.Commit()
			return fmt.Sprintf("commit %.10s by %s: %s", rev.Commit, c.Author.Name, firstLine(c.Message)), nil
		}},
		step{"verify", func(context.Context) (string, error) { return r.verify(snap) }},
		step{"pack", func(ctx context.Context) (string, error) {
			sum, err := r.store.Pack(ctx, snap, artifact.PackOptions{})
			if err != nil {
				return "", err
			}
			// Go on with what was stored, as a consumer of the artifact would.
			if r.tree, err = r.store.Open(ctx, sum.Digest); err != nil {
				return "", err
			}
			r.seen = rev
			return fmt.Sprintf("%d files, %s, %.19s…", sum.Files, size(sum.Size), sum.Digest), nil
		}},
	)
}

func (r *road) verify(snap *git.Snapshot) (string, error) {
	if r.keys == nil {
		return "skipped: no --key was given", nil
	}
	v, err := snap.Verify(r.keys, r.mode)
	if err != nil {
		return "", err
	}
	return describe(v), nil
}

// build renders the overlay and, beside it, the chart.
func (r *road) build(ctx context.Context, tree fs.FS) ([]*unstructured.Unstructured, string, error) {
	res, err := kustomize.Build(ctx, tree, r.path, kustomize.Options{TargetNamespace: r.namespace})
	if err != nil {
		return nil, "", err
	}
	objs := res.Objects
	note := fmt.Sprintf("%d objects from %d files of %s", len(objs), len(res.Inputs.Files()), r.path)
	if r.chart == "" {
		return objs, note, nil
	}
	chart, err := helm.Load(ctx, tree, r.chart, helm.LoadOptions{})
	if err != nil {
		return nil, "", err
	}
	rendered, err := chart.Render(ctx, helm.RenderOptions{ReleaseName: r.owner, Namespace: r.namespace})
	if err != nil {
		return nil, "", err
	}
	note += fmt.Sprintf(", %d from chart %s %s", len(rendered.Objects), chart.Name(), chart.Version())
	return append(append(objs, rendered.CRDs...), rendered.Objects...), note, nil
}

// apply brings the objects about and prunes what left the set, in the order that
// loses nothing.
func (r *road) apply(ctx context.Context, w *walked) (string, error) {
	opts := ssa.ApplyOptions{Owner: r.owner, Namespace: r.namespace}
	targets, err := r.applier.Targets(ctx, w.objects, opts)
	if err != nil {
		return "", err
	}
	total, done := len(w.objects), 0
	opts.Progress = func(c ssa.Change) {
		done++
		r.out.progress("apply: %d of %d objects", done, total)
	}
	w.report, err = gc.Reconcile(ctx, r.inventory, gc.Steps{
		Targets: targets,
		Apply: func(ctx context.Context, previous gc.Inventory) (gc.Inventory, error) {
			opts.Previous = previous
			res, err := r.applier.Apply(ctx, w.objects, opts)
			w.result = res
			return res.Entries, err
		},
		Pruner:       r.pruner,
		PruneOptions: gc.PruneOptions{Owner: r.owner},
	})
	return tally(w), err
}

func (r *road) wait(ctx context.Context, w *walked) (string, error) {
	ready := map[gc.Key]bool{}
	var err error
	w.health, err = r.applier.Wait(ctx, w.result.Entries, ssa.WaitOptions{
		Owner: r.owner, Timeout: r.timeout,
		Progress: func(h ssa.Health) {
			ready[h.Key] = h.Status == ssa.Current
			n := 0
			for _, ok := range ready {
				if ok {
					n++
				}
			}
			r.out.progress("wait: %d of %d objects are ready", n, len(w.result.Entries))
		},
	})
	return fmt.Sprintf("%d of %d objects are ready", countCurrent(w.health), len(w.health)), err
}

// conclude turns the outcome into a condition and an event.
func (r *road) conclude(w *walked, err error) {
	now := time.Now()
	severity, reason, message := events.SeverityInfo, "ReconciliationSucceeded", "applied "+w.revision
	switch {
	case err == nil:
		conditions.MarkReady(&r.status, reason, message, now)
	case isTerminal(err):
		severity, reason, message = events.SeverityError, "ReconciliationFailed", err.Error()
		conditions.MarkStalled(&r.status, reason, message, now)
	default:
		severity, reason, message = events.SeverityError, "ReconciliationFailed", err.Error()
		conditions.MarkFalse(&r.status, "Ready", reason, message, now)
	}
	err = r.news.Emit(events.Event{
		InvolvedObject: events.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: r.namespace, Name: inventoryName},
		Severity:       severity,
		Timestamp:      metav1.NewTime(now),
		Reason:         reason,
		Message:        message,
		Metadata:       map[string]string{"revision": w.revision},
	})
	if err != nil {
		r.out.say("no event: %v", err)
	}
}

func isTerminal(err error) bool {
	var t interface{ Terminal() bool }
	return errors.As(err, &t) && t.Terminal()
}

// status is what a custom resource would hold.
type status struct {
	generation int64
	conditions []metav1.Condition
}

func (s *status) GetGeneration() int64                  { return s.generation }
func (s *status) GetConditions() []metav1.Condition     { return s.conditions }
func (s *status) SetConditions(list []metav1.Condition) { s.conditions = list }
