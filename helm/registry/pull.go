package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
	"github.com/gitopskit/gitopskit/helm/internal/packed"
	"github.com/gitopskit/gitopskit/helm/internal/provenance"
)

// Ref says which version of a chart. Digest goes before SemVer, and SemVer before
// Tag; the zero value is the newest version that is no pre-release.
type Ref struct {
	// Digest of the manifest, sha256:<hex>.
	Digest string
	// SemVer is a range. Pre-releases are in it only if it names one, as
	// ">=1.0.0-0" does.
	SemVer string
	// Tag is one tag or version. A plus is written as an underscore in tags; either
	// will do.
	Tag string
}

// Resolved is what a reference means at the moment.
type Resolved struct {
	Tag    string // as the registry has it; empty if the reference is a digest
	Digest string // of the manifest
}

// Chart is a packed chart as it was fetched.
type Chart struct {
	Name, Version, AppVersion string
	// Archive is the chart, packed, for helm.LoadArchive.
	Archive []byte
	// Digest of the archive, sha256:<hex>.
	Digest string
	// Manifest is the tag and digest by which the registry knows it. The digest
	// changes when somebody moves the tag.
	Manifest Resolved
	// SignedBy is who signed it, if [Options.Keyring] was given.
	SignedBy *Signature
}

// Signature is one that was verified.
type Signature struct {
	Signer      string    // the user that the key names, for people
	Fingerprint string    // of the primary key, in upper-case hexadecimal
	Time        time.Time // when, says the signature
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.cncf.helm.config.v1+json"
	chartType    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	legacyType   = "application/tar+gzip"
	provType     = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

var (
	validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	validTag    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// Versions lists the versions that there are, the newest first: the tags that are
// a SemVer, with a leading v or without, with + where the tag has an underscore.
//
// An error is an [Error], or the context's.
func (r *Repository) Versions(ctx context.Context) ([]string, error) {
	var names []string
	err := r.run(ctx, "list", func(ctx context.Context) error {
		versions, err := r.versions(ctx)
		for _, v := range versions {
			names = append(names, v.version.Original())
		}
		return err
	})
	return names, err
}

// Resolve says which manifest a reference means, and fetches nothing of it.
//
// An error is an [Error], or the context's.
func (r *Repository) Resolve(ctx context.Context, ref Ref) (Resolved, error) {
	var found Resolved
	err := r.run(ctx, "resolve", func(ctx context.Context) (err error) {
		if found, err = r.find(ctx, ref); err != nil || found.Digest != "" {
			return err
		}
		resp, err := r.get(ctx, http.MethodHead, r.at("manifests", found.Tag), manifestType)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fetch.Status(resp)
		}
		if found.Digest = resp.Header.Get("Docker-Content-Digest"); validDigest.MatchString(found.Digest) {
			return nil
		}
		_, found.Digest, err = r.manifest(ctx, found) // a registry that does not say
		return err
	})
	if err != nil {
		return Resolved{}, err
	}
	return found, nil
}

// Pull fetches a chart. What a tag says of its version has to be what the chart
// says.
//
// An error is an [Error], or the context's.
func (r *Repository) Pull(ctx context.Context, ref Ref) (*Chart, error) {
	var chart *Chart
	err := r.run(ctx, "pull", func(ctx context.Context) (err error) {
		chart, err = r.pull(ctx, ref)
		return err
	})
	return chart, err
}

func (r *Repository) pull(ctx context.Context, ref Ref) (*Chart, error) {
	found, err := r.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	m, digest, err := r.manifest(ctx, found)
	if err != nil {
		return nil, err
	}
	found.Digest = digest
	content, prov, err := m.layers()
	if err != nil {
		return nil, err
	}
	archive, err := r.blob(ctx, content, "ChartBytes", r.limits.ChartBytes)
	if err != nil {
		return nil, err
	}
	about, err := packed.Read(ctx, archive)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if tagged := tagVersion(found.Tag); tagged != nil {
		if err := packed.Expect(about, about.Name, tagged.Original()); err != nil {
			return nil, err
		}
	}
	chart := &Chart{Name: about.Name, Version: about.Version, AppVersion: about.AppVersion, Archive: archive, Digest: packed.Digest(archive), Manifest: found}
	if r.keyring != nil {
		chart.SignedBy, err = r.verify(ctx, chart, prov)
	}
	if err != nil {
		return nil, err
	}
	return chart, nil
}

func (r *Repository) verify(ctx context.Context, chart *Chart, prov *descriptor) (*Signature, error) {
	if prov == nil {
		return nil, fmt.Errorf("%w: the chart has no provenance layer; sign it with helm package --sign and push it again", ErrUnverified)
	}
	file, err := r.blob(ctx, *prov, "provenance layer", provenance.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	signed, err := r.keyring.Verify(file, provenance.Chart{
		File: chart.Name + "-" + chart.Version + ".tgz", Name: chart.Name, Version: chart.Version, Archive: chart.Archive,
	})
	if err != nil {
		return nil, err
	}
	return &Signature{Signer: signed.By, Fingerprint: signed.Fingerprint, Time: signed.At}, nil
}

// find turns a reference into a tag or a digest.
func (r *Repository) find(ctx context.Context, ref Ref) (Resolved, error) {
	switch {
	case ref.Digest != "":
		if !validDigest.MatchString(ref.Digest) {
			return Resolved{}, fmt.Errorf("%w: the digest is not sha256: and 64 hexadecimal digits", ErrInvalidRef)
		}
		return Resolved{Digest: ref.Digest}, nil
	case ref.SemVer == "" && ref.Tag != "":
		tag := strings.ReplaceAll(ref.Tag, "+", "_")
		if !validTag.MatchString(tag) {
			return Resolved{}, fmt.Errorf("%w: %q is not a tag", ErrInvalidRef, fetch.Clip(ref.Tag))
		}
		return Resolved{Tag: tag}, nil
	}
	want := cmp.Or(ref.SemVer, "*")
	wanted, err := semver.NewConstraint(want)
	if err != nil {
		return Resolved{}, fmt.Errorf("%w: %q is not a SemVer range; write it as 1.2.x or >=1.2.0 <2.0.0", ErrInvalidRef, fetch.Clip(want))
	}
	versions, err := r.versions(ctx)
	if err != nil {
		return Resolved{}, err
	}
	for _, exact := range []bool{true, false} {
		for _, v := range versions {
			if exact && v.version.Original() == want || !exact && wanted.Check(v.version) {
				return Resolved{Tag: v.tag}, nil
			}
		}
	}
	return Resolved{}, fmt.Errorf("%w: %s is not among the %d that there are", ErrNoVersion, fetch.Clip(want), len(versions))
}

// tagged is a tag that is a version.
type tagged struct {
	tag     string
	version *semver.Version
}

// tagVersion is nil if a tag is none.
func tagVersion(tag string) *semver.Version {
	text := strings.ReplaceAll(tag, "_", "+")
	if v, err := semver.StrictNewVersion(strings.TrimPrefix(text, "v")); err == nil {
		return v
	}
	return nil
}

func (r *Repository) versions(ctx context.Context) ([]tagged, error) {
	var list []tagged
	err := r.tags(ctx, func(tag string) {
		if v := tagVersion(tag); v != nil && validTag.MatchString(tag) {
			list = append(list, tagged{tag, v})
		}
	})
	slices.SortFunc(list, func(a, b tagged) int {
		return cmp.Or(b.version.Compare(a.version), strings.Compare(b.version.Original(), a.version.Original()), strings.Compare(a.tag, b.tag))
	})
	return list, err
}

// tags lists all tags, page by page.
func (r *Repository) tags(ctx context.Context, each func(string)) error {
	at := r.at("tags", "list")
	at.RawQuery = "n=1000"
	count, before := 0, map[string]bool{}
	for at != nil {
		if before[at.String()] {
			return fmt.Errorf("%w: the list of tags leads back to itself", ErrBadAnswer)
		}
		before[at.String()] = true
		resp, err := r.get(ctx, http.MethodGet, at, "application/json")
		if err != nil {
			return err
		}
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := r.readJSON(ctx, resp, "list of tags", &page); err != nil {
			return err
		}
		if count += max(len(page.Tags), 1); count > r.limits.Tags {
			return &LimitError{Limit: "Tags", Max: int64(r.limits.Tags)}
		}
		for _, tag := range page.Tags {
			each(tag)
		}
		if at, err = r.next(resp); err != nil {
			return err
		}
	}
	return nil
}

// next is the next page of a list, nil after the last. It has to be of the same
// repository, because the credentials go there.
func (r *Repository) next(resp *http.Response) (*url.URL, error) {
	link := resp.Header.Get("Link")
	if link == "" {
		return nil, nil
	}
	ref, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(rest, "next") {
		return nil, nil
	}
	u, err := url.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("%w: the next page of tags has no address", ErrBadAnswer)
	}
	list := r.at("tags", "list")
	if next := list.ResolveReference(u); fetch.Origin(next) == fetch.Origin(r.base) && next.Path == list.Path {
		return next, nil
	}
	return nil, fmt.Errorf("%w: the next page of tags is of another repository", ErrBadAnswer)
}

func (r *Repository) at(kind, name string) *url.URL {
	return r.base.JoinPath("v2", r.name, kind, name)
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type manifest struct {
	MediaType string       `json:"mediaType"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

// layers finds the chart and its provenance, nil if there is none.
func (m *manifest) layers() (content descriptor, prov *descriptor, err error) {
	if m.Config.MediaType != configType {
		return content, nil, fmt.Errorf("%w: its configuration is of type %q; push it with helm push", ErrNotChart, fetch.Clip(m.Config.MediaType))
	}
	for _, layer := range m.Layers {
		switch layer.MediaType {
		case chartType, legacyType:
			if content.Digest != "" {
				return content, nil, fmt.Errorf("%w: it has two layers of a chart's content", ErrNotChart)
			}
			content = layer
		case provType:
			if prov != nil {
				return content, nil, fmt.Errorf("%w: it has two layers of provenance", ErrNotChart)
			}
			prov = &layer
		}
	}
	if content.Digest == "" {
		return content, nil, fmt.Errorf("%w: it has no layer of type %s", ErrNotChart, chartType)
	}
	return content, prov, nil
}

// manifest fetches the manifest, and returns its digest.
func (r *Repository) manifest(ctx context.Context, of Resolved) (*manifest, string, error) {
	resp, err := r.get(ctx, http.MethodGet, r.at("manifests", cmp.Or(of.Digest, of.Tag)), manifestType)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fetch.Status(resp)
	}
	data, err := r.read(ctx, resp, "ManifestBytes", r.limits.ManifestBytes)
	if err != nil {
		return nil, "", err
	}
	digest := digestOf(data)
	if of.Digest != "" && digest != of.Digest {
		return nil, "", fmt.Errorf("%w: the manifest is %s, not %s", ErrDigest, digest, of.Digest)
	}
	m := &manifest{}
	if json.Unmarshal(data, m) != nil {
		return nil, "", fmt.Errorf("%w: its manifest is not JSON", ErrNotChart)
	}
	return m, digest, nil
}

// blob fetches a layer, and checks that it is what the manifest says.
func (r *Repository) blob(ctx context.Context, of descriptor, limit string, most int64) ([]byte, error) {
	switch {
	case !validDigest.MatchString(of.Digest):
		return nil, fmt.Errorf("%w: a layer has no sha256 digest", ErrNotChart)
	case of.Size > most:
		return nil, &LimitError{Limit: limit, Max: most}
	}
	resp, err := r.get(ctx, http.MethodGet, r.at("blobs", of.Digest))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fetch.Status(resp)
	}
	data, err := r.read(ctx, resp, limit, most)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != of.Size || digestOf(data) != of.Digest {
		return nil, fmt.Errorf("%w: a layer is not %s of %d bytes, as the manifest says", ErrDigest, of.Digest, of.Size)
	}
	return data, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *Repository) readJSON(ctx context.Context, resp *http.Response, what string, into any) error {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fetch.Status(resp)
	}
	data, err := r.read(ctx, resp, what, r.limits.ManifestBytes)
	if err != nil {
		return err
	}
	if json.Unmarshal(data, into) != nil {
		return fmt.Errorf("%w: the %s is not JSON", ErrBadAnswer, what)
	}
	return nil
}

// read reads an answer, as far as it may go.
func (r *Repository) read(ctx context.Context, resp *http.Response, limit string, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: the answer ended early: %s", ErrUnreachable, r.client.Redact(err.Error()))
	case int64(len(data)) > most:
		return nil, &LimitError{Limit: limit, Max: most}
	}
	return data, nil
}
