package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Options of New. Receive is required.
type Options struct {
	// Receive acts on a request that is authentic and wanted. An error of it is
	// answered with 500, so that the platform may deliver again. It is called from
	// many goroutines, and its context ends with the request or after
	// Limits.CallTimeout.
	Receive func(ctx context.Context, req Request) error
	// Observe is told of each request once it is answered, for metrics and logs. It
	// is called from many goroutines, and may be nil.
	Observe func(Outcome)
	// Transport fetches the keys of issuers. Nil means one of the handler's own, which
	// knows the system's CAs and no proxy, and connects to no loopback or link-local
	// address.
	Transport http.RoundTripper
	Limits    Limits
}

// Handler serves receivers. Its methods may be called from any number of goroutines.
type Handler struct {
	opts   Options
	limits Limits
	salt   [32]byte // of digests; drawn anew for each handler
	cel    *celEnv
	keys   *keyring
	now    func() time.Time

	mu     sync.RWMutex
	byName map[Name]*compiled
	byPath map[digest]*compiled
}

// New returns a handler without receivers.
func New(opts Options) (*Handler, error) {
	if opts.Receive == nil {
		return nil, errors.New("receive: Options.Receive is missing, and every request would be lost")
	}
	h := &Handler{
		opts: opts, limits: opts.Limits.withDefaults(), now: time.Now,
		byName: map[Name]*compiled{}, byPath: map[digest]*compiled{},
	}
	if _, err := rand.Read(h.salt[:]); err != nil {
		return nil, err
	}
	var err error
	if h.cel, err = newCEL(h.limits); err != nil {
		return nil, err
	}
	h.keys = newKeyring(opts.Transport, func() time.Time { return h.now() })
	return h, nil
}

// Set adds the receiver of a name, or replaces it, and returns its path, which is
// that of [Path]. Requests that are under way end with the receiver that they began
// with. Deliveries that were seen stay so while the path and the type stay.
//
// The error joins a [*ConfigError] for each fault; the receiver of before, if there
// was one, is then still served.
func (h *Handler) Set(n Name, r Receiver) (path string, err error) {
	c, err := h.compile(n, r)
	if err != nil {
		h.keys.release(c.issuers)
		return "", err
	}
	at := h.digest([]byte(c.path))
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.byName[n]
	if other := h.byPath[at]; other != nil && other.name != n {
		h.keys.release(c.issuers)
		return "", &ConfigError{Receiver: n, Field: "Secret", Err: ErrPathTaken}
	}
	if old == nil && len(h.byName) >= h.limits.Receivers {
		h.keys.release(c.issuers)
		return "", fmt.Errorf("receiver %s: %w: there are %d; raise Limits.Receivers", n, ErrTooManyReceivers, len(h.byName))
	}
	if old != nil && old.path == c.path && old.Type == c.Type {
		c.replays, c.slots = old.replays, old.slots
	} else {
		c.replays = newReplays(h.limits)
		c.slots = make(chan struct{}, h.limits.Concurrent)
	}
	h.remove(old)
	h.byName[n], h.byPath[at] = c, c
	return c.path, nil
}

// Delete removes the receiver of a name, if there is one.
func (h *Handler) Delete(n Name) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(h.byName[n])
}

// remove forgets a receiver. The lock is held.
func (h *Handler) remove(c *compiled) {
	if c == nil {
		return
	}
	delete(h.byName, c.name)
	delete(h.byPath, h.digest([]byte(c.path)))
	h.keys.release(c.issuers)
}

// find looks a path up by its digest, so that comparing it tells nothing.
func (h *Handler) find(path string) *compiled {
	const longest = 1024
	at := h.digest([]byte(path[:min(len(path), longest)]))
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c := h.byPath[at]; c != nil && len(path) <= longest {
		return c
	}
	return nil
}

// CloseIdleConnections closes connections to issuers that no request uses, where
// the transport is the handler's own.
func (h *Handler) CloseIdleConnections() { h.keys.closeIdle() }

// NewServer returns a server for a handler with time limits for slow senders: 10 s
// for the header, 30 s for a request, 90 s until it is answered, 60 s between two of
// a connection; the header has at most 256 KiB. Address, TLS and ErrorLog are the
// caller's to set.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    256 << 10,
	}
}
