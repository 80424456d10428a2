package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/artifact"
)

// FetcherOptions configure a [Fetcher]. The zero value fetches from any host but
// link-local ones, with the roots of the system.
type FetcherOptions struct {
	// TLS for https, of which a copy is used. A client certificate is shown to the
	// origin of the artifact's URL only, not behind a redirect to another.
	TLS *tls.Config
	// Token returns a bearer token for a URL's origin (scheme and host), such as
	// https://host:8443. It is asked for each request, so that tokens may be renewed, and
	// only for the origin of the artifact's URL. It must be safe for concurrent use.
	// An empty token is not sent.
	Token func(ctx context.Context, origin string) (string, error)
	// InsecureCredentials lets tokens go over http, where everybody on the way can
	// read them.
	InsecureCredentials bool
	// Dial decides on each address, after names were resolved and before anything is
	// sent to it; an error refuses it. The default refuses link-local addresses, where
	// clouds tell secrets to whoever asks.
	Dial func(addr netip.AddrPort) error
	// Transport replaces all that has to do with connections. TLS and Dial must be
	// unset, and [Fetcher.Close] leaves it alone. It must not follow redirects, ask
	// for compression or add credentials.
	Transport http.RoundTripper

	// Retries bounds how often a request is repeated that failed or broke off. A
	// download that came a MiB further counts from the start. Default 5; less than
	// zero is none.
	Retries int
	// RetryWait is the longest wait before the first repetition. It doubles each
	// time, up to a minute; between half and all of it is waited, or for as long as
	// the server asks. Default 500 ms.
	RetryWait time.Duration
	// StallTime is how long a server may take for the head of an answer, and for each
	// 128 KiB of the body. Default 30 s. The context bounds the whole.
	StallTime time.Duration
	// NoDigest accepts artifacts that have no digest, and with it whatever the server
	// and those on the way to it send.
	NoDigest bool
	// Limits bound archives and what they expand to, where the call has none.
	Limits artifact.Limits
}

// FetchOptions say what the caller has already. The zero value fetches
// in any case.
type FetchOptions struct {
	// Have is the digest of the archive that the caller has. If it is the artifact's,
	// no request is made.
	Have digest.Digest
	// ETag as from [Download.ETag] of an earlier fetch. It is used for an artifact
	// that has no digest.
	ETag string
}

// Fetcher fetches artifacts over http and https. It is safe for concurrent use,
// and made to be used for long: it keeps connections.
type Fetcher struct {
	client *client
	opts   FetcherOptions
}

// NewFetcher makes a fetcher. Whoever makes it closes it.
func NewFetcher(opts FetcherOptions) (*Fetcher, error) {
	if opts.Transport != nil && (opts.TLS != nil || opts.Dial != nil) {
		return nil, errors.New("new fetcher: Transport replaces TLS and Dial: set those in the transport")
	}
	if opts.Retries == 0 {
		opts.Retries = 5
	}
	if opts.RetryWait <= 0 {
		opts.RetryWait = 500 * time.Millisecond
	}
	if opts.StallTime <= 0 {
		opts.StallTime = 30 * time.Second
	}
	return &Fetcher{client: newClient(opts), opts: opts}, nil
}

// Close closes the connections that nothing uses. What is on its way goes on.
func (f *Fetcher) Close() error {
	f.client.close()
	return nil
}

// Get begins to fetch an archive, and returns it once the server has begun to
// send. If the connection is lost later, the download goes on where it broke off.
// The context holds for all of the download.
//
// Errors are a [*StatusError], which matches [fs.ErrNotExist] for an archive that is
// no longer there; a [*RefusedError]; a [*artifact.LimitError]; or [ErrUnchanged].
func (f *Fetcher) Get(ctx context.Context, a artifact.Artifact, opts FetchOptions) (*Download, error) {
	d, err := f.get(ctx, a, opts, f.opts.Limits)
	if err != nil {
		return nil, err
	}
	if a.Digest != "" {
		d.digester = a.Digest.Algorithm().Digester()
	}
	return d, nil
}

// Open fetches an archive and returns its tree, as [artifact.Open] does. The
// artifact's digest is what is checked, and opts.Digest must be empty or the same.
func (f *Fetcher) Open(ctx context.Context, a artifact.Artifact, opts artifact.OpenOptions) (fs.FS, error) {
	opts.Limits = f.limits(opts.Limits)
	d, err := f.start(ctx, a, &opts.Digest, opts.Limits)
	if err != nil {
		return nil, err
	}
	defer d.drop()
	tree, err := artifact.Open(ctx, d, opts)
	return tree, d.named(err)
}

// Unpack fetches an archive and writes its tree below root, as
// [artifact.Unpack] does. The artifact's digest is what is checked, and opts.Digest must be
// empty or the same.
func (f *Fetcher) Unpack(ctx context.Context, a artifact.Artifact, root *os.Root, opts artifact.UnpackOptions) (artifact.Summary, error) {
	opts.Limits = f.limits(opts.Limits)
	d, err := f.start(ctx, a, &opts.Digest, opts.Limits)
	if err != nil {
		return artifact.Summary{}, err
	}
	defer d.drop()
	sum, err := artifact.Unpack(ctx, d, root, opts)
	return sum, d.named(err)
}

// start gets an archive for a reader that checks the digest by itself.
func (f *Fetcher) start(ctx context.Context, a artifact.Artifact, want *digest.Digest, lim artifact.Limits) (*Download, error) {
	if *want != "" && *want != a.Digest {
		return nil, fmt.Errorf("fetch %s: digest %s is asked for, but the artifact's is %q: leave it to the artifact", safeURL(a.URL), *want, a.Digest)
	}
	*want = a.Digest
	return f.get(ctx, a, FetchOptions{}, lim)
}

func (f *Fetcher) limits(lim artifact.Limits) artifact.Limits {
	if lim == (artifact.Limits{}) {
		return f.opts.Limits
	}
	return lim
}

// get begins a download that does not check the digest.
func (f *Fetcher) get(ctx context.Context, a artifact.Artifact, opts FetchOptions, lim artifact.Limits) (*Download, error) {
	d := &Download{ctx: ctx, f: f, from: a, total: -1, max: lim.WithDefaults().ArchiveBytes}
	if err := d.begin(opts); err != nil { //nolint:contextcheck // d holds it
		return nil, d.named(err)
	}
	return d, nil
}
