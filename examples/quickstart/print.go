package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/meter"
	"github.com/gitopskit/gitopskit/ssa"
)

// printer writes what happens: lines for people, or one JSON object per line.
type printer struct {
	out      io.Writer
	err      io.Writer
	json     bool
	terminal bool
	meter    *meter.Meter

	mu   sync.Mutex
	last time.Time // of the last progress that was shown
	act  string
}

// record is one line of -o json.
type record struct {
	Act      string         `json:"act,omitempty"`
	Step     string         `json:"step,omitempty"`
	Note     string         `json:"note,omitempty"`
	Seconds  float64        `json:"seconds,omitempty"`
	Requests int64          `json:"requests,omitempty"`
	Bytes    int64          `json:"bytes,omitempty"`
	Error    string         `json:"error,omitempty"`
	Claim    string         `json:"claim,omitempty"`
	Held     *bool          `json:"held,omitempty"`
	Objects  []objectRecord `json:"objects,omitempty"`
}

type objectRecord struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Action    string `json:"action"`
	Health    string `json:"health,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

func (p *printer) emit(r record) {
	r.Act = p.act
	raw, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintln(p.err, "quickstart:", err)
		return
	}
	fmt.Fprintf(p.out, "%s\n", raw)
}

// begin starts an act of the story.
func (p *printer) begin(title string) {
	p.act = title
	if !p.json {
		fmt.Fprintf(p.out, "\n%s\n", title)
	}
}

// step is one part of the road.
type step struct {
	name string
	do   func(context.Context) (note string, err error)
}

// steps carries out steps until one fails, with a line for each: what was done,
// how long it took, and what went over the wire.
func (p *printer) steps(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		start, before := time.Now(), p.meter.Count()
		note, err := s.do(ctx)
		p.step(s.name, note, err, time.Since(start), p.meter.Count().Sub(before))
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) step(name, note string, err error, took time.Duration, wire meter.Count) {
	p.clear()
	if p.json {
		r := record{Step: name, Note: note, Seconds: took.Seconds(), Requests: wire.Requests, Bytes: wire.Sent + wire.Received}
		if err != nil {
			r.Error = err.Error()
		}
		p.emit(r)
		return
	}
	mark := "✓"
	if err != nil {
		mark, note = "✗", err.Error()
	}
	cost := fmt.Sprintf("%7s", millis(took))
	if wire.Requests > 0 {
		cost += fmt.Sprintf(", %s, %s", plural(wire.Requests, "request"), size(wire.Sent+wire.Received))
	}
	fmt.Fprintf(p.out, "  %s %-10s %s  (%s)\n", mark, name, note, strings.TrimSpace(cost))
}

// say prints something that is worth knowing.
func (p *printer) say(format string, args ...any) {
	p.clear()
	if p.json {
		p.emit(record{Note: fmt.Sprintf(format, args...)})
		return
	}
	fmt.Fprintf(p.out, "    "+format+"\n", args...)
}

// claim prints whether something that the story promises held.
func (p *printer) claim(text string, held bool) {
	p.clear()
	if p.json {
		p.emit(record{Claim: text, Held: &held})
		return
	}
	mark := "held"
	if !held {
		mark = "NOT HELD"
	}
	fmt.Fprintf(p.out, "  → %s: %s\n", text, mark)
}

// progress shows how far a long step is: in place on a terminal, every ten
// seconds elsewhere. It goes to standard error, so that standard output stays
// fit for a pipe.
func (p *printer) progress(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := 10 * time.Second
	if p.terminal {
		interval = 100 * time.Millisecond
	}
	if p.last.IsZero() && !p.terminal {
		p.last = time.Now()
	}
	if time.Since(p.last) < interval {
		return
	}
	p.last = time.Now()
	if p.terminal {
		fmt.Fprintf(p.err, "\r\x1b[K  … "+format, args...)
	} else {
		fmt.Fprintf(p.err, "… "+format+"\n", args...)
	}
}

func (p *printer) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Time{}
	if p.terminal {
		fmt.Fprint(p.err, "\r\x1b[K")
	}
}

// table shows every object of a walk: what was done with it, and how it is.
func (p *printer) table(w *walked) {
	rows := objectRecords(w)
	if p.json {
		p.emit(record{Objects: rows})
		return
	}
	tw := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\n  KIND\tNAME\tACTION\tHEALTH\tDETAIL")
	for _, o := range rows {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", o.Kind, o.Name, o.Action, o.Health, firstLine(o.Detail))
	}
	_ = tw.Flush()
}

func objectRecords(w *walked) []objectRecord {
	health := map[gc.Key]ssa.Health{}
	for _, h := range w.health {
		health[h.Key] = h
	}
	var rows []objectRecord
	add := func(k gc.Key, action, detail string) {
		h := health[k]
		if detail == "" {
			detail = h.Message
		}
		rows = append(rows, objectRecord{k.Group, k.Kind, k.Namespace, k.Name, action, string(h.Status), detail})
	}
	if w.result != nil {
		for _, c := range w.result.Changes {
			detail := ""
			if c.Err != nil {
				detail = c.Err.Error()
			}
			for _, d := range c.Drift {
				detail = d.String()
			}
			add(c.Key, string(c.Action), detail)
		}
	}
	for _, o := range w.report.Pruned.Objects {
		add(o.Key, string(o.Outcome), o.Detail)
	}
	slices.SortStableFunc(rows, func(a, b objectRecord) int {
		return strings.Compare(a.Kind+"/"+a.Name, b.Kind+"/"+b.Name)
	})
	return rows
}

// tally counts what an apply did.
func tally(w *walked) string {
	if w.result == nil {
		return "nothing"
	}
	var parts []string
	for _, a := range []ssa.Action{ssa.Created, ssa.Configured, ssa.Unchanged, ssa.Skipped, ssa.Failed} {
		if n := w.result.Count(a); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, a))
		}
	}
	if n := len(w.report.Pruned.Objects); n > 0 {
		parts = append(parts, fmt.Sprintf("%d pruned", n))
	}
	parts = append(parts, fmt.Sprintf("inventory saved %s", plural(int64(w.report.Writes), "time")))
	return strings.Join(parts, ", ")
}

// describe says who signed what, without the hashes that the line before shows.
func describe(v git.Verification) string {
	parts := make([]string, 0, len(v.Signatures))
	for _, sig := range v.Signatures {
		parts = append(parts, fmt.Sprintf("%s signed by %s (%s %.12s…)", sig.Object, sig.Signer, sig.Format, sig.Fingerprint))
	}
	return strings.Join(parts, ", ")
}

func countCurrent(health []ssa.Health) int {
	n := 0
	for _, h := range health {
		if h.Status == ssa.Current {
			n++
		}
	}
	return n
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func millis(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func onTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
