package ssa

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of the text about one object.
const (
	maxLine      = 500  // characters
	maxDiffLines = 2000 // lines of a diff; the rest is counted
	maxEdits     = 400  // lines that differ, beyond which a diff is one block
	contextLines = 3
)

// plainText is what reads the same with and without quotes.
var plainText = regexp.MustCompile(`^[A-Za-z/_.][A-Za-z0-9/_.:@+-]*$`)

// lines writes a value in the manner of YAML, for people. Texts that hold
// anything that a terminal might act on, or that could be read as something else,
// are quoted; what stands without quotes between < and > is hidden.
func lines(v any, indent string) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, field(indent+key(k)+":", v[k], indent)...)
		}
	case []any:
		for _, e := range v {
			if isFull(e) {
				sub := lines(e, indent+"  ")
				sub[0] = indent + "- " + strings.TrimPrefix(sub[0], indent+"  ")
				out = append(out, sub...)
				continue
			}
			out = append(out, field(indent+"-", e, indent)...)
		}
	}
	return out
}

func field(head string, v any, indent string) []string {
	if isFull(v) {
		return append([]string{head}, lines(v, indent+"  ")...)
	}
	s, ok := v.(string)
	if !ok || !strings.Contains(s, "\n") {
		return []string{bounded(head + " " + scalar(v))}
	}
	out := []string{head + " |"}
	for line := range strings.SplitSeq(s, "\n") {
		out = append(out, bounded(indent+"  | "+printable(line)))
	}
	return out
}

func scalar(v any) string {
	switch v := v.(type) {
	case hidden:
		return string(v)
	case string:
		switch strings.ToLower(v) {
		case "true", "false", "null", "yes", "no", "on", "off", "y", "n", ".":
			return strconv.Quote(v)
		}
		if plainText.MatchString(v) {
			return v
		}
		return strconv.Quote(v)
	case map[string]any:
		return "{}"
	case []any:
		return "[]"
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

func key(k string) string {
	if plainText.MatchString(k) {
		return k
	}
	return strconv.Quote(k)
}

// printable escapes what a terminal might act on.
func printable(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// bounded shortens a line. The digest keeps two long lines apart.
func bounded(line string) string {
	if utf8.RuneCountInString(line) <= maxLine {
		return line
	}
	sum := sha256.Sum256([]byte(line))
	return fmt.Sprintf("%s… (%d bytes, sha256 %x)", string([]rune(line)[:maxLine]), len(line), sum[:6])
}

// unified compares two texts, as diff -u does.
func unified(before, after []string) []string {
	edits := edit(before, after)
	var out []string
	for start := 0; start < len(edits); {
		if edits[start].op == ' ' {
			start++
			continue
		}
		end, quiet := start, 0
		for i := start; i < len(edits) && quiet <= 2*contextLines; i++ {
			if quiet++; edits[i].op != ' ' {
				end, quiet = i+1, 0
			}
		}
		from, to := max(0, start-contextLines), min(len(edits), end+contextLines)
		out = append(out, hunk(edits[from:to])...)
		start = to
	}
	if n := len(out) - maxDiffLines; n > 0 {
		out = append(out[:maxDiffLines:maxDiffLines], fmt.Sprintf("… and %d more lines", n))
	}
	return out
}

type editLine struct {
	op       byte // ' ', '-' or '+'
	text     string
	old, now int // places, from 1
}

func hunk(edits []editLine) []string {
	var old, now int
	out := make([]string, 1, len(edits)+1)
	for _, e := range edits {
		if e.op != '+' {
			old++
		}
		if e.op != '-' {
			now++
		}
		out = append(out, string(e.op)+" "+e.text)
	}
	out[0] = fmt.Sprintf("@@ -%d,%d +%d,%d @@", edits[0].old, old, edits[0].now, now)
	return out
}

// edit finds a short way from one text to the other (Myers).
func edit(a, b []string) []editLine {
	var head int
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	keep := commonLines(a[head:len(a)-tail], b[head:len(b)-tail])
	var out []editLine
	i, j := 0, 0
	upTo := func(x, y int) {
		for ; i < x; i++ {
			out = append(out, editLine{'-', a[i], i + 1, j + 1})
		}
		for ; j < y; j++ {
			out = append(out, editLine{'+', b[j], i + 1, j + 1})
		}
	}
	same := func(x, y int) {
		upTo(x, y)
		out = append(out, editLine{' ', a[x], x + 1, y + 1})
		i, j = x+1, y+1
	}
	for k := range head {
		same(k, k)
	}
	for _, p := range keep {
		same(head+p[0], head+p[1])
	}
	for k := tail; k > 0; k-- {
		same(len(a)-k, len(b)-k)
	}
	upTo(len(a), len(b))
	return out
}

// commonLines returns the places of lines to keep; none where too much differs.
func commonLines(a, b []string) [][2]int {
	limit := min(len(a)+len(b), maxEdits)
	v := map[int]int{1: 0}
	var trace []map[int]int
	for d := 0; d <= limit; d++ {
		trace = append(trace, maps.Clone(v))
		for k := -d; k <= d; k += 2 {
			x := v[k-1] + 1
			if k == -d || k != d && v[k-1] < v[k+1] {
				x = v[k+1]
			}
			y := x - k
			for x < len(a) && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			v[k] = x
			if x >= len(a) && y >= len(b) {
				return backtrack(trace, len(a), len(b))
			}
		}
	}
	return nil
}

func backtrack(trace []map[int]int, x, y int) [][2]int {
	var out [][2]int
	for d := len(trace) - 1; d >= 0; d-- {
		v, k := trace[d], x-y
		prev := k - 1
		if k == -d || k != d && v[k-1] < v[k+1] {
			prev = k + 1
		}
		px := v[prev]
		py := px - prev
		for x > max(px, 0) && y > max(py, 0) {
			x, y = x-1, y-1
			out = append(out, [2]int{x, y})
		}
		x, y = px, py
	}
	slices.Reverse(out)
	return out
}
