package ssa

import (
	lru "container/list"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// DefaultMaxIdentities is how many identities Clients remembers.
const DefaultMaxIdentities = 1000

// maxIdentity bounds an identity in bytes: it is sent with every request.
const maxIdentity = 8 << 10

// ClientsOptions of NewClients. The zero value is usable.
type ClientsOptions struct {
	Options // of each Applier

	// MaxIdentities bounds the appliers that are kept; default 1,000. The one that
	// was asked for the longest time ago goes first.
	MaxIdentities int
}

// Clients makes appliers that act as other identities, by impersonation, and
// keeps them. All of them share one pool of connections, and what one learned of
// the cluster's types, so a new identity costs no request. It is safe for
// concurrent use.
type Clients struct {
	base   *kube.Client
	mapper *mapper
	opts   ClientsOptions

	mu     sync.Mutex
	closed bool
	byKey  map[string]*lru.Element
	recent *lru.List // of *cached, the one used last in front
}

type cached struct {
	key     string
	applier *Applier
}

// Identity is whom an Applier acts as.
type Identity struct {
	User   string // required
	Groups []string
	UID    string
	Extra  map[string][]string
}

// ServiceAccount is the identity of a service account. The server adds its groups.
func ServiceAccount(namespace, name string) (Identity, error) {
	if why := validation.IsDNS1123Label(namespace); len(why) > 0 {
		return Identity{}, &IdentityError{Reason: fmt.Sprintf("namespace %q of the service account: %s", clip.Quote(namespace, maxQuoted), why[0])}
	}
	if why := validation.IsDNS1123Subdomain(name); len(why) > 0 {
		return Identity{}, &IdentityError{Reason: fmt.Sprintf("name %q of the service account: %s", clip.Quote(name, maxQuoted), why[0])}
	}
	return Identity{User: serviceAccountPrefix + namespace + ":" + name}, nil
}

const serviceAccountPrefix = "system:serviceaccount:"

// IdentityError refuses an identity that the server would take for another one:
// an empty name, above all, is no impersonation, and the request would be made
// with the rights of the program itself. Nothing was sent. It is terminal.
type IdentityError struct{ Reason string }

func (e *IdentityError) Error() string {
	return "impersonate: " + e.Reason + "; name a user or a service account"
}

// Terminal says that another try cannot help.
func (e *IdentityError) Terminal() bool { return true }

// NewClients returns Clients for a cluster. The identity of cfg needs the right to
// impersonate, and asks the server for its types on behalf of all. It sends no
// request. A cfg that impersonates already is refused.
func NewClients(cfg *rest.Config, opts ClientsOptions) (*Clients, error) {
	if i := cfg.Impersonate; i.UserName != "" || i.UID != "" || len(i.Groups) > 0 || len(i.Extra) > 0 {
		return nil, &IdentityError{Reason: "the rest.Config impersonates somebody itself, and only one can be in force"}
	}
	complete, err := opts.complete()
	if err != nil {
		return nil, err
	}
	opts.Options = complete
	if opts.MaxIdentities <= 0 {
		opts.MaxIdentities = DefaultMaxIdentities
	}
	base, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Clients{base: base, mapper: newMapper(base), opts: opts, byKey: map[string]*lru.Element{}, recent: lru.New()}, nil
}

// As returns the Applier of an identity, the same as before if it is still kept.
// One that is not kept any more goes on working for those who have it. It sends no
// request. The error is an *IdentityError unless Clients is closed.
func (c *Clients) As(id Identity) (*Applier, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	key := id.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("impersonate: Clients is closed")
	}
	if e := c.byKey[key]; e != nil {
		c.recent.MoveToFront(e)
		if hit, ok := e.Value.(*cached); ok {
			return hit.applier, nil
		}
	}
	client, err := c.base.As(rest.ImpersonationConfig{UserName: id.User, UID: id.UID, Groups: slices.Clone(id.Groups), Extra: maps.Clone(id.Extra)})
	if err != nil {
		return nil, err
	}
	applier := newApplier(client, c.mapper, c.opts.Options)
	c.byKey[key] = c.recent.PushFront(&cached{key, applier})
	for c.recent.Len() > c.opts.MaxIdentities {
		if last, ok := c.recent.Remove(c.recent.Back()).(*cached); ok {
			delete(c.byKey, last.key)
		}
	}
	return applier, nil
}

// Close forgets all identities and closes idle connections. Appliers that were
// handed out go on working; As does not. Watches end with their own contexts.
func (c *Clients) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	clear(c.byKey)
	c.recent.Init()
	c.base.CloseIdle()
}

func (id Identity) check() error {
	size := len(id.User) + len(id.UID)
	if err := checkName("user name", id.User); err != nil {
		return err
	}
	if account, ok := strings.CutPrefix(id.User, serviceAccountPrefix); ok {
		namespace, name, _ := strings.Cut(account, ":")
		if _, err := ServiceAccount(namespace, name); err != nil {
			return err
		}
	}
	if id.UID != "" {
		if err := checkName("UID", id.UID); err != nil {
			return err
		}
	}
	for _, g := range id.Groups {
		if err := checkName("group", g); err != nil {
			return err
		}
		size += len(g)
	}
	for k, values := range id.Extra {
		if err := checkName("extra key", k); err != nil {
			return err
		}
		for _, v := range values {
			if err := checkName("extra value", v); err != nil {
				return err
			}
			size += len(k) + len(v)
		}
	}
	if size > maxIdentity {
		return &IdentityError{Reason: fmt.Sprintf("the identity has %d bytes; at most %d are allowed", size, maxIdentity)}
	}
	return nil
}

// checkName refuses what does not survive in an HTTP header: there, white space at
// the ends is dropped, and a name of nothing else is no name.
func checkName(what, s string) error {
	switch {
	case s == "":
		return &IdentityError{Reason: "the " + what + " is empty"}
	case strings.TrimSpace(s) != s:
		return &IdentityError{Reason: fmt.Sprintf("the %s %q begins or ends with white space", what, clip.Quote(s, maxQuoted))}
	case strings.ContainsFunc(s, unicode.IsControl):
		return &IdentityError{Reason: fmt.Sprintf("the %s %q holds a control character", what, clip.Quote(s, maxQuoted))}
	}
	return nil
}

// key tells identities apart. The order of groups does not matter.
func (id Identity) key() string {
	b := appendText(appendText(nil, 'u', id.User), 'i', id.UID)
	for _, g := range slices.Sorted(slices.Values(id.Groups)) {
		b = appendText(b, 'g', g)
	}
	for _, k := range slices.Sorted(maps.Keys(id.Extra)) {
		b = appendText(b, 'k', k)
		for _, v := range id.Extra[k] {
			b = appendText(b, 'v', v)
		}
	}
	return string(b)
}
