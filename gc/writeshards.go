package gc

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"golang.org/x/sync/errgroup"
)

// numbers gives out the numbers that the current index does not use, the smallest
// first: so the next save meets what a save that failed has left behind.
type numbers struct {
	mu       sync.Mutex
	used     map[int]bool
	next     int
	leftover []staleRef
	failed   bool
}

func (n *numbers) take() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.used[n.next] {
		n.next++
	}
	n.next++
	return n.next - 1
}

// fail stops the writers that have not begun.
func (n *numbers) fail() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed = true
}

func (n *numbers) stopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

func (n *numbers) leave(l staleRef) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leftover = append(n.leftover, l)
}

// freeNumbers are those that are neither in use nor about to be deleted.
func (s *ClusterStore) freeNumbers() *numbers {
	n := &numbers{used: map[int]bool{}}
	for _, l := range s.leaves {
		n.used[l.ref.Number] = true
	}
	for _, l := range s.stale {
		n.used[l.Number] = true
	}
	return n
}

// writeBlocks creates the shards that are not there yet, and returns all of them,
// with those that a failed save has left behind.
func (s *ClusterStore) writeBlocks(ctx context.Context, blocks []block) ([]leaf, []staleRef, error) {
	n := s.freeNumbers()
	out := make([]leaf, len(blocks))
	var g errgroup.Group // its first error does not cut off requests that are under way
	g.SetLimit(concurrency)
	for i, b := range blocks {
		if b.same != nil {
			out[i] = *b.same
			continue
		}
		g.Go(func() (err error) {
			if n.stopped() {
				return nil
			}
			if out[i], err = s.writeBlock(ctx, b, n); err != nil {
				n.fail()
			}
			return err
		})
	}
	err := g.Wait()
	if len(n.leftover) > 0 && err == nil {
		err = s.probe(ctx, n)
	}
	return out, n.leftover, err
}

// probe looks for what failed saves have left behind at the numbers that come
// next. They took them in order, give or take those that are written at a time.
func (s *ClusterStore) probe(ctx context.Context, n *numbers) error {
	for misses := 0; misses < concurrency; misses++ {
		number := n.take()
		uid, ours, err := s.objects.look(ctx, shardName(s.name, number))
		switch {
		case err == nil && ours:
			n.leave(staleRef{Number: number, UID: uid, seen: true})
			misses = -1
		case err != nil && !apierrors.IsNotFound(err):
			return err
		}
		if number >= maxNumber {
			break
		}
	}
	return nil
}

// writeBlock creates one shard under the first free number. It never overwrites
// one: that may belong to a save that is under way elsewhere, and is about to be
// named by the index.
func (s *ClusterStore) writeBlock(ctx context.Context, b block, n *numbers) (leaf, error) {
	for {
		b.ref.Number = n.take()
		if b.ref.Number > maxNumber {
			return leaf{}, fmt.Errorf("no number up to %d is free for a shard; delete what is named %s", maxNumber, shardName(s.name, maxNumber))
		}
		name := shardName(s.name, b.ref.Number)
		object, err := s.objects.put(ctx, name, stored{}, map[string][]byte{partEntries: b.data}, nil, nil)
		if err == nil {
			return newLeaf(b.ref, object.uid, b.data, b.entries), nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return leaf{}, err
		}
		uid, ours, err := s.objects.look(ctx, name)
		switch {
		case err == nil && ours:
			n.leave(staleRef{Number: b.ref.Number, UID: uid, seen: true})
		case err != nil && !apierrors.IsNotFound(err):
			return leaf{}, err
		}
	}
}

// dropped are the leaves of before that are not among those of after.
func dropped(before, after []leaf) []staleRef {
	kept := make(map[int]bool, len(after))
	for _, l := range after {
		kept[l.ref.Number] = true
	}
	var out []staleRef
	for _, l := range before {
		if !kept[l.ref.Number] {
			out = append(out, staleRef{Number: l.ref.Number, UID: l.uid, seen: true})
		}
	}
	return out
}

// clean deletes shards that were seen before the index was written, and are not
// in it. Nobody else can name them any more: a save that created them began
// before, and finds the index changed. Their numbers may be in use again by now, so
// they are deleted by UID. It returns those that may still be there.
func (s *ClusterStore) clean(ctx context.Context, shards []staleRef) []staleRef {
	var mu sync.Mutex
	var left []staleRef
	var g errgroup.Group
	g.SetLimit(concurrency)
	for _, d := range shards {
		g.Go(func() error {
			if d, gone := s.cleanOne(ctx, d); !gone {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, d)
			}
			return nil
		})
	}
	_ = g.Wait()
	return left
}

// cleanOne returns the shard as it is to be tried again, if it is not gone.
func (s *ClusterStore) cleanOne(ctx context.Context, d staleRef) (staleRef, bool) {
	name := shardName(s.name, d.Number)
	err := error(nil)
	if d.seen {
		err = s.objects.remove(ctx, name, d.UID, "")
	}
	if !d.seen || apierrors.IsConflict(err) {
		// It is another of this name: one that was restored, or made again with the
		// same content. It must not go before the index was written once more.
		uid, ours, lookErr := s.objects.look(ctx, name)
		switch {
		case lookErr == nil && !ours:
			return d, true
		case lookErr == nil && uid != d.UID:
			return staleRef{Number: d.Number, UID: uid, seen: true}, false
		case lookErr == nil:
			err = s.objects.remove(ctx, name, d.UID, "")
		default:
			err = lookErr
		}
	}
	return d, err == nil || apierrors.IsNotFound(err)
}
