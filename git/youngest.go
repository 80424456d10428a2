package git

import (
	"context"
	"time"
)

// youngest returns the reference with the youngest commit of those that are
// versions of one precedence, and the first one where that cannot be told.
func youngest(ctx context.Context, e engine, tied []reference) (reference, error) {
	const most = 100
	if len(tied) == 1 || len(tied) > most || e == nil {
		return tied[0], nil
	}
	can, err := e.abilities(ctx)
	if err != nil || !can.filter {
		return tied[0], err
	}
	w := wanted{depth: 1, filter: "tree:0"}
	for _, ref := range tied {
		w.objects = append(w.objects, ref.target())
	}
	commits := newSegment(&disk{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := e.receive(ctx, w, commits, nil, cancel); err != nil {
		return reference{}, err
	}
	objects := &store{ctx: ctx, own: commits}
	best, when := tied[0], time.Time{}
	for _, ref := range tied {
		raw, err := objects.read(ref.target(), commitObject)
		if err != nil {
			return reference{}, err
		}
		c, err := parseCommit(ref.target(), raw)
		if err != nil {
			return reference{}, err
		}
		if c.Committer.Time.After(when) {
			best, when = ref, c.Committer.Time
		}
	}
	return best, nil
}
