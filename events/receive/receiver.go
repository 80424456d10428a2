package receive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Type says whose webhooks a receiver takes.
type Type string

// The types of receivers. What each checks is in the documentation of the package.
const (
	GitHub      Type = "github" // and whatever signs as GitHub does
	GitLab      Type = "gitlab"
	Gitea       Type = "gitea"     // and Forgejo
	Bitbucket   Type = "bitbucket" // Cloud, Server and Data Center
	Harbor      Type = "harbor"
	DockerHub   Type = "dockerhub"
	Quay        Type = "quay"
	GCR         Type = "gcr" // Container or Artifact Registry, through a Pub/Sub push
	ACR         Type = "acr"
	Nexus       Type = "nexus"
	CDEvents    Type = "cdevents"
	Generic     Type = "generic"
	GenericHMAC Type = "generic-hmac"
	GenericOIDC Type = "generic-oidc"
)

// MinSecret is the shortest secret in bytes: a shorter one can be guessed, and the
// path with it.
const MinSecret = 8

// maxSecret bounds a secret in bytes.
const maxSecret = 64 << 10

// Name names a receiver.
type Name struct {
	Namespace, Name string
}

func (n Name) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// Receiver is one address that takes webhooks, and what it demands of them. Printing
// it does not show its secret.
type Receiver struct {
	Type Type
	// Secret is the key of the HMAC or the token, and a part of the path. It has at
	// least [MinSecret] bytes. GenericOIDC needs none: with none, its path can be
	// computed by anybody, and the token of the request alone decides.
	Secret []byte `json:"-"`
	// Events are the names of the events to take, as the platform writes them; letter
	// case does not matter. None means all. Generic types know no events.
	Events []string
	// Filter is a CEL expression that is true for the requests to take; see [Filter].
	// None means all.
	Filter string
	// Suspended refuses every request with 503, also while the rest is not ready yet.
	Suspended bool
	// AllowSHA1 takes GitHub's old X-Hub-Signature where no newer one was sent.
	AllowSHA1 bool
	// Email and Audience are those of the push subscription's service account and of
	// its tokens. GCR needs both, other types take neither.
	Email, Audience string
	// Issuers are those whose tokens GenericOIDC takes, at least one.
	Issuers []Issuer
}

// Issuer is an OpenID Connect provider whose tokens are taken.
type Issuer struct {
	// URL is the "iss" of its tokens, to the letter, and where its keys are found.
	URL string
	// Audience has to be among the "aud" of a token.
	Audience string
	// AllowHTTP lets the keys come over plain HTTP, where everybody on the way can
	// exchange them.
	AllowHTTP bool
	// Variables are computed in their order and are vars.<name> in what follows.
	Variables []Variable
	// Validations have to hold, all of them, and at least one is needed: without any,
	// whoever the issuer knows would be let in.
	Validations []Validation
}

// Variable is a CEL expression over claims and the variables before it.
type Variable struct {
	Name, Expression string
}

// Validation is a CEL expression over claims and vars that has to be true.
type Validation struct {
	Expression string
	// Message says what is wrong where it is false. It goes to [Outcome], not to
	// the sender.
	Message string
}

// String shows no secret.
func (r Receiver) String() string { return fmt.Sprintf("receiver of type %s", r.Type) }

// GoString shows no secret.
func (r Receiver) GoString() string { return fmt.Sprintf("receive.Receiver{Type: %q}", string(r.Type)) }

// Path is where a receiver listens: "/hook/" and the SHA-256 of token, name and
// namespace in hexadecimal digits. Nobody can guess it who does not know the token,
// and it changes with the token.
func Path(token []byte, name, namespace string) string {
	sum := sha256.Sum256(slices.Concat(token, []byte(name), []byte(namespace)))
	return "/hook/" + hex.EncodeToString(sum[:])
}

// compiled is a receiver that is ready to serve.
type compiled struct {
	Receiver
	name     Name
	path     string
	platform platform
	token    digest // of Secret
	filter   *Filter
	issuers  []*issuerCheck

	// What outlives a change of the receiver, as long as it keeps its path.
	replays *replays
	slots   chan struct{}
}

// compile checks a receiver and prepares it. The error joins a *ConfigError for each
// fault.
func (h *Handler) compile(n Name, r Receiver) (*compiled, error) {
	r.Secret = bytes.Clone(r.Secret)
	r.Events = slices.Clone(r.Events)
	r.Issuers = slices.Clone(r.Issuers)
	c := &compiled{Receiver: r, name: n, path: Path(r.Secret, n.Name, n.Namespace), token: h.digest(r.Secret)}
	var faults []error
	fault := func(field string, err error) {
		if err != nil {
			faults = append(faults, &ConfigError{Receiver: n, Field: field, Err: err})
		}
	}
	var known bool
	if c.platform, known = platformOf(r.Type); !known {
		fault("Type", fmt.Errorf("%q is none that is known", clip.Quote(string(r.Type), 64)))
	}
	if n.Name == "" {
		fault("Name", errEmpty)
	}
	fault("Secret", checkSecret(r))
	fault("Events", checkEvents(r, c.platform))
	fault("Email", checkGCR(r))
	if r.AllowSHA1 && r.Type != GitHub && r.Type != Gitea {
		fault("AllowSHA1", errors.New("it is for github and gitea"))
	}
	var err error
	if r.Filter != "" {
		c.filter, err = h.cel.filter(r.Filter, false)
		fault("Filter", err)
	}
	c.issuers, err = h.compileIssuers(r)
	fault("Issuers", err)
	return c, errors.Join(faults...)
}

func checkSecret(r Receiver) error {
	switch n := len(r.Secret); {
	case n == 0 && r.Type == GenericOIDC:
		return nil
	case n < MinSecret:
		return fmt.Errorf("it has %d bytes and can be guessed; use at least %d, drawn at random", n, MinSecret)
	case n > maxSecret:
		return fmt.Errorf("it has %d bytes; at most %d are allowed", n, maxSecret)
	}
	return nil
}

func checkEvents(r Receiver, p platform) error {
	const most = 256
	switch {
	case len(r.Events) > 0 && p.parse != nil && !p.events:
		return fmt.Errorf("type %s knows no events; use Filter", r.Type)
	case len(r.Events) > most:
		return fmt.Errorf("there are %d; at most %d are allowed", len(r.Events), most)
	case slices.Contains(r.Events, ""):
		return errors.New("one is empty")
	}
	return nil
}

func checkGCR(r Receiver) error {
	switch {
	case r.Type != GCR && (r.Email != "" || r.Audience != ""):
		return errors.New("email and audience are for gcr")
	case r.Type == GCR && (r.Email == "" || r.Audience == ""):
		return errors.New("email and audience are both required: without them, anybody's token would do")
	}
	return nil
}
