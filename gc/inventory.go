package gc

import (
	"slices"
)

// Inventory is a set of entries: at most one per [Key], ordered by it; NewInventory
// makes one of entries in any order. The zero value is the empty set. Its methods
// change neither operand.
type Inventory []Entry

// NewInventory makes a set of entries. Of several with one key the last wins.
func NewInventory(entries ...Entry) Inventory {
	return Inventory(nil).Union(entries)
}

// Lookup finds the entry of a key.
func (inv Inventory) Lookup(k Key) (Entry, bool) {
	i, ok := inv.search(k)
	if !ok {
		return Entry{}, false
	}
	return inv[i], true
}

func (inv Inventory) search(k Key) (int, bool) {
	return slices.BinarySearchFunc(inv, k, func(e Entry, k Key) int { return e.Compare(k) })
}

// Has reports whether the set holds a key.
func (inv Inventory) Has(k Key) bool {
	_, ok := inv.Lookup(k)
	return ok
}

// Union returns the entries of both. Where both hold a key, other's entry wins.
// Other need not be ordered.
func (inv Inventory) Union(other []Entry) Inventory {
	if !slices.IsSortedFunc(other, byKey) {
		other = slices.Clone(other)
		slices.SortStableFunc(other, byKey)
	}
	out := make(Inventory, 0, len(inv)+len(other))
	add := func(e Entry) {
		if n := len(out); n > 0 && out[n-1].Key == e.Key {
			out[n-1] = e
			return
		}
		out = append(out, e)
	}
	for _, e := range other {
		for len(inv) > 0 && byKey(inv[0], e) <= 0 {
			add(inv[0])
			inv = inv[1:]
		}
		add(e)
	}
	for _, e := range inv {
		add(e)
	}
	return slices.Clip(out)
}

func byKey(a, b Entry) int { return a.Compare(b.Key) }

// Minus returns the entries whose key other does not hold.
func (inv Inventory) Minus(other Inventory) Inventory { return inv.pick(other, false) }

// Intersect returns the entries whose key other holds as well.
func (inv Inventory) Intersect(other Inventory) Inventory { return inv.pick(other, true) }

// pick returns the entries whose key other holds, or those whose key it does not.
func (inv Inventory) pick(other Inventory, held bool) Inventory {
	var out Inventory
	for _, e := range inv {
		for len(other) > 0 && byKey(other[0], e) < 0 {
			other = other[1:]
		}
		if held == (len(other) > 0 && other[0].Key == e.Key) {
			out = append(out, e)
		}
	}
	return out
}

func (inv Inventory) anyLeft() bool {
	return slices.ContainsFunc(inv, func(e Entry) bool { return e.LeftOf != 0 })
}

// Equal reports whether both hold the same entries, digests included.
func (inv Inventory) Equal(other Inventory) bool { return slices.Equal(inv, other) }
