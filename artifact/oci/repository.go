package oci

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/internal/clip"
)

// Options configure a [Repository]. The zero value reads what is public.
type Options struct {
	// Credential for the registry.
	Credential Credential
	// AuthHosts are hosts, with the port if it is not 443, that may be asked for
	// tokens beside the registry itself: a registry that has its tokens elsewhere is
	// refused otherwise. auth.docker.io is known.
	AuthHosts []string
	// PlainHTTP speaks to the registry without TLS, credentials included.
	PlainHTTP bool
	// Transport makes the connections: for a proxy, a CA or a client certificate.
	// Nil means one of the repository's own, without a proxy.
	Transport http.RoundTripper
	// Limits bound layers and what they expand to.
	Limits artifact.Limits
}

// Repository is one repository of a registry. It keeps connections and tokens, and
// is safe for concurrent use.
type Repository struct {
	remote *remote.Repository
	limits artifact.Limits
	hide   *strings.Replacer // takes the credential out of what a server says
}

const (
	maxManifest = 4 << 20
	maxTags     = 100_000
	maxPages    = 10_000
	maxLayer    = 256 << 20 // as artifact.Limits has it
)

// New returns the repository at a URL such as oci://ghcr.io/org/app; the scheme
// may be left out. It asks the registry nothing.
func New(url string, opts Options) (*Repository, error) {
	name := strings.TrimPrefix(url, "oci://")
	ref, err := registry.ParseReference(name)
	if err != nil || ref.Reference != "" || strings.Contains(name, "://") {
		return nil, &URLError{clip.Quote(url, 200)}
	}
	repo := &remote.Repository{
		Reference: ref, PlainHTTP: opts.PlainHTTP, MaxMetadataBytes: maxManifest,
		TagListMaxPages: maxPages, SkipReferrersGC: true,
		ManifestMediaTypes: []string{mediaTypeManifest, mediaTypeDockerManifest},
	}
	repo.Client = &auth.Client{
		Client:     &http.Client{Transport: newGuard(ref.Host(), opts)},
		Credential: auth.StaticCredential(ref.Host(), opts.Credential.oras()),
		Cache:      auth.NewCache(),
	}
	// The registry is told at once that nobody will ask for referrers.
	if err := repo.SetReferrersCapability(true); err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	return &Repository{repo, opts.Limits, opts.Credential.hide()}, nil
}

// String returns the repository's name with that of its registry.
func (r *Repository) String() string {
	return r.remote.Reference.Registry + "/" + r.remote.Reference.Repository
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
