package repository

import (
	"bytes"
	"encoding/json"
	"strings"
)

// jsonScanner outlines an index in JSON, byte by byte. Outside of texts it takes
// only what JSON and YAML mean the same by; everything else is odd.
type jsonScanner struct {
	recorder
	at     int64
	stack  []byte // the brackets that are open
	hashed int

	inText, escaped bool
	wantKey         bool   // the next text in this object is a key
	isKey           bool   // the text that is open is one
	key             []byte // its bytes, quotes included
	keys            [3]string

	closed     bool
	kept       int64 // end of what is recorded as header
	sawEntries bool
}

// Depths in an index: {"entries": {"name": [{...}]}}.
const (
	atTop      = 1
	atCharts   = 2
	atVersions = 3
)

const maxKey = 1 << 10

func newJSONScanner(limits Limits) *jsonScanner { return &jsonScanner{recorder: newRecorder(limits)} }

func (s *jsonScanner) feed(piece []byte, _ bool) (int, error) {
	s.hashed = 0
	begin := s.at
	for i := 0; i < len(piece); i++ {
		if s.inText {
			n := s.text(piece[i:])
			i += n - 1
			s.at = begin + int64(i+1)
			if s.isKey && len(s.key) > maxKey {
				return 0, errOdd
			}
			continue
		}
		s.at = begin + int64(i)
		if err := s.take(piece, i); err != nil {
			return 0, err
		}
	}
	s.at = begin + int64(len(piece))
	if s.from >= 0 {
		s.sum.Write(piece[s.hashed:])
		if s.at-s.from > s.limits.VersionBytes {
			return 0, s.endVersion(s.at)
		}
	}
	return len(piece), nil
}

// text goes on in a text and returns how many bytes of it there are.
func (s *jsonScanner) text(p []byte) int {
	n := 0
	for n < len(p) && s.inText {
		switch {
		case s.escaped:
			s.escaped = false
			n++
		case p[n] == '\\':
			s.escaped = true
			n++
		case p[n] == '"':
			s.inText = false
			n++
		default:
			next := bytes.IndexAny(p[n:], "\"\\")
			if next < 0 {
				next = len(p) - n
			}
			n += next
		}
	}
	if s.isKey {
		s.key = append(s.key, p[:min(n, maxKey+1)]...)
	}
	return n
}

// inCharts says that the innermost bracket is below entries.
func (s *jsonScanner) inCharts() bool { return len(s.stack) >= atCharts && s.keys[atTop] == "entries" }

func (s *jsonScanner) take(piece []byte, i int) error {
	c := piece[i]
	if c == ' ' || c == '\n' || c == '\r' || c == '\t' {
		return nil
	}
	if s.closed {
		return errOdd
	}
	if err := s.begins(c, i); err != nil {
		return err
	}
	switch c {
	case '"':
		s.inText, s.isKey = true, s.wantKey && len(s.stack) <= atCharts
		s.key = append(s.key[:0], '"')
	case '{', '[':
		return s.open(c)
	case '}', ']':
		return s.close(c, piece, i)
	case ':':
		return s.colon()
	case ',':
		return s.comma(piece, i)
	default:
		if !strings.ContainsRune("0123456789+-.eEtrufalsn", rune(c)) {
			return errOdd
		}
	}
	return nil
}

// begins notes where a version begins, and that a value which matters is of the
// kind that it should be.
func (s *jsonScanner) begins(c byte, i int) error {
	switch {
	case len(s.stack) == 0:
		if c != '{' {
			return errOdd
		}
	case len(s.stack) == atTop && s.keys[atTop] == "entries" && !s.wantKey && c != '{' && c != '}' && c != ',' && c != ':':
		return errOdd
	case len(s.stack) == atCharts && s.inCharts() && !s.wantKey && c != '[' && c != '}' && c != ',' && c != ':':
		return errOdd
	case len(s.stack) == atVersions && s.inCharts() && s.from < 0 && c != ']' && c != ',':
		s.hashed = i
		return s.startVersion(s.at)
	}
	return nil
}

func (s *jsonScanner) open(c byte) error {
	if len(s.stack) >= s.limits.Nesting {
		return &LimitError{Limit: "Nesting", Max: int64(s.limits.Nesting)}
	}
	s.stack = append(s.stack, c)
	s.wantKey = c == '{'
	switch depth := len(s.stack); {
	case depth == atCharts && s.inCharts():
		if s.sawEntries {
			return errOdd
		}
		s.sawEntries = true
		s.out.header = append(s.out.header, [2]int64{s.kept, s.at})
	case depth == atVersions && s.inCharts():
		delete(s.out.charts, s.keys[atCharts]) // of two of one name the last counts
		return s.startChart(s.keys[atCharts])
	}
	return nil
}

func (s *jsonScanner) close(c byte, piece []byte, i int) error {
	if len(s.stack) == 0 || s.stack[len(s.stack)-1] != c-2 { // '{' and '[' are 2 before '}' and ']'
		return errOdd
	}
	switch depth := len(s.stack); {
	case depth == atVersions && s.inCharts():
		if err := s.closeVersion(piece, i); err != nil {
			return err
		}
		s.endChart()
	case depth == atCharts && s.inCharts():
		s.kept = s.at + 1
	case depth == atTop:
		s.closed = true
		s.out.header = append(s.out.header, [2]int64{s.kept, s.at + 1})
	}
	s.stack = s.stack[:len(s.stack)-1]
	s.wantKey = false
	return nil
}

func (s *jsonScanner) closeVersion(piece []byte, i int) error {
	if s.from < 0 {
		return nil
	}
	s.sum.Write(bytes.TrimRight(piece[s.hashed:i], " \t\r\n"))
	return s.endVersion(s.at)
}

func (s *jsonScanner) colon() error {
	depth := len(s.stack)
	if s.stack[depth-1] != '{' || !s.wantKey {
		return errOdd
	}
	s.wantKey = false
	if depth > atCharts {
		return nil
	}
	var key string
	if json.Unmarshal(s.key, &key) != nil {
		return errOdd
	}
	if depth == atTop && key != "entries" && strings.EqualFold(key, "entries") {
		return errOdd // Helm does not care about the case
	}
	s.keys[depth] = key
	return nil
}

func (s *jsonScanner) comma(piece []byte, i int) error {
	depth := len(s.stack)
	if depth == atVersions && s.inCharts() {
		return s.closeVersion(piece, i)
	}
	s.wantKey = s.stack[depth-1] == '{'
	return nil
}

func (s *jsonScanner) end() (*outline, error) {
	if !s.closed || s.inText {
		return nil, errOdd
	}
	s.out.json = true
	return s.out, nil
}
