package git

import (
	"fmt"
	"strings"
)

// Revision is an exact state of a repository: a commit, and the reference that
// led to it. It is comparable.
type Revision struct {
	// Name is the reference: a branch or tag by its short name, and in full
	// (refs/pull/1/head) if that is how it was asked for, with [Ref.Name]. Empty
	// if a commit was asked for. With ^{} at its end it is what a tag leads to.
	Name string
	// Commit is its hash, 40 hexadecimal digits in lower case.
	Commit string
	// Tag is the hash of the annotated tag that Name is, empty if it is none.
	// It is not part of the text form.
	Tag string
}

// String returns the text form: main@sha1:<hex>, v1.2.3@sha1:<hex>,
// refs/pull/1/head@sha1:<hex>, or sha1:<hex> where there is no name. That of
// the zero value is empty.
func (r Revision) String() string {
	switch {
	case r.Commit == "":
		return ""
	case r.Name == "":
		return "sha1:" + r.Commit
	}
	return r.Name + "@sha1:" + r.Commit
}

// ParseRevision reads the text form of a revision. Its errors are
// [ErrInvalidRef].
func ParseRevision(s string) (Revision, error) {
	name, hash := "", s
	// A name may hold an @, so the last one counts.
	if i := strings.LastIndex(s, "@"); i >= 0 {
		name, hash = s[:i], s[i+1:]
		if !validName(name) {
			return Revision{}, fmt.Errorf("%w: revision %q: %q is not the name of a reference", ErrInvalidRef, clip(s), clip(name))
		}
	}
	hash, ok := strings.CutPrefix(hash, "sha1:")
	if !ok {
		return Revision{}, fmt.Errorf("%w: revision %q: write name@sha1:<hex> or sha1:<hex>", ErrInvalidRef, clip(s))
	}
	r := Revision{Name: name, Commit: hash}
	if _, _, err := r.ids(); err != nil {
		return Revision{}, err
	}
	return r, nil
}

// ids returns the commit and the tag in binary form.
func (r Revision) ids() (commit, tag id, err error) {
	commit, err = parseID(r.Commit)
	if err == nil && r.Tag != "" {
		tag, err = parseID(r.Tag)
	}
	if err == nil && r.Name != "" && !validName(r.Name) {
		err = fmt.Errorf("%q is not the name of a reference", clip(r.Name))
	}
	if err != nil {
		return id{}, id{}, fmt.Errorf("%w: %w", ErrInvalidRef, err)
	}
	return commit, tag, nil
}

// validName says whether a revision can have the name: a reference, or what one
// leads to.
func validName(name string) bool { return validRefName(strings.TrimSuffix(name, "^{}")) }

// validRefName says whether git would accept the name, short or full, by the
// rules of git check-ref-format.
func validRefName(name string) bool {
	const longest = 1024
	if name == "" || len(name) > longest || name == "@" || name[0] == '-' || strings.HasSuffix(name, ".") {
		return false
	}
	if strings.Contains(name, "..") || strings.Contains(name, "@{") {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}
