package registry

import (
	"cmp"
	"time"
)

// Limits bound what a registry may cost. A zero or negative field means its
// default.
type Limits struct {
	// Tags of the repository. Default 50,000.
	Tags int
	// ManifestBytes of a manifest, or of one page of tags. Default 4 MiB.
	ManifestBytes int64
	// ChartBytes of a packed chart. Default 10 MiB.
	ChartBytes int64
	// Time of one operation, all of its requests included; the context's deadline
	// counts too. Default 1 minute.
	Time time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Tags:          positive(l.Tags, 50_000),
		ManifestBytes: positive(l.ManifestBytes, 4<<20),
		ChartBytes:    positive(l.ChartBytes, 10<<20),
		Time:          positive(l.Time, time.Minute),
	}
}

func positive[T cmp.Ordered](v, byDefault T) T {
	var zero T
	if v > zero {
		return v
	}
	return byDefault
}
