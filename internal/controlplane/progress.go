package controlplane

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Stage is what [Ensure] or [Start] is busy with.
type Stage string

// The stages, in the order in which they may come.
const (
	// Waiting for another process that builds the same binaries.
	Waiting Stage = "waiting"
	// Downloading the modules that a binary is built from. Done counts them;
	// how many there will be is not known.
	Downloading Stage = "downloading"
	// Building a binary. Done and Total count its packages.
	Building Stage = "building"
	// Starting a component.
	Starting Stage = "starting"
)

// Progress says what is being done, and how far it is.
type Progress struct {
	Stage       Stage
	Name        string // the binary or component
	Done, Total int    // 0 where there is nothing to count
}

// String returns the progress as a line for people.
func (p Progress) String() string {
	switch p.Stage {
	case Waiting:
		return "waiting for another process that builds the control plane"
	case Downloading:
		return fmt.Sprintf("downloading modules of %s: %d", p.Name, p.Done)
	case Building:
		return fmt.Sprintf("building %s: %d of %d packages", p.Name, p.Done, p.Total)
	default:
		return fmt.Sprintf("%s %s", p.Stage, p.Name)
	}
}

// lineInterval is how often a log that is no terminal hears of a stage that
// goes on.
const lineInterval = 10 * time.Second

// Printer returns a function for [Options].Progress that prints to f, and one
// to call at the end. On a terminal it is one line, updated in place, and gone
// at the end; elsewhere it is a line when something new begins, and every ten
// seconds while it goes on.
func Printer(f *os.File) (report func(Progress), done func()) {
	if isTerminal(f) {
		return func(p Progress) { fmt.Fprintf(f, "\r\x1b[K%s", p) },
			func() { fmt.Fprint(f, "\r\x1b[K") }
	}
	l := &linePrinter{w: f, now: time.Now}
	return l.report, func() {}
}

type linePrinter struct {
	w    io.Writer
	now  func() time.Time
	last Progress
	at   time.Time
}

func (l *linePrinter) report(p Progress) {
	same := p.Stage == l.last.Stage && p.Name == l.last.Name
	if now := l.now(); !same || now.Sub(l.at) >= lineInterval {
		l.last, l.at = p, now
		fmt.Fprintln(l.w, p)
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
