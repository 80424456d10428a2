package git

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// Remote is one repository at one address. It is meant to be kept as long as
// the repository is of interest, is safe for concurrent use, and is closed by
// its owner.
type Remote struct {
	shown     string // the address, for messages
	transport transport
	limits    Limits
	progress  func(Progress)
	secrets   *secrets

	mu     sync.Mutex
	closed bool
	last   *resolved
}

// Options say how to talk to a repository. The zero value is right for a public
// repository over HTTPS.
type Options struct {
	Auth Auth
	// CABundle holds certificates in PEM that are trusted for HTTPS beside
	// those of the system.
	CABundle []byte
	// ClientCert and ClientKey, in PEM, are a certificate, with the chain that
	// leads to it if there is one, and its private key, not encrypted. They are
	// for an https URL, and shown to its host and port only.
	ClientCert, ClientKey []byte
	// Proxy is what all connections go through, if it is set.
	Proxy Proxy
	// InsecureCredentials allows sending Auth over plain HTTP, where everyone
	// on the way can read it. Without it this is refused, on loopback too.
	InsecureCredentials bool
	// Limits bound what the server can make this process spend.
	Limits Limits
	// WrapTransport is given the HTTP transport and returns the one to use, to
	// count, trace or record. It sees the Authorization header, and the requests
	// to the API of a GitHubApp. It is not used for SSH.
	WrapTransport func(http.RoundTripper) http.RoundTripper
	// Progress, if not nil, is called while data arrives: often, from the
	// goroutine of the operation, which waits for it.
	Progress func(Progress)
}

// Progress is how far an operation has come.
type Progress struct {
	Received int64 // bytes, so far
}

// Open prepares to talk to the repository at an address with the scheme http,
// https or ssh. It sends nothing. Credentials in an HTTP URL are refused: they
// belong into [Options.Auth].
//
// Errors are [ErrInvalidURL], [ErrInvalidAuth] or [ErrInsecureCredentials], and
// hold no part of the URL or the credentials that may be secret.
func Open(rawURL string, opts Options) (*Remote, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if err := opts.Auth.check(u.Scheme, opts.InsecureCredentials); err != nil {
		return nil, err
	}
	r := &Remote{
		shown:    u.String(),
		limits:   opts.Limits.withDefaults(),
		progress: opts.Progress,
		secrets:  opts.secrets(),
	}
	r.transport, err = newTransport(u, opts, r.secrets)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// URL returns the address of the repository.
func (r *Remote) URL() string { return r.shown }

// Close drops connections that are kept for later. Operations begun after it
// fail with [ErrClosed]; those under way end by themselves.
func (r *Remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.last = true, nil
	r.transport.close()
	return nil
}

// transport is a way to reach git-upload-pack on a server.
type transport interface {
	// connect begins an operation. What it reads from the server it reads
	// through metered.
	connect(ctx context.Context, metered func(io.Reader) io.Reader) (session, error)
	close()
}

// session is one operation: the list of references, then at most one request.
type session interface {
	// advertise returns a reader that stands at the first reference.
	advertise(ctx context.Context) (*packetReader, error)
	// request sends a request and returns a reader that stands at the answer.
	request(ctx context.Context, body []byte) (*packetReader, error)
	// stateless says that request works without advertise before it.
	stateless() bool
	// close ends the operation. If it went well, the connection may be kept.
	close(well bool)
}

func newTransport(u *url.URL, opts Options, s *secrets) (transport, error) {
	way, err := newWay(opts)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "ssh" {
		return newSSHTransport(u, opts, way)
	}
	return newHTTPTransport(u, opts, way, s)
}

// do runs an operation with a session, within the limits.
func (r *Remote) do(ctx context.Context, op string, run func(context.Context, session) error) error {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return r.wrap(ctx, op, ErrClosed)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.limits.Time, &LimitError{"Time", int64(r.limits.Time)})
	defer cancel()
	m := &meter{limit: r.limits.Bytes}
	s, err := r.transport.connect(ctx, func(body io.Reader) io.Reader {
		return &meteredReader{body, m, r.progress}
	})
	if err == nil {
		err = run(ctx, s)
		s.close(err == nil)
	}
	return r.wrap(ctx, op, err)
}
