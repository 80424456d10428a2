package receive

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keyring holds the keys of issuers, once for all receivers that name them.
type keyring struct {
	client *http.Client
	own    *http.Transport // nil where the transport is the caller's
	now    func() time.Time

	mu   sync.Mutex
	sets map[keySetID]*keySet
}

type keySetID struct {
	url       string
	allowHTTP bool
}

func newKeyring(transport http.RoundTripper, now func() time.Time) *keyring {
	r := &keyring{now: now, sets: map[keySetID]*keySet{}}
	if transport == nil {
		r.own = newTransport()
		transport = r.own
	}
	r.client = &http.Client{
		Transport: transport,
		// An issuer says in its configuration where its keys are. What redirects leads
		// to hosts that nobody allowed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return r
}

func newTransport() *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLocal}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // no small answer that unpacks to a large one
	}
}

// refuseLocal keeps issuers from being this machine or its metadata service. It looks
// at the address that a name led to.
func refuseLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.MustParseAddr("fd00:ec2::254") {
		return errors.New("the address is a local one")
	}
	return nil
}

func (r *keyring) closeIdle() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}

// acquire returns the keys of an issuer, until they are released.
func (r *keyring) acquire(issuer string, allowHTTP bool) *keySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := keySetID{issuer, allowHTTP}
	s := r.sets[id]
	if s == nil {
		s = &keySet{ring: r, id: id, fetching: make(chan struct{}, 1)}
		r.sets[id] = s
	}
	s.users++
	return s
}

func (r *keyring) release(checks []*issuerCheck) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range checks {
		if c.keys.users--; c.keys.users == 0 {
			delete(r.sets, c.keys.id)
		}
	}
}

// keySet holds the keys of one issuer.
type keySet struct {
	ring     *keyring
	id       keySetID
	users    int           // guarded by ring.mu
	fetching chan struct{} // held by the one who fetches

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were had last
	failed  time.Time // when fetching them failed last
}

// find returns the keys of an id, or all where a token names none. Keys that are not
// known are fetched, since issuers change them, but not more often than once a minute.
func (s *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	if keys, ok, err := s.held(id); ok {
		return keys, err
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrIssuer, ctx.Err())
	}
	if keys, ok, err := s.held(id); ok { // another one fetched them meanwhile
		return keys, err
	}
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch now := s.ring.now(); {
	case err == nil:
		s.keys, s.fetched, s.failed = keys, now, time.Time{}
	case !errors.Is(ctx.Err(), context.Canceled): // a sender that hangs up proves nothing
		s.failed = now
	}
	return pick(s.keys, id), err
}

// held returns keys that need not be fetched, or why they are not fetched now.
func (s *keySet) held(id string) (keys []jose.JSONWebKey, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.ring.now()
	fresh := !s.fetched.IsZero() && now.Sub(s.fetched) < keysLifetime
	if fresh {
		keys = pick(s.keys, id)
	}
	switch {
	case fresh && (len(keys) > 0 || now.Sub(s.fetched) < keysPause):
		return keys, true, nil
	case !s.failed.IsZero() && now.Sub(s.failed) < keysBackoff:
		return nil, true, fmt.Errorf("%w: they could not be fetched a moment ago", ErrIssuer)
	}
	return nil, false, nil
}

func pick(keys []jose.JSONWebKey, id string) []jose.JSONWebKey {
	if id == "" {
		return keys
	}
	var found []jose.JSONWebKey
	for _, k := range keys {
		if k.KeyID == id {
			found = append(found, k)
		}
	}
	return found
}

// fetch asks the issuer where its keys are, and then for them.
func (s *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var about struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	if err := s.get(ctx, strings.TrimSuffix(s.id.url, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	u, err := url.Parse(about.KeysURL)
	switch {
	case about.Issuer != s.id.url:
		return nil, fmt.Errorf("%w: its configuration is of another issuer", ErrIssuer)
	case err != nil || u.Host == "" || u.Scheme != "https" && (!s.id.allowHTTP || u.Scheme != "http"):
		return nil, fmt.Errorf("%w: its configuration names no https address for them", ErrIssuer)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, about.KeysURL, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: it has %d; at most %d are allowed", ErrIssuer, len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) == nil && usable(k) { // others are of a kind that we do not know
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: it has none that can be used", ErrIssuer)
	}
	return keys, nil
}

// usable keeps public keys for signatures, of a size that is neither weak nor slow.
func usable(k jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= 2048 && key.N.BitLen() <= 8192
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// get reads JSON from an issuer. Its errors hold nothing that the issuer wrote.
func (s *keySet) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("%w: the address cannot be parsed", ErrIssuer)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gitopskit")
	resp, err := s.ring.client.Do(req)
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			return fmt.Errorf("%w: %w", ErrIssuer, cause)
		}
		return fmt.Errorf("%w: the connection failed or is not allowed", ErrIssuer)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: it answered %d", ErrIssuer, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: its answer broke off", ErrIssuer)
	case len(body) > maxKeySet:
		return fmt.Errorf("%w: its answer has more than %d bytes", ErrIssuer, maxKeySet)
	case json.Unmarshal(body, into) != nil:
		return fmt.Errorf("%w: its answer is not the JSON that it should be", ErrIssuer)
	}
	return nil
}
