package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Ref says which artifact of a repository is meant. Digest wins over SemVer, and
// SemVer over Tag. The zero value is the tag "latest".
type Ref struct {
	// Digest of the manifest.
	Digest digest.Digest
	// SemVer is a range of versions, such as "1.x" or ">=1.0.0-0 <2.0.0": the
	// highest tag in it. In tags "_" stands for "+", which they cannot hold.
	SemVer string
	// SemVerFilter is a regular expression that a tag has to match to be looked at.
	SemVerFilter string
	// Tag by its name.
	Tag string
}

// Revision is what a [Ref] meant at some moment.
type Revision struct {
	Tag    string // empty for a digest
	Digest digest.Digest
}

// String returns <tag>@<digest>, or the digest alone.
func (r Revision) String() string {
	if r.Tag == "" {
		return r.Digest.String()
	}
	return r.Tag + "@" + r.Digest.String()
}

// Resolve asks the registry what a reference means. It reads no manifest. If there
// is no such tag or digest, the error matches fs.ErrNotExist; if no tag is in the
// range, it is a [*NoMatchError].
func (r *Repository) Resolve(ctx context.Context, ref Ref) (Revision, error) {
	switch {
	case ref.Digest != "":
		if err := checkDigest(ref.Digest); err != nil {
			return Revision{}, &RefError{"Digest", clip.Quote(ref.Digest.String(), 200), err.Error()}
		}
		_, err := r.resolve(ctx, ref.Digest.String())
		return Revision{Digest: ref.Digest}, err
	case ref.SemVer != "":
		tag, err := r.highest(ctx, ref)
		if err != nil {
			return Revision{}, err
		}
		return r.resolve(ctx, tag)
	default:
		return r.resolve(ctx, cmp.Or(ref.Tag, "latest"))
	}
}

var tagName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

func checkTag(tag string) error {
	if !tagName.MatchString(tag) {
		return &RefError{"Tag", clip.Quote(tag, 200), "letters, digits, \"_\", \".\" and \"-\", at most 128, make a tag"}
	}
	return nil
}

func checkDigest(d digest.Digest) error {
	if d.Validate() != nil {
		return errors.New("not a digest such as sha256:<64 hexadecimal digits>")
	}
	return nil
}

func (r *Repository) resolve(ctx context.Context, name string) (Revision, error) {
	rev := Revision{Tag: name}
	if strings.Contains(name, ":") {
		rev.Tag = ""
	} else if err := checkTag(name); err != nil {
		return Revision{}, err
	}
	desc, err := r.remote.Manifests().Resolve(ctx, name)
	if err != nil {
		return Revision{}, r.fail("resolve "+name+" in", err)
	}
	rev.Digest = desc.Digest
	if err := checkDigest(rev.Digest); err != nil {
		return Revision{}, r.fail("resolve "+name+" in", err)
	}
	return rev, nil
}

// highest returns the tag with the highest version in a range.
func (r *Repository) highest(ctx context.Context, ref Ref) (string, error) {
	within, err := semver.NewConstraint(ref.SemVer)
	if err != nil || len(ref.SemVer) > 1024 {
		return "", &RefError{"SemVer", clip.Quote(ref.SemVer, 200), "not a range of versions"}
	}
	filter, err := regexp.Compile(ref.SemVerFilter)
	if err != nil || len(ref.SemVerFilter) > 1024 {
		return "", &RefError{"SemVerFilter", clip.Quote(ref.SemVerFilter, 200), "not a regular expression"}
	}
	tags, err := r.Tags(ctx)
	if err != nil {
		return "", err
	}
	if tag := highestTag(tags, within, filter); tag != "" {
		return tag, nil
	}
	return "", &NoMatchError{r.String(), clip.Quote(ref.SemVer, 200), len(tags)}
}

// highestTag goes by precedence, and by the text where that leaves a choice, so
// that the order of the list has no part in it.
func highestTag(tags []string, within *semver.Constraints, filter *regexp.Regexp) string {
	var best *semver.Version
	bestTag := ""
	for _, tag := range tags {
		if !filter.MatchString(tag) {
			continue
		}
		v, err := semver.StrictNewVersion(strings.TrimPrefix(strings.ReplaceAll(tag, "_", "+"), "v"))
		if err != nil || !within.Check(v) {
			continue
		}
		if best == nil || cmp.Or(v.Compare(best), cmp.Compare(v.Metadata(), best.Metadata()), cmp.Compare(tag, bestTag)) > 0 {
			best, bestTag = v, tag
		}
	}
	return bestTag
}

// Tags lists the tags of the repository, in the registry's order.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	var list []string
	err := r.remote.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			if tagName.MatchString(tag) { // others cannot be asked for
				list = append(list, tag)
			}
		}
		if len(list) > maxTags {
			return fmt.Errorf("there are more than %d tags: use a digest or a tag, or remove old ones", maxTags)
		}
		return nil
	})
	if err != nil {
		return nil, r.fail("list the tags of", err)
	}
	return list, nil
}

// Tag gives a further tag to what is in the repository.
func (r *Repository) Tag(ctx context.Context, rev Revision, tag string) error {
	if err := checkTag(tag); err != nil {
		return err
	}
	m, raw, err := r.manifest(ctx, rev.Digest.String())
	if err != nil {
		return err
	}
	return r.pushManifest(ctx, m.MediaType, raw, tag)
}
