package git

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Ref says what is wanted of a repository. If several fields are set, the
// first of Commit, Name, SemVer, Tag and Branch counts and the others are
// ignored. The zero value is the branch that the repository's HEAD names.
type Ref struct {
	// Branch is a branch by its short name: main.
	Branch string
	// Tag is a tag by its short name: v1.2.3. It may be lightweight or
	// annotated.
	Tag string
	// SemVer is a range in the syntax of github.com/Masterminds/semver:
	// ">=1.2.0 <2.0.0", "~1.4", "*". The highest tag in it is taken. Tags
	// count that are a full version, with or without a v in front; the others
	// are ignored. Pre-releases count only if the range names one, as in
	// ">=1.0.0-0". Of tags that are equal but for their build metadata the one
	// with the last name, in byte order, is taken.
	SemVer string
	// Name is a reference in full: refs/pull/42/head.
	Name string
	// Commit is the full hash of a commit, 40 hexadecimal digits in lower
	// case. That a server gives it does not prove that it is, or ever was, on
	// a branch of this repository: forges share objects between forks.
	Commit string
}

// String says which of the fields counts, for messages.
func (r Ref) String() string {
	switch {
	case r.Commit != "":
		return "commit " + clip(r.Commit)
	case r.Name != "":
		return fmt.Sprintf("reference %q", clip(r.Name))
	case r.SemVer != "":
		return fmt.Sprintf("SemVer range %q", clip(r.SemVer))
	case r.Tag != "":
		return fmt.Sprintf("tag %q", clip(r.Tag))
	case r.Branch != "":
		return fmt.Sprintf("branch %q", clip(r.Branch))
	}
	return "HEAD"
}

// selector is a Ref that was found to make sense.
type selector struct {
	ref        Ref
	commit     id                  // for Commit
	constraint *semver.Constraints // for SemVer
	full       string              // the reference's full name, for Name, Tag and Branch
}

// parse checks a Ref before anything is sent.
func (r Ref) parse() (selector, error) {
	s := selector{ref: r}
	var err error
	switch {
	case r.Commit != "":
		s.commit, err = parseID(r.Commit)
	case r.Name != "":
		if !strings.HasPrefix(r.Name, "refs/") && r.Name != "HEAD" {
			err = fmt.Errorf("%v is not a full name, which begins with refs/", r)
		}
		s.full = r.Name
	case r.SemVer != "":
		const longest = 256
		if len(r.SemVer) > longest {
			err = fmt.Errorf("the SemVer range is longer than %d bytes", longest)
			break
		}
		s.constraint, err = semver.NewConstraint(r.SemVer)
		if err != nil {
			err = fmt.Errorf("%v: %s; a range reads like >=1.0.0 <2.0.0, ~1.2 or ^1", r, clip(err.Error()))
		}
	case r.Tag != "":
		s.full = tagPrefix + r.Tag
	case r.Branch != "":
		s.full = branchPrefix + r.Branch
	}
	if err == nil && s.full != "" && !validRefName(s.full) {
		err = fmt.Errorf("%v cannot be the name of a reference", r)
	}
	if err != nil {
		return selector{}, fmt.Errorf("%w: %w", ErrInvalidRef, err)
	}
	return s, nil
}

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
)

// pick chooses from the references of a repository.
func (s selector) pick(adv *advertisement) (reference, error) {
	switch {
	case s.constraint != nil:
		return s.pickVersion(adv)
	case s.full == "" || s.full == "HEAD":
		return pickHead(adv)
	}
	if ref, ok := adv.find(s.full); ok {
		return ref, nil
	}
	prefix := "refs/"
	if s.ref.Name == "" {
		prefix = s.full[:strings.Index(s.full[len("refs/"):], "/")+len("refs/")+1]
	}
	have, close := similar(strings.TrimPrefix(s.full, prefix), adv.names(prefix))
	if s.ref.Name != "" {
		for i, name := range have {
			have[i] = `"refs/` + strings.TrimPrefix(name, `"`)
		}
	}
	return reference{}, &ReferenceError{Want: s.ref.String(), Have: have, Similar: close, kind: ErrReferenceNotFound}
}

// pickHead is the branch that HEAD names. A server too old to say which, and a
// detached HEAD, leave it to be found by its commit.
func pickHead(adv *advertisement) (reference, error) {
	if ref, ok := adv.find(adv.head); ok && adv.head != "" {
		return ref, nil
	}
	head, ok := adv.find("HEAD")
	if !ok {
		have, _ := similar("", adv.names(branchPrefix))
		return reference{}, &ReferenceError{Want: "HEAD names no branch that is there", Have: have, kind: ErrReferenceNotFound}
	}
	for _, name := range []string{"main", "master"} {
		if ref, ok := adv.find(branchPrefix + name); ok && ref.id == head.id {
			return ref, nil
		}
	}
	return head, nil
}

func (s selector) pickVersion(adv *advertisement) (reference, error) {
	type release struct {
		name    string
		version *semver.Version
	}
	var matching, all []release
	for _, name := range adv.names(tagPrefix) {
		version, err := semver.StrictNewVersion(strings.TrimPrefix(name, "v"))
		if err != nil {
			continue
		}
		r := release{name, version}
		all = append(all, r)
		if s.constraint.Check(version) {
			matching = append(matching, r)
		}
	}
	order := func(a, b release) int {
		if c := a.version.Compare(b.version); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	}
	if len(matching) == 0 {
		// The newest say most about why nothing matches.
		slices.SortFunc(all, func(a, b release) int { return order(b, a) })
		var newest []string
		for _, r := range all[:min(len(all), 5)] {
			newest = append(newest, fmt.Sprintf("%q", r.name))
		}
		return reference{}, &ReferenceError{Want: s.ref.String(), Have: newest, kind: ErrNoMatch}
	}
	ref, _ := adv.find(tagPrefix + slices.MaxFunc(matching, order).name)
	return ref, nil
}
