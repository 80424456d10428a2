package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"slices"
)

// outline says where in the text of an index each chart and version is. It is
// made in one pass, which understands just enough of YAML and JSON to be sure of
// where things begin and end.
type outline struct {
	json   bool
	charts map[string]*span
	header [][2]int64 // what is not below entries, as offsets
}

// span is where one chart is.
type span struct {
	versions [][2]int64 // as offsets
	digests  [][sha256.Size]byte
	digest   [sha256.Size]byte // of the versions, in whatever order they are
}

// errOdd says that the quick way does not understand an index.
var errOdd = errors.New("neither block YAML nor JSON in the usual form")

// scanner is the quick way for one format. It is fed the text in pieces, tells
// how much of it it took, and ends with errOdd as soon as it is not sure.
type scanner interface {
	feed(piece []byte, last bool) (taken int, err error)
	end() (*outline, error)
}

// recorder collects an outline. Offsets count from the start of the text.
type recorder struct {
	limits Limits
	out    *outline
	chart  *span
	name   string
	from   int64 // of the version that is open, or -1
	sum    hash.Hash
}

func newRecorder(limits Limits) recorder {
	return recorder{limits: limits, out: &outline{charts: map[string]*span{}}, from: -1, sum: sha256.New()}
}

func (r *recorder) startChart(name string) error {
	if len(r.out.charts) >= r.limits.Charts {
		return &LimitError{Limit: "Charts", Max: int64(r.limits.Charts)}
	}
	r.name, r.chart = name, &span{}
	return nil
}

func (r *recorder) startVersion(at int64) error {
	if len(r.chart.versions) >= r.limits.Versions {
		return &LimitError{Chart: r.name, Limit: "Versions", Max: int64(r.limits.Versions)}
	}
	r.from = at
	return nil
}

// endVersion ends a version before the offset at. Its bytes were hashed by the
// caller.
func (r *recorder) endVersion(at int64) error {
	if r.from < 0 {
		return nil
	}
	if at-r.from > r.limits.VersionBytes {
		return &LimitError{Chart: r.name, Limit: "VersionBytes", Max: r.limits.VersionBytes}
	}
	r.chart.versions = append(r.chart.versions, [2]int64{r.from, at})
	r.chart.digests = append(r.chart.digests, [sha256.Size]byte(r.sum.Sum(nil)))
	r.sum.Reset()
	r.from = -1
	return nil
}

func (r *recorder) endChart() {
	if r.chart == nil {
		return
	}
	r.chart.digest = digestOf(r.chart.digests)
	r.chart.digests = nil
	r.chart.versions = slices.Clip(r.chart.versions)
	r.out.charts[r.name] = r.chart
	r.chart = nil
}

// digestOf is one digest of many, in whatever order they are.
func digestOf(digests [][sha256.Size]byte) [sha256.Size]byte {
	slices.SortFunc(digests, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	sum := sha256.New()
	for _, d := range digests {
		sum.Write(d[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// digest of all charts, by name.
func (o *outline) digest() [sha256.Size]byte {
	digests := make([][sha256.Size]byte, 0, len(o.charts))
	for name, c := range o.charts {
		digests = append(digests, sha256.Sum256(append([]byte(name+"\x00"), c.digest[:]...)))
	}
	return digestOf(digests)
}

// scan reads an index to its end, keeps it, and outlines it. The outline is nil
// if the index is odd.
func scan(ctx context.Context, in io.Reader, limits Limits) (*text, *outline, error) {
	s := &sieve{in: in, limits: limits, text: &text{}, buf: make([]byte, 0, 2*chunkBytes)}
	for !s.ended {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err := s.step(); err != nil {
			return nil, nil, err
		}
	}
	s.text.done()
	if s.odd || s.scanner == nil {
		return s.text, nil, nil
	}
	out, err := s.scanner.end()
	if errors.Is(err, errOdd) {
		s.odd = true
		return s.text, nil, s.tooOdd()
	}
	return s.text, out, err
}

// sieve passes a text on to the scanner and the store.
type sieve struct {
	in      io.Reader
	limits  Limits
	text    *text
	scanner scanner
	buf     []byte // read, and not yet taken
	read    int64
	ended   bool
	odd     bool
}

func (s *sieve) step() error {
	if len(s.buf) == cap(s.buf) { // a line, or a key, that is longer than that
		s.buf = slices.Grow(s.buf, cap(s.buf))
	}
	n, err := s.in.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	s.read += int64(n)
	switch {
	case s.read > s.limits.IndexBytes:
		return &LimitError{Limit: "IndexBytes", Max: s.limits.IndexBytes}
	case errors.Is(err, io.EOF):
		s.ended = true
	case err != nil:
		return err
	}
	if s.scanner == nil && !s.odd && !s.detect() && !s.ended {
		s.odd = len(s.buf) >= chunkBytes // of spaces
		return nil
	}
	taken := len(s.buf)
	if !s.odd && s.scanner != nil {
		taken, err = s.scanner.feed(s.buf, s.ended)
		if errors.Is(err, errOdd) || err == nil && int64(len(s.buf)-taken) > s.limits.VersionBytes {
			s.odd, taken, err = true, len(s.buf), nil
		}
		if err != nil {
			return err
		}
	}
	s.text.add(s.buf[:taken])
	s.buf = s.buf[:copy(s.buf, s.buf[taken:])]
	return s.tooOdd()
}

// tooOdd refuses what would be read as a whole if it is too much for that.
func (s *sieve) tooOdd() error {
	if s.odd && s.text.size > s.limits.OddIndexBytes {
		return &LimitError{Limit: "OddIndexBytes", Max: s.limits.OddIndexBytes}
	}
	return nil
}

// detect chooses the scanner by the first byte.
func (s *sieve) detect() bool {
	begin := bytes.TrimLeft(s.buf, " \t\r\n")
	switch {
	case len(begin) == 0:
		return false
	case begin[0] == '{':
		s.scanner = newJSONScanner(s.limits)
	default:
		s.scanner = newBlockScanner(s.limits)
	}
	return true
}
