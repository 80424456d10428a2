package ssa

import (
	"slices"
	"time"

	"github.com/gitopskit/gitopskit/gc"
)

// Aged is an inventory as if it had been made earlier.
func Aged(inv gc.Inventory, by time.Duration) gc.Inventory {
	out := slices.Clone(inv)
	next := stampOf(inv)
	for i := range out {
		out[i] = *unstamped(&out[i])
	}
	stamp(out, next.Add(-by))
	return out
}
