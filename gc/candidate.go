package gc

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// candidate is one object on its way through Prune or Release.
type candidate struct {
	entry   Entry  // as recorded
	version string // as it is served; mostly that of entry
	phase   int
	seen    bool                          // it was looked at
	meta    *metav1.PartialObjectMetadata // as last looked at
	pinned  types.UID                     // of the object that was decided upon; empty before
	how     metav1.DeletionPropagation
	moves   string // set that it moves to
	settled bool   // done is final
	done    Pruned

	needs   []*candidate // must be done before
	feeds   []*candidate // those that wait for this one
	waiting int          // how many of needs are not done
	heldBy  *candidate   // one that failed, and because of which it is not tried

	freed    bool // sends no more requests
	reported bool // done is final, and nothing works on it any more
}

func candidates(inv Inventory) []*candidate {
	cs := make([]*candidate, 0, len(inv))
	for _, e := range inv {
		cs = append(cs, &candidate{entry: e, version: e.Version, phase: phaseOf(e, inv), done: Pruned{Key: e.Key}})
	}
	return cs
}

func (c *candidate) target() kube.Target {
	gvr := c.entry.GVR()
	gvr.Version = c.version
	return kube.Target{GroupVersionResource: gvr, Namespace: c.entry.Namespace, Name: c.entry.Name}
}

func (c *candidate) settle(outcome Outcome, detail string) {
	c.settled, c.done.Outcome, c.done.Detail = true, outcome, detail
}

func (c *candidate) fail(err error) {
	c.settled, c.done.Outcome, c.done.Err = true, Failed, err
}

// stays says that the object is in the cluster when its turn is over.
func (c *candidate) stays() bool {
	return c.settled && c.done.Outcome != Deleted && c.done.Outcome != Absent
}

// doomed says that the object is to be deleted by us, and is not on its way yet.
func (c *candidate) doomed() bool {
	return !c.settled && c.moves == "" && c.meta.DeletionTimestamp == nil
}

// settleParents settles the namespaces and definitions that must stay because an
// object does.
func settleParents(cs []*candidate) {
	children := map[Key]*candidate{} // by parent: one that stays, best one that failed
	for _, c := range cs {
		if !c.stays() && c.moves == "" {
			continue
		}
		for _, parent := range c.entry.parents() {
			if old := children[parent]; old == nil || old.done.Outcome != Failed {
				children[parent] = c
			}
		}
	}
	for _, c := range cs {
		child := children[c.entry.Key]
		switch {
		case child == nil || c.settled || c.moves != "":
		case child.done.Outcome == Failed:
			c.heldBy = child
			c.fail(fmt.Errorf("not tried: deleting it would delete %s, which failed", child.entry.Key))
		case c.meta != nil && c.meta.DeletionTimestamp != nil:
			// Its end cannot be stopped any more: see it through.
		default:
			c.settle(Orphaned, fmt.Sprintf("deleting it would delete %s, which stays", child.entry.Key))
		}
	}
}

// ended settles what was not tried because the whole prune ended.
func (c *candidate) ended(ctx context.Context) {
	c.fail(fmt.Errorf("not tried, because the prune was ended: %w", context.Cause(ctx)))
}
