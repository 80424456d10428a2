package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

// Figures of one side. Those that do not apply are left out.
type Figures struct {
	Seconds    float64  `json:"seconds"`
	Whole      *float64 `json:"whole_seconds,omitempty"` // of all of the work, where seconds are of a part
	CPUSeconds float64  `json:"cpu_seconds"`             // of this process and those that it ran, for themselves and in the system
	Requests   *int64   `json:"requests,omitempty"`
	Bytes      *int64   `json:"bytes,omitempty"` // of request and response bodies; with Git, of all that went over the wire
	PeakMB     float64  `json:"peak_mb"`         // largest resident set of the whole process while measured, in MiB
	Allocs     *float64 `json:"allocs,omitempty"`
}

// Result of one pair.
type Result struct {
	Name     string  `json:"name"`
	Ours     Figures `json:"ours"`
	Peer     Figures `json:"peer"`
	Ratio    float64 `json:"ratio"` // the peer's seconds over ours
	PeerName string  `json:"peer_name"`
}

func newResult(p Pair, ours, peer Figures) Result {
	r := Result{Name: p.Name, Ours: ours, Peer: peer, PeerName: p.PeerName}
	if ours.Seconds > 0 {
		r.Ratio = peer.Seconds / ours.Seconds
	}
	return r
}

// summarize takes the median of each figure over the rounds.
func summarize(p Pair, rounds []side.Round, peakMB float64) Figures {
	f := Figures{
		Seconds:    median(rounds, func(r side.Round) float64 { return r.Seconds }),
		CPUSeconds: median(rounds, func(r side.Round) float64 { return r.CPUSeconds }),
		PeakMB:     peakMB,
	}
	if whole := median(rounds, func(r side.Round) float64 { return r.Whole }); whole > 0 {
		f.Whole = &whole
	}
	allocs := median(rounds, func(r side.Round) float64 { return r.Allocs })
	f.Allocs = &allocs
	if p.Server || p.Repo != "" {
		requests := int64(median(rounds, func(r side.Round) float64 { return float64(r.Requests) }))
		bytes := int64(median(rounds, func(r side.Round) float64 { return float64(r.Bytes) }))
		f.Requests, f.Bytes = &requests, &bytes
	}
	return f
}

// median of a figure; the mean of the middle two of an even number.
func median(rounds []side.Round, figure func(side.Round) float64) float64 {
	if len(rounds) == 0 {
		return 0
	}
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = figure(r)
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// reporter prints results as they come, and what is left at the end.
type reporter interface {
	result(Result) error
	end() error
}

type jsonReporter struct{ out io.Writer }

func (r *jsonReporter) result(res Result) error { return json.NewEncoder(r.out).Encode(res) }
func (r *jsonReporter) end() error              { return nil }

type tableReporter struct {
	out     io.Writer
	results []Result
}

func (r *tableReporter) result(res Result) error {
	r.results = append(r.results, res)
	return nil
}

func (r *tableReporter) end() error {
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "benchmark\t\ttime\tCPU\trequests\tKiB sent and received\tpeak MiB\tallocations\ttimes faster\t")
	for _, res := range r.results {
		fmt.Fprintf(w, "%s\tours\t%s\t%.1f\t\n", res.Name, columns(res.Ours), res.Ratio)
		fmt.Fprintf(w, "\t%s\t%s\t\t\n", res.PeerName, columns(res.Peer))
	}
	return w.Flush()
}

func columns(f Figures) string {
	requests, kib, allocs := "-", "-", "-"
	if f.Requests != nil {
		requests = fmt.Sprint(*f.Requests)
	}
	if f.Bytes != nil {
		kib = fmt.Sprintf("%.1f", float64(*f.Bytes)/1024)
	}
	if f.Allocs != nil {
		allocs = fmt.Sprintf("%.0f", *f.Allocs)
	}
	spent := duration(f.Seconds)
	if f.Whole != nil {
		spent += " of " + duration(*f.Whole)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%.1f\t%s", spent, duration(f.CPUSeconds), requests, kib, f.PeakMB, allocs)
}

func duration(seconds float64) string {
	switch {
	case seconds < 1e-3:
		return fmt.Sprintf("%.1f µs", seconds*1e6)
	case seconds < 1:
		return fmt.Sprintf("%.1f ms", seconds*1e3)
	default:
		return fmt.Sprintf("%.2f s", seconds)
	}
}
