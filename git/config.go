package git

import (
	"errors"
	"fmt"
	"strings"
)

// setting is a line of a file in the format of git-config.
type setting struct {
	section, name, key, value string // section and key in lower case
}

// parseConfig reads a file in the format of git-config, as git does, and refuses
// what git refuses. It includes no other files.
func parseConfig(raw []byte) ([]setting, error) {
	p := &configParser{rest: strings.TrimPrefix(string(raw), "\ufeff"), line: 1}
	p.rest = strings.ReplaceAll(p.rest, "\r\n", "\n")
	for p.rest != "" {
		if err := p.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	return p.settings, nil
}

// configParser is what is left to read.
type configParser struct {
	rest     string
	line     int
	section  string
	name     string
	settings []setting
}

// next reads one piece: space, a comment, the head of a section or a setting.
func (p *configParser) next() error {
	switch c := p.rest[0]; {
	case c == '\n':
		p.line++
		p.rest = p.rest[1:]
	case isConfigSpace(c):
		p.rest = p.rest[1:]
	case c == '#' || c == ';':
		p.skipLine()
	case c == '[':
		return p.head()
	case isLetter(c):
		return p.setting()
	default:
		return fmt.Errorf("unexpected %q", clip(p.rest[:1]))
	}
	return nil
}

// skipLine goes to the end of the line.
func (p *configParser) skipLine() {
	i := strings.IndexByte(p.rest, '\n')
	if i < 0 {
		i = len(p.rest)
	}
	p.rest = p.rest[i:]
}

// head reads [section] or [section "name"].
func (p *configParser) head() error {
	i := 1
	for i < len(p.rest) && (isKeyByte(p.rest[i]) || p.rest[i] == '.') {
		i++
	}
	// The name may also be behind a dot, an old form.
	p.section, p.name, _ = strings.Cut(strings.ToLower(p.rest[1:i]), ".")
	rest := p.rest[i:]
	if quoted := strings.TrimLeft(rest, " \t"); len(quoted) < len(rest) && strings.HasPrefix(quoted, `"`) {
		name, after, ok := subsection(quoted[1:])
		if !ok {
			return errors.New("the name of a section has no end")
		}
		p.name, rest = strings.TrimPrefix(p.name+"."+name, "."), after
	}
	if !strings.HasPrefix(rest, "]") || i == 1 {
		return errors.New("the head of a section is malformed")
	}
	p.rest = rest[1:]
	return nil
}

// subsection reads a name up to its closing quote.
func subsection(s string) (name, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\n', 0:
			return "", "", false
		case '\\':
			if i++; i == len(s) || s[i] == '\n' {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// setting reads a key and its value. A key alone has an empty one.
func (p *configParser) setting() (err error) {
	i := 0
	for i < len(p.rest) && isKeyByte(p.rest[i]) {
		i++
	}
	s := setting{section: p.section, name: p.name, key: strings.ToLower(p.rest[:i])}
	p.rest = strings.TrimLeft(p.rest[i:], " \t")
	switch {
	case p.section == "":
		err = errors.New("a key before the first section")
	case strings.HasPrefix(p.rest, "="):
		p.rest = p.rest[1:]
		s.value, err = p.value()
	case p.rest != "" && p.rest[0] != '\n':
		err = fmt.Errorf("no = behind %q", clip(s.key))
	}
	p.settings = append(p.settings, s)
	return err
}

// value reads the rest of a line, or of several, without the space around it.
func (p *configParser) value() (string, error) {
	var value []byte
	quoted, kept := false, 0 // kept: as long as the value is if it ends here
	for p.rest != "" && p.rest[0] != '\n' {
		c := p.rest[0]
		if !quoted && (c == '#' || c == ';') {
			p.skipLine()
			break
		}
		p.rest = p.rest[1:]
		switch {
		case c == 0:
			return "", errors.New("a zero byte in a value")
		case c == '"':
			quoted = !quoted
		case !quoted && isConfigSpace(c):
			if kept > 0 {
				value = append(value, c)
			}
			continue
		case c == '\\':
			more, err := p.escape()
			if err != nil {
				return "", err
			}
			value = append(value, more...)
		default:
			value = append(value, c)
		}
		kept = len(value)
	}
	if quoted {
		return "", errors.New("a quote is left open")
	}
	return string(value[:kept]), nil
}

// escape reads what is behind a backslash. At the end of a line it stands for
// nothing: the value goes on.
func (p *configParser) escape() (string, error) {
	if p.rest == "" {
		return "", errors.New("a backslash at the end")
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	switch c {
	case '\n':
		p.line++
		return "", nil
	case '\\', '"':
		return string(c), nil
	case 't':
		return "\t", nil
	case 'n':
		return "\n", nil
	case 'b':
		return "\b", nil
	}
	return "", errors.New("unknown escape in a value")
}

func isConfigSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
func isLetter(c byte) bool      { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isKeyByte(c byte) bool     { return isLetter(c) || c >= '0' && c <= '9' || c == '-' }
