package git

import (
	"context"
	"errors"
	"fmt"
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

	url  *url.URL
	opts Options
	disk disk
	// asked: of a submodule, opened as [Submodules] said.
	asked bool

	persisting sync.Mutex // held while Dir is read or written
	restored   bool

	mu       sync.Mutex
	closed   bool
	engine   Engine    // that does the work
	hello    *greeting // of the last session, where the next needs no other
	resolved []*resolved
	kept     []*Snapshot
	large    map[string]place     // files from large file storage, by their OIDs
	children map[string]*Remote   // of submodules, by their addresses
	busy     map[id]chan struct{} // commits that are being fetched
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
	// Dir, if not empty, is a directory, for this Remote alone, where objects are
	// kept for the time after a restart, submodules included, but not files from
	// large file storage. It is made, for its owner only, if it is not there.
	// What is damaged in it is fetched anew, but who can write to it must be
	// trusted. Without it objects are in memory, and when they are larger than
	// 4 MiB together in a file in the system's directory for temporary files,
	// without a name where the system allows that.
	Dir string
	// WrapTransport is given the HTTP transport and returns the one to use, to
	// count, trace or record. It sees the Authorization header, and the requests
	// to the API of a GitHubApp and for large files, those of a repository at an
	// ssh URL too. SSH itself does not go through it.
	WrapTransport func(http.RoundTripper) http.RoundTripper
	// Engine that does the work. The zero value chooses by itself.
	Engine Engine
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
// Errors are [ErrInvalidURL], [ErrInvalidOptions], [ErrInvalidAuth] or [ErrInsecureCredentials], and
// hold no part of the URL or the credentials that may be secret.
func Open(rawURL string, opts Options) (*Remote, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if err := opts.Auth.check(u.Scheme, opts.InsecureCredentials); err != nil {
		return nil, err
	}
	switch opts.Engine {
	case EngineAuto, EngineFast, EngineCompatible:
	default:
		return nil, fmt.Errorf("%w: there is no engine %q; leave Options.Engine empty", ErrInvalidOptions, clip(string(opts.Engine)))
	}
	r := &Remote{
		shown:    u.String(),
		limits:   opts.Limits.withDefaults(),
		progress: opts.Progress,
		secrets:  opts.secrets(),
		url:      u,
		opts:     opts,
		engine:   opts.Engine,
		children: map[string]*Remote{},
		disk:     disk{dir: opts.Dir},
		busy:     map[id]chan struct{}{},
	}
	r.transport, err = newTransport(u, opts, r.secrets)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// URL returns the address of the repository.
func (r *Remote) URL() string { return r.shown }

// Close drops connections and objects that are kept for later. Operations begun
// after it fail with [ErrClosed]; those under way end by themselves, and a
// [Snapshot] can be read as before.
func (r *Remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.hello, r.resolved, r.kept, r.large = true, nil, nil, nil, nil
	for _, child := range r.children {
		_ = child.Close() // like ours, it cannot fail
	}
	r.transport.close()
	return nil
}

// transport is a way to reach git-upload-pack on a server.
type transport interface {
	// connect begins an operation, in a version of the protocol. What it reads
	// from the server it reads through metered.
	connect(ctx context.Context, protocol string, metered func(io.Reader) io.Reader) (session, error)
	close()
}

// session is one operation: the server's greeting, then requests.
type session interface {
	// advertise returns a reader that stands at the greeting.
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

// do runs an operation within the limits, with the engine that can.
func (r *Remote) do(ctx context.Context, op string, run func(context.Context, engine) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.limits.Time, &LimitError{"Time", int64(r.limits.Time)})
	defer cancel()
	return r.wrap(ctx, op, r.attempt(ctx, run))
}

func (r *Remote) attempt(ctx context.Context, run func(context.Context, engine) error) error {
	m := &meter{limit: r.limits.Bytes}
	hello, engine, err := r.way()
	if err != nil {
		return err
	}
	if engine == EngineCompatible {
		return r.compatible(ctx, m, run)
	}
	err = r.fast(ctx, m, hello, run)
	if hello != nil && errors.Is(err, ErrProtocol) {
		err = r.fast(ctx, m, nil, run) // the server is not the one that it was
	}
	if engine == EngineAuto && errors.Is(err, ErrProtocol) && r.compatible(ctx, m, run) == nil {
		r.prefer(EngineCompatible)
		return nil
	}
	return err
}

// session runs something with a session, through the meter.
func (r *Remote) session(ctx context.Context, protocol string, m *meter, run func(session) error) error {
	s, err := r.transport.connect(ctx, protocol, func(body io.Reader) io.Reader {
		return &meteredReader{body, m, r.progress}
	})
	if err != nil {
		return err
	}
	err = run(s)
	s.close(err == nil)
	return err
}

// fast runs an operation with the fast engine.
func (r *Remote) fast(ctx context.Context, m *meter, hello *greeting, run func(context.Context, engine) error) error {
	return r.session(ctx, protocol2, m, func(s session) error {
		c := &client{session: s, lim: r.limits}
		if s.stateless() {
			c.hello = hello
		}
		err := run(ctx, c)
		if err == nil && s.stateless() {
			r.remember(c.hello)
		}
		return err
	})
}

// compatible runs an operation with go-git.
func (r *Remote) compatible(ctx context.Context, m *meter, run func(context.Context, engine) error) error {
	return r.session(ctx, "", m, func(s session) error {
		return run(ctx, &goGit{session: s, lim: r.limits})
	})
}

// way returns the engine to begin with, and what the server said last time, if
// that still helps.
func (r *Remote) way() (*greeting, Engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, "", ErrClosed
	}
	return r.hello, r.engine, nil
}

// prefer takes an engine from now on.
func (r *Remote) prefer(e Engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine = e
}

func (r *Remote) remember(g *greeting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g != nil && !r.closed {
		r.hello = &greeting{version: g.version, caps: g.caps}
	}
}
