package git

import (
	"fmt"
	"strings"
)

// reference is a name that a repository gives to an object.
type reference struct {
	name string // in full
	id   id
	// peeled is the object that an annotated tag leads to; zero if it is none.
	peeled id
}

// target is the commit that a reference leads to.
func (r reference) target() id {
	if r.peeled.isZero() {
		return r.id
	}
	return r.peeled
}

// short is the name of a branch or tag without its prefix, else the full name.
func (r reference) short() string {
	for _, prefix := range []string{branchPrefix, tagPrefix} {
		// A short name that looks like a full one would be taken for it.
		if short, ok := strings.CutPrefix(r.name, prefix); ok && !strings.HasPrefix(short, "refs/") && short != "HEAD" {
			return short
		}
	}
	return r.name
}

// advertisement is what a server says first: its references and what it can do.
type advertisement struct {
	refs  []reference
	index map[string]int
	head  string // the reference that HEAD is a link to, if the server says so
	caps  capabilities

	lim  Limits
	left int64 // bytes that may still come
}

// capabilities are what a server can do, with values.
type capabilities map[string]string

func (c capabilities) has(name string) bool {
	_, ok := c[name]
	return ok
}

func (a *advertisement) find(name string) (reference, bool) {
	i, ok := a.index[name]
	if !ok {
		return reference{}, false
	}
	return a.refs[i], true
}

// names returns the names below a prefix, without it.
func (a *advertisement) names(prefix string) []string {
	var names []string
	for _, r := range a.refs {
		if name, ok := strings.CutPrefix(r.name, prefix); ok {
			names = append(names, name)
		}
	}
	return names
}

// leadingTo returns a reference that leads to a commit: the one of that name if
// there is one, otherwise any.
func (a *advertisement) leadingTo(commit id, name string) (reference, bool) {
	for _, full := range []string{name, tagPrefix + name, branchPrefix + name} {
		if ref, ok := a.find(full); ok && ref.target() == commit {
			return ref, true
		}
	}
	for _, ref := range a.refs {
		if ref.target() == commit {
			return ref, true
		}
	}
	return reference{}, false
}

func newAdvertisement(lim Limits) *advertisement {
	return &advertisement{index: map[string]int{}, lim: lim, left: int64(lim.References)*256 + 1<<20}
}

// readAdvertisement reads the list of references in protocol version 0, of which
// the first packet was read.
func readAdvertisement(line string, m mark, packets *packetReader, lim Limits) (*advertisement, error) {
	adv := newAdvertisement(lim)
	var err error
	if line == "version 1" && m == data {
		if line, m, err = packets.line(); err != nil {
			return nil, err
		}
	}
	line, caps, _ := strings.Cut(line, "\x00")
	if err := adv.readCapabilities(caps); err != nil {
		return nil, err
	}
	for m == data {
		if err := adv.spend(line); err != nil {
			return nil, err
		}
		if err := adv.add(line); err != nil {
			return nil, err
		}
		if line, m, err = packets.line(); err != nil {
			return nil, err
		}
	}
	switch {
	case m != flush:
		return nil, errNoEnd
	case len(adv.refs) == 0:
		return nil, ErrEmptyRepository
	}
	return adv, nil
}

// readRefs reads the list of references in protocol version 2.
func readRefs(packets *packetReader, caps capabilities, lim Limits) (*advertisement, error) {
	adv := newAdvertisement(lim)
	adv.caps = caps
	for {
		line, m, err := packets.line()
		if err != nil {
			return nil, err
		}
		if m == flush {
			return adv, nil
		}
		if m != data {
			return nil, errNoEnd
		}
		if err := adv.spend(line); err != nil {
			return nil, err
		}
		if err := adv.addWithAttributes(line); err != nil {
			return nil, err
		}
	}
}

var errNoEnd = fmt.Errorf("%w: a list of references without an end", ErrProtocol)

// spend counts the bytes of a list.
func (a *advertisement) spend(line string) error {
	if a.left -= int64(len(line)) + 4; a.left < 0 {
		return &LimitError{"References", int64(a.lim.References)}
	}
	return nil
}

