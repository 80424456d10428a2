package helm

import (
	"cmp"
	"time"
)

// Limits bound what a chart may cost. A zero or negative field means its default.
type Limits struct {
	// Files in the chart and its subcharts. Default 10,000.
	Files int
	// FileBytes of one file, uncompressed. Default 5 MiB, as in Helm.
	FileBytes int64
	// Bytes of all files together, uncompressed. Default 64 MiB.
	Bytes int64
	// Ratio of an archive's size to what it unpacks to, checked after the first
	// MiB. Default 200.
	Ratio int64
	// Depth of directories and of archives in archives below the chart. Default 32.
	Depth int
	// Dependencies that are taken from elsewhere than the charts directory. Default
	// 100.
	Dependencies int
	// Nesting of templates that run one another, by template, include or tpl.
	// Default 1,000, as in Helm.
	Nesting int
	// Output of all templates together, in bytes, what they include counted each
	// time. Also the longest text and list that the functions repeat, indent,
	// nindent, replace, until, untilStep, seq and rand… make. Default 64 MiB.
	Output int64
	// Objects that one Render returns, CRDs and hooks included. Default 20,000.
	Objects int
	// Time of one Render; the context's deadline counts too. Default 1 minute.
	Time time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Files:        positive(l.Files, 10_000),
		FileBytes:    positive(l.FileBytes, 5<<20),
		Bytes:        positive(l.Bytes, 64<<20),
		Ratio:        positive(l.Ratio, 200),
		Depth:        positive(l.Depth, 32),
		Dependencies: positive(l.Dependencies, 100),
		Nesting:      positive(l.Nesting, 1000),
		Output:       positive(l.Output, 64<<20),
		Objects:      positive(l.Objects, 20_000),
		Time:         positive(l.Time, time.Minute),
	}
}

func positive[T cmp.Ordered](v, byDefault T) T {
	var zero T
	if v > zero {
		return v
	}
	return byDefault
}
