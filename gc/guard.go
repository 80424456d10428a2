package gc

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Defaults of Guard.
const (
	DefaultGuardObjects = 50
	DefaultGuardShare   = 0.5
)

// maxGuardListed bounds the objects that a GuardError names.
const maxGuardListed = 100

// Guard says which deletions need a confirmation. What destroys clusters is
// seldom one wrong delete: it is a render that came out empty, a path that moved,
// a name prefix that changed. So a deletion needs one
//
//   - when nothing is left of a set, however small it was;
//   - when more than Objects objects go, and they are more than Share of the set,
//     as it was when they left it;
//   - when an object goes whose deletion destroys what no apply brings back, or
//     which asks for it (see SyncOptionsAnnotation).
//
// Objects count that are still there, are ours, and would be deleted by this
// Prune. The zero value has all three rules on.
type Guard struct {
	// Objects is the number that may go without a confirmation whatever their
	// share; default 50. Negative: none.
	Objects int
	// Share of the set that may go whatever its number; default 0.5. Negative:
	// none, so that Objects decides alone.
	Share float64
	// Protected are the kinds that need a confirmation for each single object; nil
	// means ProtectedKinds(), an empty slice none.
	Protected []schema.GroupKind
	// Emptying lets a set become empty without a confirmation, within the other
	// rules: for a program that means to remove whole sets.
	Emptying bool
	// Off switches the guard off.
	Off bool
}

// ProtectedKinds are the kinds whose deletion destroys what no apply brings back:
// Namespace and CustomResourceDefinition with everything in them, whoever made it,
// PersistentVolumeClaim and PersistentVolume with their data.
func ProtectedKinds() []schema.GroupKind {
	return []schema.GroupKind{
		{Kind: "Namespace"},
		{Group: definitions, Kind: "CustomResourceDefinition"},
		{Kind: "PersistentVolumeClaim"},
		{Kind: "PersistentVolume"},
	}
}

// GuardError says that a Prune would delete so much that nothing was deleted.
// Everything stays on record. To go ahead, prune with PruneOptions.Confirm set to
// Confirm; as soon as other objects would go, it counts no more.
type GuardError struct {
	Owner   string   // the set
	Reasons []string // for people, never empty
	Total   int      // how many objects would be deleted
	Objects []Key    // the first 100 of them, those of protected kinds before others
	Confirm string   // lets exactly these deletions pass
	Stale   bool     // a confirmation was given, for other deletions
}

func (e *GuardError) Error() string {
	const most = 5
	var b strings.Builder
	fmt.Fprintf(&b, "prune: nothing was deleted, because %s", strings.Join(e.Reasons, ", and "))
	b.WriteString("; would go: ")
	for i, k := range e.Objects[:min(most, len(e.Objects))] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(k.String())
	}
	if n := e.Total - most; n > 0 {
		fmt.Fprintf(&b, " and %d more", n)
	}
	if e.Stale {
		b.WriteString("; the confirmation that was given is for other deletions")
	}
	fmt.Fprintf(&b, "; if this is meant, set PruneOptions.Confirm to %q, else restore the set", e.Confirm)
	return b.String()
}

// Terminal says that only a confirmation or another set can help.
func (e *GuardError) Terminal() bool { return true }

// check returns a *GuardError if what is to be deleted needs a confirmation that
// was not given.
func (g Guard) check(cs []*candidate, opts PruneOptions) error {
	if g.Off {
		return nil
	}
	var doomed []*candidate
	for _, c := range cs {
		if !c.settled && c.doomed() {
			doomed = append(doomed, c)
		}
	}
	reasons, protected := g.reasons(doomed, opts)
	if len(reasons) == 0 {
		return nil
	}
	confirm := confirmation(opts.Owner, doomed)
	if opts.Confirm == confirm {
		return nil
	}
	e := &GuardError{Owner: opts.Owner, Reasons: reasons, Total: len(doomed), Confirm: confirm, Stale: opts.Confirm != ""}
	for _, first := range []bool{true, false} {
		for _, c := range doomed {
			if protected[c] == first && len(e.Objects) < maxGuardListed {
				e.Objects = append(e.Objects, c.entry.Key)
			}
		}
	}
	return e
}

func (g Guard) reasons(doomed []*candidate, opts PruneOptions) (reasons []string, protected map[*candidate]bool) {
	n, set := len(doomed), opts.Set
	if n == 0 {
		return nil, nil
	}
	if set.Before > 0 && set.After == 0 && !g.Emptying {
		reasons = append(reasons, fmt.Sprintf("nothing would be left of set %q", opts.Owner))
	}
	if share, of := shareOf(doomed, set.Before); n > g.objects() && share > g.share() {
		reasons = append(reasons, fmt.Sprintf("%d%s objects would go", n, of))
	}
	kinds := g.Protected
	if kinds == nil {
		kinds = ProtectedKinds()
	}
	protected = map[*candidate]bool{}
	for _, c := range doomed {
		var why string
		switch {
		case slices.Contains(kinds, schema.GroupKind{Group: c.entry.Group, Kind: c.entry.Kind}):
			why = fmt.Sprintf("a %s would go with all that it holds", c.entry.Kind)
		case hasSyncOption(c.meta, "Prune=confirm"):
			why = "an object asks for a confirmation by annotation " + SyncOptionsAnnotation + ": Prune=confirm"
		default:
			continue
		}
		protected[c] = true
		if !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	return reasons, protected
}

// shareOf is the share of the set that goes, each object measured by the set that it
// left, and how to say that. Where a size is unknown, it is larger than any.
func shareOf(doomed []*candidate, before int) (share float64, of string) {
	counts := map[int64]int{}
	for _, c := range doomed {
		size := c.entry.LeftOf
		if size <= 0 {
			size = int64(before)
		}
		counts[size]++
	}
	for size, n := range counts {
		if size <= 0 {
			return math.Inf(1), ""
		}
		share += float64(n) / float64(size)
		of = fmt.Sprintf(" of %d", size)
	}
	if len(counts) > 1 {
		of = ""
	}
	return share, of
}

func (g Guard) objects() int {
	switch {
	case g.Objects == 0:
		return DefaultGuardObjects
	case g.Objects < 0:
		return 0
	}
	return g.Objects
}

func (g Guard) share() float64 {
	switch {
	case g.Share == 0:
		return DefaultGuardShare
	case g.Share < 0:
		return 0
	}
	return g.Share
}

// confirmation is a digest of deletions: of the set, and of each object with its
// UID, so that it confirms neither another set's nor those of later namesakes.
func confirmation(owner string, doomed []*candidate) string {
	h := sha256.New()
	lines := json.NewEncoder(h) // keeps fields apart, whatever they hold; a hash of strings cannot fail
	_ = lines.Encode(owner)
	for _, c := range doomed {
		k := c.entry.Key
		_ = lines.Encode([]string{k.Group, k.Kind, k.Namespace, k.Name, string(c.meta.UID)})
	}
	return hex.EncodeToString(h.Sum(nil))
}
