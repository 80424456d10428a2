package artifact

import (
	"math/bits"
	"strings"
)

// A glob is a pattern of an ignore file, as Git reads it: over bytes, with "*",
// "?" and classes that match no slash, and "**" between slashes for any number of
// directories. All ways to match are followed at once, so the time is bounded by
// the length of the pattern times that of the name, whatever the pattern.
type glob struct {
	prefix string // what comes before the first special character
	steps  []step // what comes after it
	star   bool   // the steps are one star and suffix, which is faster to see
	suffix string
	never  bool // it is malformed, which for Git means that it matches nothing
}

type step struct {
	kind stepKind
	char byte
	set  *charSet
}

type stepKind byte

const (
	oneChar stepKind = iota
	anyChar          // but no slash
	oneOf            // but no slash
	anyName          // of any length, without a slash
	anyPath          // of any length
	perhaps          // leaves out the two steps that follow it, or not
)

// charSet is a set of bytes.
type charSet [4]uint64

func (s *charSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *charSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

const special = "*?[\\"

// newGlob compiles a pattern.
func newGlob(pattern string) glob {
	n := strings.IndexAny(pattern, special)
	if n < 0 {
		return glob{prefix: pattern}
	}
	g := glob{prefix: pattern[:n]}
	rest := pattern[n:]
	if rest[0] == '*' && !strings.ContainsAny(rest[1:], special+"/") {
		g.star, g.suffix = true, rest[1:]
	}
	// What comes before is known to have matched, which has an effect on what
	// "**" means: Git sees it at a beginning.
	for i := 0; i < len(rest) && !g.never; {
		i = g.compile(rest, i)
	}
	return g
}

// compile adds the step that begins at i, and returns where the next one does.
func (g *glob) compile(p string, i int) int {
	switch p[i] {
	case '*':
		return g.stars(p, i)
	case '?':
		g.steps = append(g.steps, step{kind: anyChar})
	case '[':
		set, next := parseClass(p, i+1)
		g.never = set == nil
		g.steps = append(g.steps, step{kind: oneOf, set: set})
		return next
	case '\\':
		if i++; i == len(p) {
			g.never = true
			return i
		}
		fallthrough
	default:
		g.steps = append(g.steps, step{char: p[i]})
	}
	return i + 1
}

// stars adds one star or a row of them.
func (g *glob) stars(p string, i int) int {
	end := i
	for end < len(p) && p[end] == '*' {
		end++
	}
	after := p[end:]
	alone := (i == 0 || p[i-1] == '/') && (after == "" || after[0] == '/' || strings.HasPrefix(after, `\/`))
	switch {
	case end-i == 1 || !alone:
		g.steps = append(g.steps, step{kind: anyName})
	case after != "" && after[0] == '/': // any directories, or none and no slash
		g.steps = append(g.steps, step{kind: perhaps}, step{kind: anyPath}, step{char: '/'})
		end++
	default:
		g.steps = append(g.steps, step{kind: anyPath})
	}
	return end
}

// match says whether the whole name matches.
func (g *glob) match(name string, s *sets) bool {
	s.cost++
	rest, ok := strings.CutPrefix(name, g.prefix)
	switch {
	case !ok || g.never:
		return false
	case len(g.steps) == 0:
		return rest == ""
	case g.star:
		return strings.HasSuffix(rest, g.suffix) && strings.IndexByte(rest[:len(rest)-len(g.suffix)], '/') < 0
	}
	s.size(len(g.steps) + 1)
	g.enter(s.now, 0)
	for i := range len(rest) {
		clear(s.next)
		if !g.advance(s, rest[i]) {
			return false
		}
		s.now, s.next = s.next, s.now
	}
	return s.now.has(len(g.steps))
}

// advance goes from every step that can be reached to those behind a character,
// and reports whether there are any.
func (g *glob) advance(s *sets, c byte) (alive bool) {
	for w, word := range s.now {
		s.cost++
		for ; word != 0; word &= word - 1 {
			at := w<<6 + bits.TrailingZeros64(word)
			s.cost++
			if at == len(g.steps) {
				continue
			}
			stay, on := g.steps[at].takes(c)
			if stay {
				g.enter(s.next, at)
			}
			if on {
				g.enter(s.next, at+1)
			}
			alive = alive || stay || on
		}
	}
	return alive
}

// takes says whether a step takes a character and stays, or goes on with it.
func (s step) takes(c byte) (stay, on bool) {
	switch s.kind {
	case anyChar:
		return false, c != '/'
	case oneOf:
		return false, c != '/' && s.set.has(c)
	case anyName:
		return c != '/', false
	case anyPath:
		return true, false
	case perhaps:
		return false, false
	default:
		return false, s.char == c
	}
}

// enter adds a step and those that can be reached from it without a character.
func (g *glob) enter(set stepSet, at int) {
	for !set.has(at) {
		set.add(at)
		if at == len(g.steps) {
			return
		}
		switch g.steps[at].kind {
		case perhaps:
			g.enter(set, at+3)
		case anyName, anyPath:
		default:
			return
		}
		at++
	}
}

// sets is the memory of match, which is used again and again.
type sets struct {
	now, next stepSet
	cost      int64 // of all matches so far
}

func (s *sets) size(n int) {
	words := n>>6 + 1
	if cap(s.now) < words {
		s.now, s.next = make(stepSet, words), make(stepSet, words)
	}
	s.now, s.next = s.now[:words], s.next[:words]
	clear(s.now)
}

// stepSet is a set of steps by number.
type stepSet []uint64

func (s stepSet) has(i int) bool { return s[i>>6]&(1<<(i&63)) != 0 }
func (s stepSet) add(i int)      { s[i>>6] |= 1 << (i & 63) }

// parseClass reads a class from behind its bracket, and returns where it ends;
// nil if it is malformed.
func parseClass(p string, i int) (*charSet, int) {
	at := func(i int) byte { // zero stands for the end, as in Git
		if i < len(p) {
			return p[i]
		}
		return 0
	}
	set := new(charSet)
	negated := at(i) == '!' || at(i) == '^'
	if negated {
		i++
	}
	var last byte // what a range may begin with
	for first := true; first || at(i) != ']'; first = false {
		c := at(i)
		switch {
		case c == 0:
			return nil, i
		case c == '-' && last != 0 && at(i+1) != 0 && at(i+1) != ']':
			if i++; at(i) == '\\' {
				i++
			}
			if at(i) == 0 {
				return nil, i
			}
			for x := int(last); x <= int(at(i)); x++ {
				set.add(byte(x))
			}
			last = 0
		case c == '[' && at(i+1) == ':':
			end := strings.IndexByte(p[i+2:], ']')
			if end < 0 {
				return nil, i
			}
			name, ok := strings.CutSuffix(p[i+2:i+2+end], ":")
			if !ok { // an ordinary bracket
				set.add('[')
				last = '['
				break
			}
			if !set.addNamed(name) {
				return nil, i
			}
			i += 2 + end
			last = 0
		default:
			if c == '\\' {
				if i++; at(i) == 0 {
					return nil, i
				}
			}
			last = at(i)
			set.add(last)
		}
		i++
	}
	if negated {
		for w := range set {
			set[w] = ^set[w]
		}
	}
	return set, i + 1
}

// addNamed adds a class of characters, as the C locale has them.
func (s *charSet) addNamed(name string) bool {
	in := map[string]func(c byte) bool{
		"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
		"alpha":  isAlpha,
		"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
		"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
		"digit":  isDigit,
		"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
		"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
		"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
		"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !isAlpha(c) && !isDigit(c) },
		"space":  func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' },
		"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
		"xdigit": func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
	}[name]
	if in == nil {
		return false
	}
	for c := range 256 {
		if in(byte(c)) {
			s.add(byte(c))
		}
	}
	return true
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
