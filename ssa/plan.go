package ssa

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// maxPlanText bounds the text of the diffs of one plan, in bytes. Objects beyond
// it are listed without one.
const maxPlanText = 16 << 20

// Plan is what an Apply would do.
type Plan struct {
	// Changes has one element for each object, in the order they were given, and
	// then one with the action Deleted for each of Previous that left the set. What
	// becomes of those is up to gc.Prune, which keeps some.
	Changes []PlanChange
}

// PlanChange is what would happen to one object.
type PlanChange struct {
	Key      gc.Key
	Action   Action        // Created, Configured, Unchanged, Ignored, Deleted or Failed
	Replaced bool          // it would be deleted and made again, as the policy Recreate says
	Fields   []FieldChange // what would differ, at most 1,000 fields; texts are cut at 4 KiB
	More     bool          // there are more than that
	Left     []Conflict    // as in Change
	Migrated []string      // field managers whose fields would become ours
	Warnings []string      // from the server's Warning headers
	Err      error         // for Failed: why the server would refuse it

	text []string
}

// Count returns how many objects have one of the actions.
func (p *Plan) Count(actions ...Action) int {
	n := 0
	for _, c := range p.Changes {
		if slices.Contains(actions, c.Action) {
			n++
		}
	}
	return n
}

// PlanError says which objects the server would refuse.
type PlanError struct {
	Failed []PlanChange // never empty
	Total  int
}

func (e *PlanError) Error() string {
	return fmt.Sprintf("%d of %d objects would not be applied: %s", len(e.Failed), e.Total, list(e.Unwrap()))
}

// Unwrap returns the errors of the objects.
func (e *PlanError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, c := range e.Failed {
		errs = append(errs, c.Err)
	}
	return errs
}

