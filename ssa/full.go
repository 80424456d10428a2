package ssa

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/gc"
)

// DefaultFullInterval is how often Apply looks at every object of a set.
const DefaultFullInterval = time.Hour

// stampMark ends the digest in the Intent of a set's first entry. After it stands
// when the set is to be looked at in full: seconds since 1970, to the base of 36. It is
// kept there because an inventory outlives the process, and goes wherever the set
// is applied next.
const (
	stampMark = "@"
	stampBase = 36
)

// fullChecks is the interval between the full checks of a set; negative: none.
type fullChecks time.Duration

func newFullChecks(interval time.Duration) fullChecks {
	if interval == 0 {
		interval = DefaultFullInterval
	}
	return fullChecks(interval)
}

// due reports whether it is time for a full check, or asked for, and when the next
// one is. Where nobody knows, the first comes at random within the interval, so that
// sets which are made at once are not checked at once. A time that is further away
// than any that would be chosen now is not believed.
func (f fullChecks) due(stamped time.Time, asked bool) (full bool, next time.Time) {
	interval := time.Duration(f)
	if interval < 0 {
		return asked, time.Time{}
	}
	now := time.Now()
	next = stamped
	known := !next.IsZero() && !next.After(now.Add(interval+interval/10))
	switch {
	case known && !now.Before(next), asked && (!known || next.Before(now.Add(interval/2))):
		return true, now.Add(interval - interval/10 + share(interval/5))
	case !known:
		return false, now.Add(interval/20 + share(interval))
	}
	return asked, next
}

// unstamped is an entry without the stamp.
func unstamped(e *gc.Entry) *gc.Entry {
	intent, _, found := strings.Cut(e.Intent, stampMark)
	if !found {
		return e
	}
	plain := *e
	plain.Intent = intent
	return &plain
}

// stampOf finds the stamp of an inventory. If there are several, the last counts.
func stampOf(inv gc.Inventory) (last time.Time) {
	for _, e := range inv {
		_, text, found := strings.Cut(e.Intent, stampMark)
		if !found {
			continue
		}
		if n, err := strconv.ParseInt(text, stampBase, 64); err == nil && time.Unix(n, 0).After(last) {
			last = time.Unix(n, 0)
		}
	}
	return last
}

// stamp writes into an inventory without a stamp when the next full check is.
func stamp(inv gc.Inventory, next time.Time) {
	if len(inv) > 0 && !next.IsZero() {
		inv[0].Intent += stampMark + strconv.FormatInt(next.Unix(), stampBase)
	}
}

// share is a random part of a duration. What it decides is no secret.
func share(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d) + 1)) //nolint:gosec // spreads load, and protects nothing
}
