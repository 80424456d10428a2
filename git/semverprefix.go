package git

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// versionPrefixes returns the beginnings of the names that a tag may have whose
// version is in a range: "1." and "v1." for ^1.2. A server that is asked for
// these only need not list the others. None means that any tag may be in the
// range, or that there would be too many beginnings to be worth it.
//
// It may return more than is needed, never less.
func versionPrefixes(c *semver.Constraints) []string {
	var numbers []string
	// As it was understood, so that there is nothing to parse in another way: a
	// clause is an operator and a version, without spaces.
	for group := range strings.SplitSeq(c.String(), "||") {
		s := every()
		for clause := range strings.FieldsSeq(group) {
			s = s.and(clauseSpan(clause, c.IncludePrerelease || strings.Contains(group, "-")))
		}
		if s.from.compare(s.to) > 0 {
			continue // nothing is in it
		}
		some := s.prefixes()
		if some == nil {
			return nil
		}
		numbers = append(numbers, some...)
	}
	return withAndWithoutV(numbers)
}

// withAndWithoutV drops what another prefix covers, and doubles the rest.
func withAndWithoutV(numbers []string) []string {
	slices.Sort(numbers)
	var kept []string
	for _, n := range numbers {
		if len(kept) == 0 || !strings.HasPrefix(n, kept[len(kept)-1]) {
			kept = append(kept, n)
		}
	}
	if len(kept) > mostPrefixes {
		return nil
	}
	for _, n := range kept {
		kept = append(kept, "v"+n)
	}
	return kept
}

// mostPrefixes is how many versions, not counting the v, are asked for. Servers
// take thousands; but more than a few save little.
const mostPrefixes = 8

// triple is the part of a version before its prerelease: major, minor, patch.
type triple [3]uint64

func (t triple) compare(o triple) int { return slices.Compare(t[:], o[:]) }

// before is the last triple that comes before t.
func (t triple) before() triple {
	for i, n := range slices.Backward(t[:]) {
		if n > 0 {
			t[i] = n - 1
			return t
		}
		t[i] = math.MaxUint64
	}
	return triple{} // nothing does; too much is never wrong
}

// span is all versions between two triples, both included.
type span struct{ from, to triple }

// every is all versions there are.
func every() span { return span{to: triple{}.with(0)} }

func (s span) and(o span) span {
	return span{
		slices.MaxFunc([]triple{s.from, o.from}, triple.compare),
		slices.MinFunc([]triple{s.to, o.to}, triple.compare),
	}
}

// prefixes are the beginnings of the versions in a span.
func (s span) prefixes() []string {
	shared := ""
	for i := range s.from {
		from, to := s.from[i], s.to[i]
		if from == to {
			shared += strconv.FormatUint(from, 10)
			if i < len(s.from)-1 {
				shared += "."
			}
			continue
		}
		if to-from >= mostPrefixes || i == len(s.from)-1 {
			break
		}
		var list []string
		for n := uint64(0); n <= to-from; n++ {
			list = append(list, shared+strconv.FormatUint(from+n, 10)+".")
		}
		return list
	}
	if shared == "" {
		return nil
	}
	return []string{shared}
}

// clauseSpan returns the versions that may satisfy one clause. With prereleases
// allowed, <2.0.0 lets 2.0.0-rc.1 in.
func clauseSpan(clause string, prereleases bool) span {
	i := strings.IndexAny(clause, "v0123456789xX*")
	if i < 0 {
		return every()
	}
	operator := clause[:i]
	at, given, ok := parseTriple(strings.TrimPrefix(clause[i:], "v"))
	if !ok || given == 0 {
		return every()
	}
	s := every()
	switch operator {
	case "", "=":
		s.from, s.to = at, at.with(given)
	case "~", "~>":
		s.from, s.to = at, at.with(min(given, 2))
	case "^":
		s.from, s.to = at, at.with(caret(at, given))
	case ">", ">=", "=>":
		s.from = at
	case "<=", "=<":
		s.to = at.with(given)
	case "<":
		s.to = at
		if !prereleases {
			s.to = at.before()
		}
	}
	if at == (triple{}) && given == len(at) && strings.HasPrefix(operator, "~") {
		return every() // how the library takes ~0.0.0
	}
	return s
}

// caret is how many numbers of a version ^ holds fast: those up to the first
// that is not zero.
func caret(at triple, given int) int {
	for i, n := range at[:given] {
		if n > 0 {
			return i + 1
		}
	}
	return given
}

// with is the last triple that begins with the first n numbers.
func (t triple) with(n int) triple {
	for i := range t {
		if i >= n {
			t[i] = math.MaxUint64
		}
	}
	return t
}

// parseTriple reads up to three numbers, and says how many were given before
// the first x, or the end.
func parseTriple(version string) (t triple, given int, ok bool) {
	version, _, _ = strings.Cut(version, "+")
	version, _, _ = strings.Cut(version, "-")
	for number := range strings.SplitSeq(version, ".") {
		if number == "x" || number == "X" || number == "*" || given == len(t) {
			break
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return triple{}, 0, false
		}
		t[given] = n
		given++
	}
	return t, given, true
}
