package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// readAdvertisement reads the list of references in protocol version 0.
func readAdvertisement(packets *packetReader, lim Limits) (*advertisement, error) {
	adv := &advertisement{index: map[string]int{}}
	allowed := int64(lim.References)*256 + 1<<20
	for first := true; ; {
		line, flush, err := packets.next()
		if err != nil {
			if errors.Is(err, io.EOF) && first {
				return nil, err
			}
			return nil, readError(err)
		}
		if flush {
			if len(adv.refs) == 0 {
				return nil, ErrEmptyRepository
			}
			return adv, nil
		}
		if allowed -= int64(len(line)) + 4; allowed < 0 {
			return nil, &LimitError{"References", int64(lim.References)}
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if first && string(line) == "version 1" {
			continue
		}
		if first {
			text, caps, _ := bytes.Cut(line, []byte{0})
			if err := adv.readCapabilities(string(caps)); err != nil {
				return nil, err
			}
			line, first = text, false
		}
		if err := adv.add(string(line), lim); err != nil {
			return nil, err
		}
	}
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
	if format := a.caps["object-format"]; format != "" && format != "sha1" {
		return fmt.Errorf("%w: the repository uses %s; only SHA-1 repositories can be read", ErrObjectFormat, clip(format))
	}
	return nil
}

// add takes a line: an id, a space and a name, which for the target of an
// annotated tag is the name of the tag and ^{}.
func (a *advertisement) add(line string, lim Limits) error {
	if strings.HasPrefix(line, "shallow ") {
		return nil // the server's own history is cut off: nothing to us
	}
	malformed := func() error { return fmt.Errorf("%w: malformed reference %q", ErrProtocol, clip(line)) }
	hash, name, ok := strings.Cut(line, " ")
	target, err := parseID(hash)
	if !ok || err != nil {
		return malformed()
	}
	if name == "capabilities^{}" && target.isZero() {
		return nil // there are no references, only capabilities
	}
	if tag, ok := strings.CutSuffix(name, "^{}"); ok {
		last := len(a.refs) - 1
		if last < 0 || a.refs[last].name != tag {
			return malformed()
		}
		a.refs[last].peeled = target
		return nil
	}
	if name != "HEAD" && !strings.HasPrefix(name, "refs/") || !validRefName(name) || target.isZero() {
		return malformed()
	}
	if _, twice := a.index[name]; twice {
		return fmt.Errorf("%w: reference %q twice", ErrProtocol, clip(name))
	}
	if len(a.refs) >= lim.References {
		return &LimitError{"References", int64(lim.References)}
	}
	a.index[name] = len(a.refs)
	a.refs = append(a.refs, reference{name: name, id: target})
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
