package registry

import (
	"errors"
	"fmt"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
	"github.com/gitopskit/gitopskit/helm/internal/packed"
	"github.com/gitopskit/gitopskit/helm/internal/provenance"
)

// What an [Error] may be, for errors.Is.
var (
	// ErrInvalidURL is a URL that is malformed, of another scheme, or less
	// trustworthy than the one that led to it.
	ErrInvalidURL = fetch.ErrInvalidURL
	// ErrInvalidRef is a digest, tag or range that is malformed.
	ErrInvalidRef = errors.New("invalid reference")
	// ErrInvalidAuth says that credentials, certificates or keys are malformed, or
	// do not go together.
	ErrInvalidAuth = fetch.ErrInvalidAuth
	// ErrInsecureCredentials are credentials that would travel in the clear.
	ErrInsecureCredentials = fetch.ErrInsecure
	// ErrTokenHost is a server of tokens that may not see the credentials.
	ErrTokenHost = errors.New("server of tokens refused")
	// ErrAuthRefused says that the registry wants credentials, or others.
	ErrAuthRefused = fetch.ErrAuth
	// ErrNotFound says that the registry has no such repository, tag or digest.
	ErrNotFound = fetch.ErrNotFound
	// ErrUnreachable is a registry that does not answer, or that is not well.
	ErrUnreachable = fetch.ErrUnreachable
	// ErrBadAnswer is one that a registry does not give.
	ErrBadAnswer = fetch.ErrBadAnswer
	// ErrAddress is an address that [Options.AllowAddress] refuses.
	ErrAddress = fetch.ErrAddress
	// ErrKeyring says that [Options.Keyring] holds no key.
	ErrKeyring = provenance.ErrKeyring
	// ErrUnverified is a chart whose provenance is missing, or not good.
	ErrUnverified = provenance.ErrUnverified
	// ErrMismatch is a chart whose version is not what its tag says.
	ErrMismatch = packed.ErrMismatch
	// ErrNotChart is an artifact that is no Helm chart.
	ErrNotChart = errors.New("it is not a Helm chart")
	// ErrDigest is content that is not what its digest says.
	ErrDigest = errors.New("the content is not what its digest says")
	// ErrNoVersion says that no tag is in the wanted range.
	ErrNoVersion = errors.New("no version matches")
	// ErrLimit is what every [LimitError] is.
	ErrLimit = errors.New("limit exceeded")
	// ErrClosed says that the repository was closed.
	ErrClosed = errors.New("the repository is closed")
)

// Error says which operation on which repository failed. It holds no credentials.
type Error struct {
	Op    string // open, list, resolve or pull
	Place string // the repository, oci://host/path
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Place, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Terminal reports that trying again does not help, as long as nobody changes
// the options or what the registry holds.
func (e *Error) Terminal() bool {
	for _, target := range []error{ErrInvalidURL, ErrInvalidRef, ErrInvalidAuth, ErrInsecureCredentials, ErrTokenHost, ErrKeyring, ErrUnverified, ErrMismatch, ErrNotChart, ErrDigest, ErrLimit, ErrAddress, ErrClosed} {
		if errors.Is(e.Err, target) {
			return true
		}
	}
	return false
}

// LimitError says which of the [Limits] was exceeded.
type LimitError struct {
	Limit string // the field of Limits
	Max   int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("limit exceeded: %s is more than %d; make it smaller or raise the limit", e.Limit, e.Max)
}

// Is reports that the error is an [ErrLimit].
func (e *LimitError) Is(target error) bool { return target == ErrLimit }
