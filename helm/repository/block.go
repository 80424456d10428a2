package repository

import (
	"bytes"
	"strings"

	"sigs.k8s.io/yaml"
)

// blockScanner outlines an index in block YAML, line by line. A line that begins
// a chart or a version can only be trusted to be one if it is not text of a value
// that began on a line before, so the scanner follows values over lines. What it
// does not know exactly is odd.
type blockScanner struct {
	recorder
	at     int64 // offset of the line
	hashed int   // in the piece, from where the open version has yet to be hashed

	place   place
	col     int // of charts' names, 0 if not yet known
	itemCol int // of the dashes before versions, -1 if not yet known

	inside inside
	quote  byte
	parent int // column of the key, or dash, that the value belongs to
	seen   map[string]bool
	kept   int64 // end of what is recorded as header
}

type place int

const (
	inHeader  place = iota
	inEntries       // below entries:
)

// inside says what a line may be the continuation of.
type inside int

const (
	nothing inside = iota
	plain          // goes on while lines are indented
	literal        // goes on while lines are indented, whatever they hold
	quoted         // goes on to the closing quote
)

// topKeys are what Helm knows at the top of an index.
var topKeys = []string{"apiVersion", "entries", "generated", "serverInfo", "publicKeys", "annotations"}

func newBlockScanner(limits Limits) *blockScanner {
	return &blockScanner{recorder: newRecorder(limits), itemCol: -1, seen: map[string]bool{}}
}

func (s *blockScanner) feed(piece []byte, last bool) (int, error) {
	end := bytes.LastIndexByte(piece, '\n') + 1
	if last {
		end = len(piece)
	}
	lines := piece[:end]
	// YAML has more line breaks than one, and indexes have not.
	for _, odd := range []string{"\r", "\u0085", "\u2028", "\u2029", "\ufeff", "\x00"} {
		if bytes.Contains(lines, []byte(odd)) {
			return 0, errOdd
		}
	}
	s.hashed = 0
	begin := s.at
	for rest := lines; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		if err := s.line(bytes.TrimRight(rest[:n], " \n"), lines, int(s.at-begin)); err != nil {
			return 0, err
		}
		s.at += int64(n)
		rest = rest[n:]
	}
	if s.from >= 0 {
		s.sum.Write(lines[s.hashed:])
		if s.at-s.from > s.limits.VersionBytes {
			return 0, s.endVersion(s.at)
		}
	}
	return end, nil
}

// line takes one line, which begins at index i of the piece.
func (s *blockScanner) line(b, piece []byte, i int) error {
	indent := 0
	for indent < len(b) && b[indent] == ' ' {
		indent++
	}
	if indent == len(b) {
		return nil
	}
	switch {
	case s.inside == quoted:
		return s.continueQuoted(b)
	case s.inside == literal && indent > s.parent, s.inside == plain && indent > s.parent:
		return nil
	}
	s.inside = nothing
	switch {
	case bytes.IndexByte(b, '\t') >= 0:
		return errOdd
	case b[indent] == '#':
		return nil
	case indent == 0 && (b[0] != '-' || s.place == inHeader):
		return s.top(b, piece, i)
	case s.place == inHeader:
		return s.content(b, indent)
	case s.col == 0 && indent > 0:
		s.col = indent
	}
	return s.entry(b, indent, piece, i)
}

// top takes a line that is not indented.
func (s *blockScanner) top(b, piece []byte, i int) error {
	if string(b) == "---" && len(s.seen) == 0 {
		return nil
	}
	if b[0] == '-' && !bytes.HasPrefix(b, []byte("---")) {
		return s.content(b, 0) // of a list that is not indented
	}
	key, value, ok := bytes.Cut(b, []byte(":"))
	if !ok || s.seen[string(key)] || !known(string(key)) {
		return errOdd
	}
	s.seen[string(key)] = true
	if err := s.close(piece, i); err != nil {
		return err
	}
	if string(key) != "entries" {
		return s.content(b, 0)
	}
	s.out.header = append(s.out.header, [2]int64{s.kept, s.at})
	if value = bytes.TrimSpace(value); len(value) > 0 && string(value) != "{}" {
		return errOdd
	}
	s.place = inEntries
	return nil
}

func known(key string) bool {
	for _, k := range topKeys {
		if k == key {
			return true
		}
	}
	return false
}

// close ends the chart that is open, and the entries.
func (s *blockScanner) close(piece []byte, i int) error {
	if err := s.closeVersion(piece, i); err != nil {
		return err
	}
	s.endChart()
	if s.place == inEntries {
		s.place, s.kept = inHeader, s.at
	}
	return nil
}

func (s *blockScanner) closeVersion(piece []byte, i int) error {
	if s.from >= 0 {
		s.sum.Write(piece[s.hashed:i])
	}
	s.hashed = i
	return s.endVersion(s.at)
}

// entry takes a line below entries.
func (s *blockScanner) entry(b []byte, indent int, piece []byte, i int) error {
	dash := b[indent] == '-' && (indent+1 == len(b) || b[indent+1] == ' ')
	switch {
	case indent == 0, indent < s.col:
		return errOdd
	case indent == s.col && !dash:
		if err := s.closeVersion(piece, i); err != nil {
			return err
		}
		s.endChart()
		return s.chartLine(b[indent:])
	case s.chart == nil:
		return errOdd
	case s.itemCol < 0 && dash:
		s.itemCol = indent
	}
	switch {
	case s.itemCol < 0 || indent < s.itemCol:
		return errOdd
	case indent > s.itemCol:
		return s.content(b, indent)
	case !dash:
		return errOdd
	}
	if err := s.closeVersion(piece, i); err != nil {
		return err
	}
	if err := s.startVersion(s.at); err != nil {
		return err
	}
	return s.content(b, indent)
}

