package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
	"github.com/gitopskit/gitopskit/helm/internal/packed"
	"github.com/gitopskit/gitopskit/helm/internal/provenance"
)

// Options say how to reach a repository. The zero value is ready to use for a
// public one.
type Options struct {
	// Username and Password, or BearerToken, for the scheme, host and port of the
	// repository's URL. They are sent nowhere else, also not on a redirect.
	Username, Password string
	BearerToken        string
	// PassCredentials sends them to other hosts too if the index says that a chart
	// is there, but not on to where those redirect. The index then decides who sees
	// them.
	PassCredentials bool
	// InsecureCredentials allows credentials to travel over plain HTTP.
	InsecureCredentials bool

	// CABundle holds certificates in PEM to trust besides those of the system.
	CABundle []byte
	// ClientCert and ClientKey are a certificate and its private key in PEM, shown
	// to the repository's own scheme, host and port only.
	ClientCert, ClientKey []byte

	// Keyring holds OpenPGP public keys, armored or not. If there is one, a chart
	// without a provenance file that one of these keys signed is refused.
	Keyring []byte

	// AllowAddress refuses an address with an error before it is dialled, whatever
	// name led to it. If it is nil, link-local and multicast addresses are refused,
	// because clouds serve credentials there.
	AllowAddress func(netip.Addr) error
	// WrapTransport, if not nil, wraps what sends requests, for example to count
	// them. It may be called twice.
	WrapTransport func(http.RoundTripper) http.RoundTripper

	// MaxAge is how old an index may be before the server is asked whether there
	// is another. Zero asks each time.
	MaxAge time.Duration
	Limits Limits
}

// Repository is a Helm repository at one URL. It keeps the index, and is safe for
// concurrent use.
type Repository struct {
	base    *url.URL
	at      *url.URL // of the index
	client  *fetch.Client
	keyring *provenance.Keyring // nil if nothing is to be verified
	maxAge  time.Duration
	limits  Limits

	// busy is held by who fetches the index. It is a channel, and not a mutex, so
	// that who waits can stop waiting.
	busy chan struct{}
	mu   sync.Mutex // for what is below
	last fetched
	shut bool
}

// fetched is what came of the last request for the index.
type fetched struct {
	index *Index // the last good one
	err   error
	ended time.Time
	good  time.Time // when index was last known to be current

	etag, modified string
}

// New makes a repository of the URL that index.yaml is below, http or https. It
// connects to nobody yet. Its owner closes it.
func New(rawURL string, opts Options) (*Repository, error) {
	base, err := parseURL(rawURL)
	if err != nil {
		return nil, &Error{Op: "open", Place: "repository", Err: err}
	}
	r := &Repository{base: base, at: base.JoinPath("index.yaml"), maxAge: opts.MaxAge, limits: opts.Limits.withDefaults(), busy: make(chan struct{}, 1)}
	if r.client, err = fetch.New(base, fetch.Options{
		Username: opts.Username, Password: opts.Password, BearerToken: opts.BearerToken,
		CABundle: opts.CABundle, ClientCert: opts.ClientCert, ClientKey: opts.ClientKey,
		InsecureCredentials: opts.InsecureCredentials, PassCredentials: opts.PassCredentials,
		AllowAddress: opts.AllowAddress, WrapTransport: opts.WrapTransport,
	}); err != nil {
		return nil, r.fault("open", base, err)
	}
	if len(opts.Keyring) > 0 {
		if r.keyring, err = provenance.NewKeyring(opts.Keyring); err != nil {
			return nil, r.fault("open", base, err)
		}
	}
	return r, nil
}

// parseURL reads the address of a repository. Its errors never quote the address:
// there may be a password in it.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > 2048:
		return nil, fmt.Errorf("%w: it cannot be parsed; write it as https://host/path", ErrInvalidURL)
	case u.Scheme == "oci":
		return nil, fmt.Errorf("%w: its scheme is oci; use package registry", ErrInvalidURL)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return nil, fmt.Errorf("%w: write it as https://host/path", ErrInvalidURL)
	case u.User != nil:
		return nil, fmt.Errorf("%w: it holds a user or a password; give them in Options", ErrInvalidURL)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func (r *Repository) fault(op string, at *url.URL, err error) error {
	return &Error{Op: op, Place: fetch.Place(at), Err: err}
}

