package events

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Retry says how a recorder sends again what a sink did not take. Zero fields mean
// the defaults.
type Retry struct {
	// Initial is the pause after the first failure. Each further failure doubles
	// it. Zero means 500 ms.
	Initial time.Duration
	// Max is the longest pause of our own. Zero means 30 s. A pause lasts
	// between half and the whole of what is computed, at random, so that many
	// recorders do not come back in step.
	Max time.Duration
	// MaxRetryAfter is the longest pause that a sink is granted when it asks for
	// one. Zero means 10 min.
	MaxRetryAfter time.Duration
	// GiveUpAfter is how long an event is tried, from its first attempt on,
	// before it counts as failed. Zero means 1 h.
	GiveUpAfter time.Duration
}

func (r Retry) withDefaults() Retry {
	r.Initial = orDefault(r.Initial, 500*time.Millisecond)
	r.Max = max(orDefault(r.Max, 30*time.Second), r.Initial)
	r.MaxRetryAfter = orDefault(r.MaxRetryAfter, 10*time.Minute)
	r.GiveUpAfter = orDefault(r.GiveUpAfter, time.Hour)
	return r
}

// orDefault returns v, or what stands for it where it is zero or less.
func orDefault[T cmp.Ordered](v, otherwise T) T {
	var zero T
	if v <= zero {
		return otherwise
	}
	return v
}

// pause is how long to wait after a number of failures.
func (r Retry) pause(failures int) time.Duration {
	d := r.Initial
	for i := 1; i < failures && d < r.Max; i++ {
		d *= 2
	}
	d = min(d, r.Max)
	return d - atMost(d/2)
}

// grant is how long to wait when the sink asks for it: never less, up to the
// bound, and up to a tenth more, so that many recorders do not come back in step.
func (r Retry) grant(asked time.Duration) time.Duration {
	if asked <= 0 {
		return 0
	}
	asked = max(min(asked, r.MaxRetryAfter), r.Initial)
	return asked + atMost(asked/10)
}

// atMost is a random time up to and including the bound.
func atMost(bound time.Duration) time.Duration {
	return rand.N(bound + 1) //nolint:gosec // it spreads load, and nobody gains by guessing it
}