func (a *advertisement) readCapabilities(text string) error {
	a.caps = capabilities{}
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		a.caps[name] = value
		if target, ok := strings.CutPrefix(value, "HEAD:"); ok && name == "symref" {
			a.head = target
		}
	}
	return checkFormat(a.caps)
}

// checkFormat refuses repositories whose objects are not named by SHA-1.
func checkFormat(caps capabilities) error {
	if format := caps["object-format"]; format != "" && format != "sha1" {
		return fmt.Errorf("%w: the repository uses %s; only SHA-1 repositories can be read", ErrObjectFormat, clip(format))
	}
	return nil
}

// add takes a line of version 0: an id, a space and a name, which for the target
// of an annotated tag is the name of the tag and ^{}.
func (a *advertisement) add(line string) error {
	if strings.HasPrefix(line, "shallow ") {
		return nil // the server's own history is cut off: nothing to us
	}
	hash, name, ok := strings.Cut(line, " ")
	target, err := parseID(hash)
	if !ok || err != nil {
		return malformedRef(line)
	}
	if name == "capabilities^{}" && target.isZero() {
		return nil // there are no references, only capabilities
	}
	if tag, ok := strings.CutSuffix(name, "^{}"); ok {
		last := len(a.refs) - 1
		if last < 0 || a.refs[last].name != tag {
			return malformedRef(line)
		}
		a.refs[last].peeled = target
		return nil
	}
	return a.put(line, reference{name: name, id: target})
}

// addWithAttributes takes a line of version 2: an id, a name and attributes.
func (a *advertisement) addWithAttributes(line string) error {
	fields := strings.Split(line, " ")
	if len(fields) < 2 {
		return malformedRef(line)
	}
	ref := reference{name: fields[1]}
	var err error
	if fields[0] != "unborn" {
		if ref.id, err = parseID(fields[0]); err != nil {
			return malformedRef(line)
		}
	}
	for _, attribute := range fields[2:] {
		key, value, _ := strings.Cut(attribute, ":")
		switch {
		case key == "symref-target" && ref.name == "HEAD":
			a.head = value
		case key == "peeled":
			if ref.peeled, err = parseID(value); err != nil {
				return malformedRef(line)
			}
		}
	}
	if fields[0] == "unborn" {
		return nil // HEAD names a branch without commits
	}
	return a.put(line, ref)
}

func malformedRef(line string) error {
	return fmt.Errorf("%w: malformed reference %q", ErrProtocol, clip(line))
}

func (a *advertisement) put(line string, ref reference) error {
	if ref.name != "HEAD" && !strings.HasPrefix(ref.name, "refs/") || !validRefName(ref.name) || ref.id.isZero() {
		return malformedRef(line)
	}
	if _, twice := a.index[ref.name]; twice {
		return fmt.Errorf("%w: reference %q twice", ErrProtocol, clip(ref.name))
	}
	if len(a.refs) >= a.lim.References {
		return &LimitError{"References", int64(a.lim.References)}
	}
	a.index[ref.name] = len(a.refs)
	a.refs = append(a.refs, ref)
	return nil
}

// serverError makes an error of what a server says to people.
func serverError(message string) error {
	text := clip(message)
	lower := strings.ToLower(text)
	for _, sign := range []struct {
		part string
		kind error
	}{
		{"not our ref", ErrCommitUnavailable},
		{"unadvertised object", ErrCommitUnavailable},
		{"not found", ErrRepositoryNotFound},
		{"does not appear to be a git repository", ErrRepositoryNotFound},
		{"does not exist", ErrRepositoryNotFound},
		{"no such", ErrRepositoryNotFound},
		{"could not be found", ErrRepositoryNotFound},
		{"permission denied", ErrAuthRefused},
		{"access denied", ErrAuthRefused},
		{"not authorized", ErrAuthRefused},
	} {
		if strings.Contains(lower, sign.part) {
			return fmt.Errorf("%w: the server says %q", sign.kind, text)
		}
	}
	return fmt.Errorf("%w: the server says %q", ErrProtocol, text)
}