// Close closes idle connections. What is under way goes on; what comes after it
// fails.
func (r *Repository) Close() error {
	r.mu.Lock()
	r.shut = true
	r.last = fetched{}
	r.mu.Unlock()
	r.client.Close()
	return nil
}

// Index returns the index as it is now: the server is asked whether the last one
// still holds, and another one is read only if it does not. Callers who ask while
// somebody is being answered get the same answer. An index whose revision is that
// of the last one is the last one.
//
// An error is an [Error], or the context's.
func (r *Repository) Index(ctx context.Context) (*Index, error) {
	asked := time.Now()
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	last, shut := r.state()
	switch {
	case shut:
		return nil, r.fault("index", r.base, ErrClosed)
	case !last.ended.Before(asked):
		return last.result()
	case last.index != nil && time.Since(last.good) < r.maxAge:
		return last.index, nil
	}
	next, err := r.ask(ctx, last)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // that is nothing to the others
		}
		err = r.fault("index", r.at, err)
		next = last
		next.err = err
	}
	next.ended = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.shut {
		r.last = next
	}
	return next.result()
}

func (f fetched) result() (*Index, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.index, nil
}

func (r *Repository) state() (fetched, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.shut
}

// ask makes one conditional request.
func (r *Repository) ask(ctx context.Context, last fetched) (fetched, error) {
	ctx, cancel := r.timed(ctx)
	defer cancel()
	header := http.Header{}
	if last.index != nil {
		if last.etag != "" {
			header.Set("If-None-Match", last.etag)
		}
		if last.modified != "" {
			header.Set("If-Modified-Since", last.modified)
		}
	}
	resp, err := r.client.Get(ctx, r.at, header)
	if err != nil {
		return fetched{}, err
	}
	defer resp.Body.Close()
	next := fetched{index: last.index, good: time.Now(), etag: resp.Header.Get("ETag"), modified: resp.Header.Get("Last-Modified")}
	switch {
	case resp.StatusCode == http.StatusNotModified && last.index != nil:
		next.etag, next.modified = last.etag, last.modified
		return next, nil
	case resp.StatusCode != http.StatusOK:
		return fetched{}, fetch.Status(resp)
	}
	index, err := ReadIndex(ctx, resp.Body, r.limits)
	if err != nil {
		return fetched{}, r.reading(ctx, err)
	}
	if last.index == nil || last.index.revision != index.revision {
		next.index = index
	}
	return next, nil
}

var errTime = errors.New("the time limit of one request")

func (r *Repository) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.limits.Time, fmt.Errorf("%w: %w of %v", ErrUnreachable, errTime, r.limits.Time))
}

// reading says why an answer could not be read to its end.
func (r *Repository) reading(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrIndex), errors.Is(err, ErrLimit):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: the answer ended early: %s", ErrUnreachable, r.client.Redact(err.Error()))
}

// Chart is a packed chart as it was fetched.
type Chart struct {
	Name, Version, AppVersion string
	// Archive is the chart, packed, for helm.LoadArchive.
	Archive []byte
	// Digest of the archive, sha256:<hex>.
	Digest string
	// SignedBy is who signed it, if [Options.Keyring] was given.
	SignedBy *Signature
}

// Signature is one that was verified.
type Signature struct {
	Signer      string    // the user that the key names, for people
	Fingerprint string    // of the primary key, in upper-case hexadecimal
	Time        time.Time // when, says the signature
}

// Pull fetches the chart that [Index.Find] finds in the index as it is now.
//
// An error is an [Error], or the context's.
func (r *Repository) Pull(ctx context.Context, name, version string) (*Chart, error) {
	index, err := r.Index(ctx)
	if err != nil {
		return nil, err
	}
	v, err := index.Find(name, version)
	if err != nil {
		return nil, r.fault("pull", r.base, err)
	}
	return r.Fetch(ctx, v)
}