// Plan tells what Apply would do with the same arguments, and writes nothing. It
// asks the server, as the same identity, for what would come of each object that
// Apply would send: two requests each, a read and a dry run. Where an object would
// be deleted to be made again, as the policy Recreate says, it asks by a third one
// whether the deletion would be refused; the new object is not asked about.
//
// Values of Secrets, and annotations that quote a whole object, are masked in
// fields and text alike, by more than how they look: that a masked value would
// change is told, and no value of an object reads like a mask.
//
// What an object would be whose namespace, definition or controller comes with
// the set is shown as it would be sent. The error is as Apply's, but a *PlanError
// for objects that would be refused; the plan is complete with it.
func (a *Applier) Plan(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (*Plan, error) {
	set, err := a.prepare(ctx, objs, opts)
	if err != nil {
		return &Plan{}, err
	}
	gone, err := a.intend(ctx, set, opts.Owner, opts.Full)
	if err == nil {
		err = gone
	}
	if err != nil {
		return &Plan{}, err
	}
	p := &Plan{Changes: make([]PlanChange, len(set.items))}
	var room atomic.Int64
	room.Store(maxPlanText)
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(a.concurrency)
	for i, it := range set.items {
		it.dryRun = true
		g.Go(func() error {
			p.Changes[i] = a.foresee(groupCtx, it, &room)
			return asUnreachable(p.Changes[i].Err) // nothing more to learn
		})
	}
	if err := g.Wait(); err != nil {
		return p, err
	}
	if ctx.Err() != nil {
		return p, context.Cause(ctx)
	}
	return p, p.finish(set, opts.Previous)
}

func (p *Plan) finish(s *set, previous gc.Inventory) error {
	here := make(map[gc.Key]bool, len(s.items))
	var failed []PlanChange
	for i, it := range s.items {
		here[it.entry.Key] = true
		if it.listed {
			here[it.prev.Key] = true
		}
		if p.Changes[i].Action == Failed {
			failed = append(failed, p.Changes[i])
		}
	}
	for _, e := range previous {
		if !here[e.Key] {
			p.Changes = append(p.Changes, PlanChange{Key: e.Key, Action: Deleted})
		}
	}
	if len(failed) > 0 {
		return &PlanError{Failed: failed, Total: len(s.items)}
	}
	return nil
}

// foresee finds what would become of one object.
func (a *Applier) foresee(ctx context.Context, it *item, room *atomic.Int64) PlanChange {
	before, after, err := a.outcome(ctx, it)
	c := PlanChange{Key: it.entry.Key, Action: it.change.Action, Replaced: it.change.Replaced, Left: it.change.Left, Warnings: it.change.Warnings}
	switch {
	case err != nil:
		c.Action, c.Err = Failed, a.explain(ctx, it, err)
		return c
	case c.Action != "":
		return c
	case before == nil:
		c.Action = Created
	case c.Replaced:
		c.Action = Created
	default:
		c.Migrated = a.predecessors(it, before)
		c.Action = Unchanged
		if !reflect.DeepEqual(before.GetManagedFields(), after.GetManagedFields()) {
			c.Action = Configured
		}
		after = a.withoutOrphans(it, before, after)
	}
	b, n := masked(visible(before), visible(after), isSecret(it.entry.Key))
	d := fieldDiff{}
	if c.Action == Created && !c.Replaced {
		b = nil
	}
	d.compare(anyMap(b), anyMap(n), nil)
	if c.Fields, c.More = d.found, d.more; c.Action == Unchanged && len(d.found) > 0 {
		c.Action = Configured
	}
	if len(d.found) > 0 {
		c.text = within(room, unified(lines(anyMap(b), ""), lines(anyMap(n), "")))
	}
	return c
}

// anyMap keeps a nil map from becoming a value that is not nil.
func anyMap(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// within takes the room that a text needs, or leaves it out.
func within(room *atomic.Int64, text []string) []string {
	n := 0
	for _, line := range text {
		n += len(line)
	}
	if room.Add(-int64(n)) < 0 {
		return []string{"… the diff is left out: the plan is too long"}
	}
	return text
}

// outcome asks the server for an object as it is and as it would be. Before is
// nil if it does not exist. Where the change has an action already, that is all.
func (a *Applier) outcome(ctx context.Context, it *item) (before, after *unstructured.Unstructured, err error) {
	switch {
	case it.done:
		return nil, nil, nil
	case it.entry.Resource == "": // its type is still to come
		return nil, it.want(), nil
	}
	before, err = a.client.Get(ctx, it.target())
	switch {
	case apierrors.IsNotFound(err):
		before = nil
	case err != nil:
		return nil, nil, err
	case handsOff(before):
		it.ignore()
		return nil, nil, nil
	case it.treat.policy == IfNotPresent:
		it.change.Action = Unchanged
		return nil, nil, nil
	}
	intent := it.want()
	if before != nil && len(it.adopt) > 0 {
		intent = a.adopted(it, before)
	}
	if before != nil && a.mustMigrate(it, before) {
		it.treat.conflicts = TakeOver // what conflicts is mostly ours to be
	}
	res, err := a.deliver(ctx, it, intent, a.client.ApplyFull)
	switch {
	case err == nil:
		it.change.Warnings = warningsOf(it, res.Warnings)
		return before, res.Object, nil
	case before == nil && it.comesWithTheSet(err):
		return nil, it.want(), nil
	case before != nil && it.treat.recreate && immutable(err):
		if _, err := a.remove(ctx, it, before, err); err != nil {
			return nil, nil, err
		}
		it.change.Replaced = true
		return before, it.want(), nil
	}
	return nil, nil, err
}

// comesWithTheSet reports that what the server lacks is an object of the set.
func (it *item) comesWithTheSet(err error) bool {
	for _, need := range it.needs {
		switch {
		case kube.TypeNotServed(err) && need.entry.GVK().GroupKind() == crdKind,
			missingNamespace(err) && need.entry.Group == "" && need.entry.Kind == "Namespace":
			return true
		}
	}
	return false
}

func (a *Applier) predecessors(it *item, m metav1.Object) []string {
	if !a.mustMigrate(it, m) {
		return nil
	}
	var out []string
	for _, e := range m.GetManagedFields() {
		if a.predecessor(e) && !slices.Contains(out, e.Manager) {
			out = append(out, e.Manager)
		}
	}
	return out
}

// withoutOrphans leaves out what only predecessors own: it would go with them.
func (a *Applier) withoutOrphans(it *item, before, after *unstructured.Unstructured) *unstructured.Unstructured {
	if !a.mustMigrate(it, before) {
		return after
	}
	var keep []fieldTree
	for _, e := range after.GetManagedFields() {
		if !a.predecessor(e) {
			keep = append(keep, parseFields(e))
		}
	}
	out := after.DeepCopy()
	for _, e := range before.GetManagedFields() {
		if a.predecessor(e) {
			dropOrphans(out.Object, parseFields(e), keep)
		}
	}
	an := out.GetAnnotations()
	delete(an, lastApplied)
	out.SetAnnotations(an)
	return out
}

// dropOrphans removes from v the fields of t that nobody else has, and returns it.
func dropOrphans(v any, t fieldTree, keep []fieldTree) any {
	for name, sub := range t {
		if name == "." {
			continue
		}
		var below []fieldTree
		for _, k := range keep {
			if s, ok := k[name].(map[string]any); ok {
				below = append(below, s)
			}
		}
		subTree, _ := sub.(map[string]any)
		old := child(v, name)
		switch m := v.(type) {
		case map[string]any:
			field := strings.TrimPrefix(name, "f:")
			switch {
			case old == nil:
			case len(below) == 0 && len(subTree) == 0:
				delete(m, field)
			case len(subTree) > 0:
				if m[field] = dropOrphans(old, subTree, below); isEmpty(m[field]) && len(below) == 0 {
					delete(m, field)
				}
			}
		case []any:
			i := indexOf(m, name)
			switch {
			case i < 0:
			case len(below) == 0:
				v = slices.Delete(slices.Clone(m), i, i+1)
			default:
				m[i] = dropOrphans(old, subTree, below)
			}
		}
	}
	return v
}

// visible copies an object without what the server alone writes.
func visible(u *unstructured.Unstructured) map[string]any {
	if u == nil {
		return nil
	}
	out := make(map[string]any, len(u.Object))
	for k, v := range u.Object {
		if k != "status" {
			out[k] = v
		}
	}
	md := map[string]any{}
	for k, v := range asMap(u.Object["metadata"]) {
		if !slices.Contains(serverFields[:], k) {
			md[k] = v
		}
	}
	out["metadata"] = md
	return out
}

// String is the plan for people, without colours.
func (p *Plan) String() string {
	var b strings.Builder
	_, _ = p.WriteTo(&b, false) // a Builder does not fail
	return b.String()
}

// The colours of WriteTo.
const (
	colourOff  = "\x1b[0m"
	colourBold = "\x1b[1m"
	colourRed  = "\x1b[31m"
	colourAdd  = "\x1b[32m"
	colourHunk = "\x1b[36m"
)

// WriteTo writes the plan for people: a unified diff of each object that would
// change, and a summary. With colour it uses the escape sequences of terminals;
// those that objects hold are escaped in either case.
func (p *Plan) WriteTo(w io.Writer, colour bool) (int64, error) {
	var written int64
	put := func(code, line string) error {
		if colour && code != "" {
			line = code + line + colourOff
		}
		n, err := io.WriteString(w, line+"\n")
		written += int64(n)
		return err
	}
	for _, c := range p.Changes {
		if c.Action == Unchanged || c.Action == Ignored {
			continue
		}
		for i, line := range c.lines() {
			code := ""
			switch {
			case i == 0:
				code = colourBold
			case strings.HasPrefix(line, "-"):
				code = colourRed
			case strings.HasPrefix(line, "+"):
				code = colourAdd
			case strings.HasPrefix(line, "@@"):
				code = colourHunk
			}
			if err := put(code, line); err != nil {
				return written, err
			}
		}
	}
	return written, put("", p.summary())
}

func (c *PlanChange) lines() []string {
	head := string(c.Action) + " " + printable(c.Key.String())
	if c.Replaced {
		head = "recreated " + printable(c.Key.String())
	}
	if c.Err != nil {
		return []string{head, "! " + printable(c.Err.Error())}
	}
	out := []string{head}
	if len(c.Migrated) > 0 {
		out = append(out, "# takes over from "+printable(strings.Join(c.Migrated, ", ")))
	}
	for _, l := range c.Left {
		out = append(out, fmt.Sprintf("# leaves %s to %s", printable(clip.Quote(l.Field, maxQuoted)), printable(l.Manager)))
	}
	return append(out, c.text...)
}

func (p *Plan) summary() string {
	var b bytes.Buffer
	b.WriteString("plan: ")
	for i, action := range []Action{Created, Configured, Unchanged, Deleted, Ignored, Failed} {
		n := p.Count(action)
		if n == 0 && i > 3 {
			continue
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s", n, action)
	}
	return b.String()
}
