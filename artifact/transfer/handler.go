package transfer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/artifact"
)

// HandlerOptions configure [NewHandler]. The zero value serves everybody.
type HandlerOptions struct {
	// Allow says who may read: all requests, whatever they ask for, are answered
	// with 401 if it returns false. [BearerToken] and [ClientCertificate] make one.
	// Nil allows everybody: whoever knows a digest can read the archive.
	Allow func(*http.Request) bool
	// OnError is told why a request was answered with 500, which the client is not.
	// It is called from many goroutines. Nil means that nobody is told.
	OnError func(*http.Request, error)
}

// Handler serves archives. Make it with [NewHandler].
type Handler struct {
	backend artifact.Backend
	opts    HandlerOptions
}

// NewHandler serves the archives of a backend, or of a store, by [Store.Backend],
// at /<anything>/<hex of the SHA-256>.tar.gz. It answers GET and HEAD, whole, in
// ranges and on conditions; the digest is the ETag. It lists nothing, and has the
// same answer for all that it does not serve. Several replicas may serve from one
// backend. [NewServer] has the timeouts that it needs.
func NewHandler(b artifact.Backend, opts HandlerOptions) *Handler { return &Handler{b, opts} }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if h.opts.Allow != nil && !h.opts.Allow(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	err := h.serve(w, r)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
	default:
		if h.opts.OnError != nil {
			h.opts.OnError(r, err)
		}
		http.Error(w, "internal server error", http.StatusInternalServerError)
	}
}

// serve returns an error only while nothing was answered.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	d, ok := requested(r.URL.Path)
	if !ok {
		return fs.ErrNotExist
	}
	name, err := artifact.Key(d)
	if err != nil {
		return err
	}
	content, err := newContent(r.Context(), h.backend, name)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // it was only read
	head := w.Header()
	head.Set("Content-Type", "application/gzip")
	head.Set("ETag", `"`+d.String()+`"`)
	// The bytes behind a digest never change. They may be secret.
	head.Set("Cache-Control", "private, max-age=31536000, immutable, no-transform")
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

const archiveExt = ".tar.gz"

// requested returns the digest that a path ends with. What is before it is not
// looked at, but it has to be a path.
func requested(p string) (digest.Digest, bool) {
	p, rooted := strings.CutPrefix(p, "/")
	sum, isArchive := strings.CutSuffix(path.Base(p), archiveExt)
	d := digest.NewDigestFromEncoded(digest.SHA256, sum)
	return d, rooted && isArchive && fs.ValidPath(p) && strings.Contains(p, "/") && d.Validate() == nil
}

// newContent opens a file of a backend for reading at any place. A file on a disk
// goes to the socket without a copy.
func newContent(ctx context.Context, b artifact.Backend, key string) (io.ReadSeekCloser, error) {
	if disk, ok := b.(interface {
		OpenFile(key string) (*os.File, error)
	}); ok {
		return disk.OpenFile(key)
	}
	info, err := b.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	return &ranged{ctx: ctx, backend: b, key: key, size: info.Size}, nil
}

// ranged reads a file of a backend from where it is told: it asks the backend
// when the first byte is wanted, so that a HEAD costs none.
type ranged struct {
	ctx     context.Context //nolint:containedctx // lives as long as one request
	backend artifact.Backend
	key     string
	size    int64
	pos     int64
	r       io.ReadCloser
}

func (c *ranged) Read(b []byte) (int, error) {
	if c.pos >= c.size {
		return 0, io.EOF
	}
	if c.r == nil {
		r, err := c.backend.Open(c.ctx, c.key, c.pos, -1)
		if err != nil {
			return 0, err
		}
		c.r = r
	}
	n, err := c.r.Read(b)
	c.pos += int64(n)
	return n, err
}

func (c *ranged) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.pos
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek %s to %d", c.key, offset)
	}
	if offset == c.pos {
		return offset, nil
	}
	c.pos = offset
	return offset, c.Close()
}

func (c *ranged) Close() error {
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}

// BearerToken allows requests with one of the tokens. Two let one be replaced
// without a gap. Empty ones allow nobody. The comparison takes the same time
// whatever a stranger guesses.
func BearerToken(tokens ...string) func(*http.Request) bool {
	sums := make([][sha256.Size]byte, 0, len(tokens))
	for _, token := range tokens {
		if token != "" {
			sums = append(sums, sha256.Sum256([]byte(token)))
		}
	}
	return func(r *http.Request) bool {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got, ok := sha256.Sum256([]byte(token)), 0
		for _, want := range sums {
			ok |= subtle.ConstantTimeCompare(got[:], want[:])
		}
		return ok == 1 && strings.EqualFold(scheme, "Bearer")
	}
}

// ClientCertificate allows requests over TLS with a client certificate that the
// server has verified: its tls.Config needs ClientCAs, and ClientAuth of
// VerifyClientCertIfGiven or RequireAndVerifyClientCert. If names are given, the
// certificate must be for one of them: a DNS name or a URI.
func ClientCertificate(names ...string) func(*http.Request) bool {
	names = slices.Clone(names)
	return func(r *http.Request) bool {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			return false
		}
		leaf := r.TLS.VerifiedChains[0][0]
		return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool {
			return slices.Contains(leaf.DNSNames, name) ||
				slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.String() == name })
		})
	}
}

// NewServer returns a server for a [Handler] with timeouts that keep slow clients
// from staying for ever: 10 seconds for a request, 10 minutes for an answer, and
// requests of at most 16 KiB. The caller may change it, and starts it and ends it.
func NewServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}
