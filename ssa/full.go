package ssa

import (
	"math/rand/v2"
	"sync"
	"time"
)

// DefaultFullInterval is how often Apply looks at every object of a set.
const DefaultFullInterval = time.Hour

// maxOwners bounds what is remembered. Beyond, the sets start their hour anew.
const maxOwners = 100_000

// fullChecks remembers when each set is to be looked at in full.
type fullChecks struct {
	interval time.Duration

	mu   sync.Mutex
	next map[string]time.Time
}

func newFullChecks(interval time.Duration) *fullChecks {
	if interval == 0 {
		interval = DefaultFullInterval
	}
	return &fullChecks{interval: interval, next: map[string]time.Time{}}
}

// due reports whether it is time, or asked for, and if so takes it for done, until
// undone.
//
// The first time comes at random within the interval after the first Apply, which
// needs no memory beyond the process: a restart does not look at every set at once,
// and where a process restarts often, a check becomes due before its end as often
// as its share of the interval says. A twentieth of the interval is always free of
// checks, so that an Apply soon after the first costs what changed.
func (f *fullChecks) due(owner string, asked bool) (due bool, undo func()) {
	undo = func() {}
	if f.interval < 0 {
		return asked, undo
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	next, known := f.next[owner]
	if !known && len(f.next) >= maxOwners {
		clear(f.next)
	}
	switch {
	case asked:
	case !known:
		f.next[owner] = now.Add(f.interval/20 + share(f.interval))
		return false, undo
	case now.Before(next):
		return false, undo
	}
	f.next[owner] = now.Add(f.interval - f.interval/10 + share(f.interval/5))
	return true, func() { f.set(owner, next) }
}

func (f *fullChecks) set(owner string, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[owner] = next
}

// share is a random part of a duration. What it decides is no secret.
func share(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d) + 1)) //nolint:gosec // spreads load, and protects nothing
}
