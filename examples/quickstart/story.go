package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/ssa"
)

const (
	inventoryName = "quickstart-inventory"
	owner         = "quickstart"
)

// errNotHeld says that the story ended, and not as it should.
var errNotHeld = errors.New("something that must hold did not; look for NOT HELD above")

// claim states what must hold.
func (s *stage) claim(held bool, format string, args ...any) {
	s.failed = s.failed || !held
	s.out.claim(fmt.Sprintf(format, args...), held)
}

func (s *stage) verdict() error {
	if s.failed {
		return errNotHeld
	}
	return nil
}

// walkTwice is the road for the user's own repository.
func (s *stage) walkTwice(ctx context.Context) error {
	s.out.begin("The road")
	if _, err := s.road.walk(ctx); err != nil {
		return err
	}
	s.out.begin("Once more, with nothing to do")
	w, err := s.road.walk(ctx)
	if err != nil {
		return err
	}
	s.out.table(w)
	return s.verdict()
}

// tell is the story. Each act continues on the cluster that the last one left.
func (s *stage) tell(ctx context.Context) error {
	start := time.Now()
	for _, act := range []func(context.Context) error{
		s.firstRelease, s.nothingToDo, s.secondRelease, s.changeByHand, s.forgery, s.farewell,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if err := s.verdict(); err != nil {
		return err
	}
	s.out.begin("The end")
	s.out.say("all of it held, in %.1f s", time.Since(start).Seconds())
	return nil
}

func (s *stage) firstRelease(ctx context.Context) error {
	s.out.begin("A signed release arrives")
	w, err := s.road.walk(ctx)
	if err != nil {
		return err
	}
	s.claim(strings.HasPrefix(w.revision, "v1.0.0@"), "the highest version in the range is %s", w.revision)
	s.claim(w.result.Count(ssa.Created) == len(w.objects), "all %d objects were created", len(w.objects))
	s.claim(countCurrent(w.health) == len(w.objects), "all of them are ready")
	return nil
}

func (s *stage) nothingToDo(ctx context.Context) error {
	s.out.begin("A run with nothing to do")
	var named []string
	types := map[string]bool{}
	s.out.meter.Observe(func(method, path string) {
		if strings.Contains(path, "/git-upload-pack") || strings.HasSuffix(path, "/"+inventoryName) || !strings.HasPrefix(path, "/api") {
			return
		}
		types[path] = true
		if method != "GET" {
			named = append(named, method+" "+path)
		}
	})
	w, err := s.road.walk(ctx)
	s.out.meter.Observe(nil)
	if err != nil {
		return err
	}
	kinds := map[string]bool{}
	for _, e := range w.report.Inventory {
		kinds[e.Kind] = true
	}
	s.claim(w.result.Count(ssa.Unchanged) == len(w.objects), "all %d objects are unchanged", len(w.objects))
	s.claim(len(named) == 0 && len(types) <= len(kinds), "no request per object: %d reads, one for each of %d types, and no write", len(types), len(kinds))
	s.claim(w.report.Writes == 0, "the inventory was not written either")
	return nil
}

func (s *stage) secondRelease(ctx context.Context) error {
	s.out.begin("A second release changes one object and removes another")
	if err := s.sample.secondRelease(ctx); err != nil {
		return err
	}
	w, err := s.road.walk(ctx)
	if err != nil {
		return err
	}
	s.claim(strings.HasPrefix(w.revision, "v1.1.0@"), "the highest version in the range is now %s", w.revision)
	for _, c := range w.result.Changes {
		if c.Action != ssa.Unchanged {
			s.out.say("%s %s", c.Action, c.Key)
		}
	}
	for _, p := range w.report.Pruned.Objects {
		s.out.say("%s %s", p.Outcome, p.Key)
	}
	s.claim(w.result.Count(ssa.Configured) == 1 && w.result.Count(ssa.Unchanged) == len(w.objects)-1, "only the changed object was applied")
	pruned := w.report.Pruned.Objects
	s.claim(len(pruned) == 1 && pruned[0].Outcome == gc.Deleted && pruned[0].Key.Name == "announcement", "the removed one, and nothing else, was pruned")
	return nil
}

func (s *stage) changeByHand(ctx context.Context) error {
	s.out.begin("Somebody edits an object by hand")
	settings := s.cluster.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(s.cluster.namespace)
	_, err := settings.Patch(ctx, "settings", types.MergePatchType, []byte(`{"data":{"currency":"DOGE"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		return fmt.Errorf("play the hand that edits: %w", err)
	}
	w, err := s.road.walk(ctx)
	if err != nil {
		return err
	}
	var found []ssa.Drift
	for _, c := range w.result.Changes {
		for _, d := range c.Drift {
			s.out.say("%s: %s", c.Key, d)
		}
		found = append(found, c.Drift...)
	}
	s.claim(len(found) == 1 && found[0].Path == "data.currency" && found[0].Manager == "kubectl-edit", "the field and the manager were found")
	live, err := settings.Get(ctx, "settings", metav1.GetOptions{})
	if err != nil {
		return err
	}
	data, _ := live.Object["data"].(map[string]any)
	s.claim(data["currency"] == "EUR", "the field is corrected")
	s.claim(w.result.Count(ssa.Configured) == 1, "nothing else was written")
	return nil
}

func (s *stage) forgery(ctx context.Context) error {
	s.out.begin("A tag signed by an unknown key")
	inv, err := s.road.inventory.Load(ctx)
	if err != nil {
		return err
	}
	before, err := s.cluster.versions(ctx, inv)
	if err != nil {
		return err
	}
	if err := s.sample.forgedRelease(ctx); err != nil {
		return err
	}
	_, err = s.road.walk(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.claim(errors.Is(err, git.ErrUnknownKey), "it is refused")
	after, err := s.cluster.versions(ctx, inv)
	if err != nil {
		return err
	}
	s.claim(maps.Equal(before, after), "the cluster is as it was")
	s.out.say("%s", s.road.status.line())
	return nil
}

// farewell shows where the story got to, that its news arrived, and removes what
// it made.
func (s *stage) farewell(ctx context.Context) error {
	s.out.begin("The cluster at the end")
	s.road.ref = git.Ref{Tag: "v1.1.0"}
	w, err := s.road.walk(ctx)
	if err != nil {
		return err
	}
	s.out.say("%s", s.road.status.line())
	s.out.table(w)
	received, err := s.news.received(ctx)
	if err != nil {
		return err
	}
	s.claim(len(received) == s.walks(), "the news of all %d walks arrived", s.walks())
	return s.removeAll(ctx, w)
}

func (s *stage) walks() int { return int(s.road.status.generation) }

// removeAll reconciles to the empty set: everything in the inventory goes.
func (s *stage) removeAll(ctx context.Context, w *walked) error {
	s.out.begin("Everything goes")
	var report gc.Report
	err := s.out.steps(ctx, step{"prune", func(ctx context.Context) (string, error) {
		var err error
		report, err = gc.Reconcile(ctx, s.road.inventory, gc.Steps{
			Apply:  func(context.Context, gc.Inventory) (gc.Inventory, error) { return nil, nil },
			Pruner: s.road.pruner,
			// An empty set needs a confirmation, unless it is meant.
			PruneOptions: gc.PruneOptions{Owner: owner, Guard: gc.Guard{Emptying: true}},
		})
		return fmt.Sprintf("%d objects", len(report.Pruned.Objects)), err
	}})
	if err != nil {
		return err
	}
	deleted := 0
	for _, p := range report.Pruned.Objects {
		if p.Outcome == gc.Deleted {
			deleted++
		}
	}
	s.claim(deleted == len(w.objects) && len(report.Inventory) == 0, "all %d objects were deleted, and the inventory is empty", deleted)
	return nil
}

// line is the status for people.
func (s *status) line() string {
	var parts []string
	for _, c := range s.conditions {
		parts = append(parts, fmt.Sprintf("%s=%s (%s)", c.Type, c.Status, c.Reason))
	}
	return "status: " + strings.Join(parts, ", ")
}