// Fetch fetches the archive of a version, and checks that it is the chart and
// version that the index says, that its digest is the one there, if there is one,
// and its provenance, if that is wanted. Of several URLs the first is used.
//
// An error is an [Error], or the context's.
func (r *Repository) Fetch(ctx context.Context, v Version) (*Chart, error) {
	outer := ctx
	ctx, cancel := r.timed(ctx)
	defer cancel()
	target, err := r.target(v)
	if err != nil {
		return nil, r.fault("pull", r.base, err)
	}
	chart, err := r.fetch(ctx, v, target)
	switch {
	case err == nil:
		return chart, nil
	case outer.Err() != nil:
		return nil, context.Cause(outer)
	}
	return nil, r.fault("pull", target, err)
}

func (r *Repository) fetch(ctx context.Context, v Version, target *url.URL) (*Chart, error) {
	if _, shut := r.state(); shut {
		return nil, ErrClosed
	}
	archive, err := r.get(ctx, target, "ChartBytes", r.limits.ChartBytes)
	if err != nil {
		return nil, err
	}
	chart := &Chart{Name: v.Name, Version: v.Version, Archive: archive, Digest: packed.Digest(archive)}
	if want := strings.ToLower(strings.TrimPrefix(v.Digest, "sha256:")); want != "" && "sha256:"+want != chart.Digest {
		return nil, fmt.Errorf("%w: it is %s, not sha256:%s; package the chart and generate the index again", ErrDigest, chart.Digest, fetch.Clip(want))
	}
	about, err := packed.Read(ctx, archive)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if err := packed.Expect(about, v.Name, v.Version); err != nil {
		return nil, err
	}
	chart.AppVersion = about.AppVersion
	if r.keyring == nil {
		return chart, nil
	}
	chart.SignedBy, err = r.verify(ctx, chart, target)
	return chart, err
}

func (r *Repository) verify(ctx context.Context, chart *Chart, target *url.URL) (*Signature, error) {
	beside := *target
	beside.Path += ".prov"
	beside.RawPath = ""
	file, err := r.get(ctx, &beside, "provenance file", provenance.MaxFile)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: there is no provenance file beside the chart; sign it with helm package --sign and publish the .prov file", ErrUnverified)
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	signed, err := r.keyring.Verify(file, provenance.Chart{File: path.Base(target.Path), Name: chart.Name, Version: chart.Version, Archive: chart.Archive})
	if err != nil {
		return nil, err
	}
	return &Signature{Signer: signed.By, Fingerprint: signed.Fingerprint, Time: signed.At}, nil
}

// target is where a version is. Like Helm, it keeps the repository's query for
// what is relative to it.
func (r *Repository) target(v Version) (*url.URL, error) {
	if len(v.URLs) == 0 {
		return nil, fmt.Errorf("%w: the index has no URL for %s %s", ErrIndex, fetch.Clip(v.Name), fetch.Clip(v.Version))
	}
	ref, err := url.Parse(v.URLs[0])
	if err != nil {
		return nil, fmt.Errorf("%w: the index has a malformed one for %s %s", ErrInvalidURL, fetch.Clip(v.Name), fetch.Clip(v.Version))
	}
	if ref.IsAbs() {
		if ref.Scheme == "oci" {
			return nil, fmt.Errorf("%w: the chart is at %s; use package registry", ErrInvalidURL, fetch.Place(ref))
		}
		return ref, nil
	}
	base := *r.base
	base.Path, base.RawPath = strings.TrimSuffix(base.Path, "/")+"/", ""
	target := base.ResolveReference(ref)
	target.RawQuery = base.RawQuery
	return target, nil
}

func (r *Repository) get(ctx context.Context, target *url.URL, limit string, most int64) ([]byte, error) {
	resp, err := r.client.Get(ctx, target, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fetch.Status(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, r.reading(ctx, err)
	case int64(len(data)) > most:
		return nil, &LimitError{Limit: limit, Max: most}
	}
	return data, nil
}
