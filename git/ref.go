package git

import (
	"context"
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
	// whose commit is the youngest is taken, which takes one more request, for
	// those commits alone. Where the server cannot give them alone, and of
	// commits of the same second, it is the last name in byte order.
	SemVer string
	// Name is a reference in full: refs/pull/42/head, or HEAD. With ^{} at its
	// end it is the commit that a tag leads to, without the tag.
	Name string
	// Commit is the hash of a commit, 40 hexadecimal digits in lower case, or
	// the first 7 or more of them, if only one commit that a reference leads to
	// now begins with them; for these all references are listed. Only the whole
	// hash pins a commit: others with the same first digits are easily made.
	// That a server gives it does not prove that it is, or ever was, on a branch
	// of this repository: forges share objects between forks.
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
	commit     string              // for Commit: its hash, or the beginning of it
	constraint *semver.Constraints // for SemVer
	full       string              // the reference's full name, for Name, Tag and Branch
	peel       bool                // for Name: what the reference leads to, not a tag
}

// parse checks a Ref before anything is sent.
func (r Ref) parse() (selector, error) {
	s := selector{ref: r}
	var err error
	switch {
	case r.Commit != "":
		s.commit, err = r.Commit, checkHash(r.Commit)
	case r.Name != "":
		if !strings.HasPrefix(r.Name, "refs/") && r.Name != "HEAD" {
			err = fmt.Errorf("%v is not a full name, which begins with refs/", r)
		}
		s.full, s.peel = strings.CutSuffix(r.Name, "^{}")
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

// prefixes are what the references begin with that may be meant; nil: all may.
func (s selector) prefixes() []string {
	switch {
	case s.commit != "":
		return nil
	case s.constraint != nil:
		return versionTags(s.constraint)
	case s.full == "" || s.full == "HEAD":
		return []string{"HEAD", branchPrefix + "main", branchPrefix + "master"}
	}
	return []string{s.full}
}

// family is what references of the kind that is asked for begin with.
func (s selector) family() string {
	switch {
	case s.constraint != nil:
		return tagPrefix
	case s.full == "" || s.full == "HEAD":
		return branchPrefix
	}
	return s.full[:strings.Index(s.full[len("refs/"):], "/")+len("refs/")+1]
}

// versionTags are what the tags begin with that can be in a range.
func versionTags(constraint *semver.Constraints) []string {
	prefixes := versionPrefixes(constraint)
	if len(prefixes) == 0 {
		return []string{tagPrefix}
	}
	for i, prefix := range prefixes {
		prefixes[i] = tagPrefix + prefix
	}
	return prefixes
}

// pick chooses from the references of a repository. The engine, if it is not
// nil, may be asked what the list does not say.
func (s selector) pick(ctx context.Context, e engine, adv *advertisement) (reference, error) {
	switch {
	case s.commit != "":
		return s.pickHash(adv)
	case s.constraint != nil:
		return s.pickVersion(ctx, e, adv)
	case s.full == "" || s.full == "HEAD":
		return pickHead(adv)
	}
	ref, ok := adv.find(s.full)
	if ok && s.peel {
		ref.id, ref.peeled = ref.target(), id{}
	}
	if ok {
		return ref, nil
	}
	prefix := "refs/"
	if s.ref.Name == "" {
		prefix = s.family()
	}
	have, close := similar(strings.TrimPrefix(s.full, prefix), adv.names(prefix))
	if s.ref.Name != "" {
		for i, name := range have {
			have[i] = `"refs/` + strings.TrimPrefix(name, `"`)
		}
	}
	return reference{}, &ReferenceError{Want: s.ref.String(), Have: have, Similar: close, kind: ErrReferenceNotFound}
}

// pickHash finds the commit of a short hash among those that the server lists.
func (s selector) pickHash(adv *advertisement) (reference, error) {
	var found []reference
	for _, ref := range adv.refs {
		target := ref.target()
		if !strings.HasPrefix(target.String(), s.commit) {
			continue
		}
		if !slices.ContainsFunc(found, func(r reference) bool { return r.id == target }) {
			found = append(found, reference{name: ref.name, id: target})
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	missing := &ReferenceError{
		Want: fmt.Sprintf("no reference leads to a commit that begins with %s; give the whole hash", s.commit), kind: ErrReferenceNotFound,
	}
	if len(found) > 1 {
		missing.Want = fmt.Sprintf("more than one commit begins with %s; give more of the hash", s.commit)
	}
	for _, ref := range found[:min(len(found), 5)] {
		missing.Have = append(missing.Have, ref.id.String())
	}
	return reference{}, missing
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
	if strings.HasPrefix(adv.head, "refs/") && validRefName(adv.head) { // it was not asked for by name
		return reference{name: adv.head, id: head.id, peeled: head.peeled}, nil
	}
	for _, name := range []string{"main", "master"} {
		if ref, ok := adv.find(branchPrefix + name); ok && ref.id == head.id {
			return ref, nil
		}
	}
	return head, nil
}

// release is a tag that is a version.
type release struct {
	name    string
	version *semver.Version
}

// releases are the tags that are full versions, those that a range allows apart.
func (s selector) releases(adv *advertisement) (matching, all []release) {
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
	return matching, all
}

func (s selector) pickVersion(ctx context.Context, e engine, adv *advertisement) (reference, error) {
	order := func(a, b release) int {
		if c := a.version.Compare(b.version); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	}
	matching, all := s.releases(adv)
	if len(matching) == 0 {
		// The newest say most about why nothing matches.
		slices.SortFunc(all, func(a, b release) int { return order(b, a) })
		var newest []string
		for _, r := range all[:min(len(all), 5)] {
			newest = append(newest, fmt.Sprintf("%q", r.name))
		}
		return reference{}, &ReferenceError{Want: s.ref.String(), Have: newest, kind: ErrNoMatch}
	}
	highest := slices.MaxFunc(matching, order)
	var tied []reference
	for _, r := range matching {
		if r.version.Compare(highest.version) == 0 {
			ref, _ := adv.find(tagPrefix + r.name)
			tied = append(tied, ref)
		}
	}
	slices.SortFunc(tied, func(a, b reference) int { return strings.Compare(b.name, a.name) })
	return youngest(ctx, e, tied)
}
