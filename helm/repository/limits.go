package repository

import (
	"cmp"
	"time"
)

// Limits bound what a repository may cost. A zero or negative field means its
// default.
type Limits struct {
	// IndexBytes of the index, uncompressed. Default 50 MiB.
	IndexBytes int64
	// OddIndexBytes of an index that is neither block YAML, as Helm and all known
	// servers write it, nor JSON. Such an index is held in memory as a whole while
	// it is read, at many times its size. Default 8 MiB.
	OddIndexBytes int64
	// Charts that the index may name. Default 50,000.
	Charts int
	// Versions of one chart. Default 20,000.
	Versions int
	// VersionBytes of what the index says of one version. Default 512 KiB.
	VersionBytes int64
	// Nesting of lists and objects in the index. Default 100.
	Nesting int
	// ChartBytes of a packed chart. Default 10 MiB.
	ChartBytes int64
	// Time of one request, redirects and the reading of the answer included; the
	// context's deadline counts too. Default 1 minute.
	Time time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		IndexBytes:    positive(l.IndexBytes, 50<<20),
		OddIndexBytes: positive(l.OddIndexBytes, 8<<20),
		Charts:        positive(l.Charts, 50_000),
		Versions:      positive(l.Versions, 20_000),
		VersionBytes:  positive(l.VersionBytes, 512<<10),
		Nesting:       positive(l.Nesting, 100),
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
