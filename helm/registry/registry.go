package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
	"github.com/gitopskit/gitopskit/helm/internal/provenance"
)

// Options say how to reach a registry. The zero value is ready to use for a
// public one.
type Options struct {
	// Username and Password for the registry. They are sent to its scheme, host and
	// port, and to the server of tokens that it names, if that is the registry
	// itself, a domain that the registry is below, or one of TokenHosts.
	Username, Password string
	// BearerToken is sent to the registry as it is.
	BearerToken string
	// TokenHosts are other hosts, as host or host:port, that may be asked for tokens
	// with the user and password. That of Docker Hub is known.
	TokenHosts []string

	// PlainHTTP speaks HTTP with the registry, not HTTPS.
	PlainHTTP bool
	// InsecureCredentials allows credentials to travel over plain HTTP.
	InsecureCredentials bool

	// CABundle holds certificates in PEM to trust besides those of the system.
	CABundle []byte
	// ClientCert and ClientKey are a certificate and its private key in PEM, shown
	// to the registry's own scheme, host and port only.
	ClientCert, ClientKey []byte

	// Keyring holds OpenPGP public keys, armored or not. If there is one, a chart
	// without a provenance layer that one of these keys signed is refused.
	Keyring []byte

	// AllowAddress refuses an address with an error before it is dialled, whatever
	// name led to it. If it is nil, link-local and multicast addresses are refused,
	// because clouds serve credentials there.
	AllowAddress func(netip.Addr) error
	// WrapTransport, if not nil, wraps what sends requests, for example to count
	// them. It may be called twice.
	WrapTransport func(http.RoundTripper) http.RoundTripper

	Limits Limits
}

// Repository is where a registry has the versions of one chart. It is safe for
// concurrent use.
type Repository struct {
	base       *url.URL // scheme and host
	name       string   // the path in the registry
	client     *fetch.Client
	basic      bool // there are a user and password
	tokenHosts []string
	insecure   bool
	keyring    *provenance.Keyring // nil if nothing is to be verified
	limits     Limits
	shut       atomic.Bool

	mu    sync.Mutex
	token token
}

// repositoryName is what the specification of registries allows.
var repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// New makes a repository of an address like oci://ghcr.io/org/charts/podinfo, with
// the chart's name at its end and no tag. It connects to nobody yet. Its owner
// closes it.
func New(rawURL string, opts Options) (*Repository, error) {
	base, name, err := parseURL(rawURL, opts.PlainHTTP)
	if err != nil {
		return nil, &Error{Op: "open", Place: "repository", Err: err}
	}
	r := &Repository{
		base: base, name: name, limits: opts.Limits.withDefaults(), tokenHosts: opts.TokenHosts, insecure: opts.InsecureCredentials,
		basic: opts.Username != "" || opts.Password != "",
	}
	if r.client, err = fetch.New(base, fetch.Options{
		Username: opts.Username, Password: opts.Password, BearerToken: opts.BearerToken,
		CABundle: opts.CABundle, ClientCert: opts.ClientCert, ClientKey: opts.ClientKey,
		InsecureCredentials: opts.InsecureCredentials, AllowAddress: opts.AllowAddress, WrapTransport: opts.WrapTransport,
	}); err != nil {
		return nil, r.fault("open", err)
	}
	if len(opts.Keyring) > 0 {
		if r.keyring, err = provenance.NewKeyring(opts.Keyring); err != nil {
			return nil, r.fault("open", err)
		}
	}
	return r, nil
}

func parseURL(raw string, plain bool) (*url.URL, string, error) {
	refuse := func(why string) (*url.URL, string, error) {
		return nil, "", fmt.Errorf("%w: %s", ErrInvalidURL, why)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, len(raw) > 2048:
		return refuse("it cannot be parsed; write it as oci://host/path/chart")
	case u.Scheme != "oci", u.Hostname() == "":
		return refuse("write it as oci://host/path/chart")
	case u.User != nil:
		return refuse("it holds a user or a password; give them in Options")
	case u.RawQuery != "", u.Fragment != "":
		return refuse("it has a query or a fragment, which the address of a repository has not")
	}
	name := strings.Trim(u.Path, "/")
	host := u.Host
	if host == "docker.io" { // a name that no server has
		host = "registry-1.docker.io"
	}
	if len(name) > 255 || !repositoryName.MatchString(name) {
		return refuse("its path is not that of a repository: lower-case letters and digits, divided by . _ - and /, without a tag")
	}
	scheme := "https"
	if plain {
		scheme = "http"
	}
	return &url.URL{Scheme: scheme, Host: host, Path: "/"}, name, nil
}

// Close closes idle connections. What comes after it fails.
func (r *Repository) Close() error {
	r.shut.Store(true)
	r.client.Close()
	return nil
}

func (r *Repository) fault(op string, err error) error {
	return &Error{Op: op, Place: fetch.Clip("oci://" + r.base.Host + "/" + r.name), Err: err}
}

// run does an operation within the time that one may take.
func (r *Repository) run(ctx context.Context, op string, do func(context.Context) error) error {
	if r.shut.Load() {
		return r.fault(op, ErrClosed)
	}
	timed, cancel := context.WithTimeoutCause(ctx, r.limits.Time, fmt.Errorf("%w: the time limit of %v", ErrUnreachable, r.limits.Time))
	defer cancel()
	err := do(timed)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil && !errors.Is(err, ErrUnreachable):
		err = context.Cause(timed)
	}
	return r.fault(op, err)
}