// chartLine takes the name of a chart.
func (s *blockScanner) chartLine(b []byte) error {
	key, value, ok := bytes.Cut(b, []byte(":"))
	if value = bytes.TrimSpace(value); !ok || len(value) > 0 && string(value) != "[]" {
		return errOdd
	}
	name := string(key)
	if !plainName(name) {
		// Some texts are numbers and others are truths to YAML: let it decide.
		var named map[string]any
		if strings.ContainsAny(name, "<&*!?{}[]|>%@`,#") || yaml.Unmarshal([]byte(name+": 0"), &named) != nil || len(named) != 1 {
			return errOdd
		}
		for name = range named {
		}
	}
	if s.out.charts[name] != nil {
		return &IndexError{Chart: name, Err: errTwice}
	}
	s.itemCol = -1
	return s.startChart(name)
}

// plainName says that YAML can take a name for nothing but a text.
func plainName(name string) bool {
	if name == "" || !letter(name[0]) {
		return false
	}
	for _, c := range []byte(name) {
		if !letter(c) && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	switch strings.ToLower(name) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	return true
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// content takes a line of keys and values, and finds out what its value is and
// whether it goes on.
func (s *blockScanner) content(b []byte, indent int) error {
	pos, parent := indent, s.parent
	if s.parent >= indent {
		parent = indent - 1
	}
	for pos < len(b) && b[pos] == '-' && (pos+1 == len(b) || b[pos+1] == ' ') {
		parent = pos
		for pos++; pos < len(b) && b[pos] == ' '; pos++ {
		}
	}
	if pos == len(b) {
		s.parent = parent
		return nil
	}
	end, err := keyEnd(b[pos:])
	if err != nil {
		return err
	}
	if end < 0 {
		return s.value(b[pos:], parent)
	}
	rest := bytes.TrimLeft(b[pos+end+1:], " ")
	s.parent = pos
	if len(rest) == 0 || rest[0] == '#' {
		return nil
	}
	return s.value(rest, pos)
}

// keyEnd returns where the colon is that ends a key, -1 if there is no key.
func keyEnd(b []byte) (int, error) {
	colon := func(i int) bool { return i < len(b) && b[i] == ':' && (i+1 == len(b) || b[i+1] == ' ') }
	switch c := b[0]; c {
	case '"', '\'':
		if end := closing(b[1:], c); end >= 0 && colon(end+1) {
			return end + 1, nil
		}
		return -1, nil
	case '[', '{', '|', '>':
		return -1, nil
	case '&', '*', '!', '%', '@', '`', '?', ',', ']', '}', '#', ':':
		return 0, errOdd
	}
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], ':')
		if n < 0 {
			return -1, nil
		}
		if i += n; colon(i) {
			if bytes.Contains(b[:i], []byte(" #")) {
				return 0, errOdd
			}
			return i, nil
		}
	}
}

// value takes what begins a value. Its further lines are right of parent.
func (s *blockScanner) value(b []byte, parent int) error {
	s.parent = parent
	switch c := b[0]; c {
	case '"', '\'':
		end := closing(b[1:], c)
		if end < 0 {
			s.inside, s.quote = quoted, c
			return nil
		}
		return nothingAfter(b[end+1:])
	case '|', '>':
		s.inside = literal
		return nothingAfter(bytes.TrimLeft(b[1:], "+-123456789"))
	case '[', '{':
		return balanced(b, s.limits.Nesting)
	case '&', '*', '!', '%', '@', '`', '?', ',', ']', '}', '#', ':':
		return errOdd
	case '-':
		if len(b) == 1 || b[1] == ' ' {
			return errOdd
		}
	}
	s.inside = plain
	return nil
}

func (s *blockScanner) continueQuoted(b []byte) error {
	end := closing(b, s.quote)
	if end < 0 {
		return nil
	}
	s.inside = nothing
	return nothingAfter(b[end:])
}

// closing returns the index after the quote that closes a text, -1 if the text
// goes on.
func closing(b []byte, quote byte) int {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\' && quote == '"':
			i++
		case b[i] != quote:
		case quote == '\'' && i+1 < len(b) && b[i+1] == '\'':
			i++
		default:
			return i + 1
		}
	}
	return -1
}

func nothingAfter(b []byte) error {
	if rest := bytes.TrimLeft(b, " "); len(rest) > 0 && (rest[0] != '#' || len(rest) == len(b)) {
		return errOdd
	}
	return nil
}

// balanced wants a list or object in brackets to end on its line.
func balanced(b []byte, nesting int) error {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"', '\'':
			if before := b[i-1]; before != ' ' && before != ',' && before != '[' && before != '{' && before != ':' {
				return errOdd
			}
			end := closing(b[i+1:], b[i])
			if end < 0 {
				return errOdd
			}
			i += end
		case '#', '&', '*', '!', '|', '>', '%', '@', '`', '?':
			return errOdd
		case '[', '{':
			if depth++; depth > nesting {
				return errOdd
			}
		case ']', '}':
			if depth--; depth == 0 {
				return nothingAfter(b[i+1:])
			}
		}
	}
	return errOdd
}

func (s *blockScanner) end() (*outline, error) {
	if s.inside == quoted {
		return nil, errOdd
	}
	if err := s.endVersion(s.at); err != nil {
		return nil, err
	}
	s.endChart()
	if s.place == inHeader {
		s.out.header = append(s.out.header, [2]int64{s.kept, s.at})
	}
	return s.out, nil
}
