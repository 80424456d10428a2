package repository

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
	// ErrInvalidAuth says that credentials, certificates or keys are malformed, or
	// do not go together.
	ErrInvalidAuth = fetch.ErrInvalidAuth
	// ErrInsecureCredentials are credentials that would travel in the clear.
	ErrInsecureCredentials = fetch.ErrInsecure
	// ErrAuthRefused says that the server wants credentials, or others.
	ErrAuthRefused = fetch.ErrAuth
	// ErrNotFound says that the server has no such index, chart or provenance file.
	ErrNotFound = fetch.ErrNotFound
	// ErrUnreachable is a server that does not answer, or that is not well.
	ErrUnreachable = fetch.ErrUnreachable
	// ErrAddress is an address that [Options.AllowAddress] refuses.
	ErrAddress = fetch.ErrAddress
	// ErrKeyring says that [Options.Keyring] holds no key.
	ErrKeyring = provenance.ErrKeyring
	// ErrUnverified is a chart whose provenance is missing, or not good.
	ErrUnverified = provenance.ErrUnverified
	// ErrMismatch is an archive that is of another chart or version than the index
	// says.
	ErrMismatch = packed.ErrMismatch
	// ErrLimit is what every [LimitError] is.
	ErrLimit = errors.New("limit exceeded")
	// ErrIndex is what every [IndexError] is.
	ErrIndex = errors.New("invalid repository index")
	// ErrNoChart says that the index names no such chart.
	ErrNoChart = errors.New("no such chart in the index")
	// ErrNoVersion says that no version of the chart is in the wanted range.
	ErrNoVersion = errors.New("no version of the chart matches")
	// ErrDigest is an archive whose digest is not that in the index.
	ErrDigest = errors.New("the archive is not the one that the index describes")
	// ErrClosed says that the repository was closed.
	ErrClosed = errors.New("the repository is closed")
)

// Error says which operation of which repository failed. It holds no
// credentials, and nothing of a URL but scheme, host and path.
type Error struct {
	Op    string // index or pull
	Place string // where
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Place, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Terminal reports that trying again does not help, as long as nobody changes
// the options or what the repository holds.
func (e *Error) Terminal() bool {
	for _, target := range []error{ErrInvalidURL, ErrInvalidAuth, ErrInsecureCredentials, ErrKeyring, ErrUnverified, ErrMismatch, ErrLimit, ErrIndex, ErrDigest, ErrAddress, ErrClosed} {
		if errors.Is(e.Err, target) {
			return true
		}
	}
	return false
}

// IndexError says what is wrong with an index.
type IndexError struct {
	Chart string // whose versions cannot be read; empty if it is all of the index
	Err   error
}

func (e *IndexError) Error() string {
	if e.Chart == "" {
		return fmt.Sprintf("invalid repository index: %s; generate it again with helm repo index", fetch.Clip(e.Err.Error()))
	}
	return fmt.Sprintf("invalid repository index: chart %q: %s; generate it again with helm repo index", fetch.Clip(e.Chart), fetch.Clip(e.Err.Error()))
}

func (e *IndexError) Unwrap() error { return e.Err }

// Is reports that the error is an [ErrIndex].
func (e *IndexError) Is(target error) bool { return target == ErrIndex }

// LimitError says which of the [Limits] was exceeded.
type LimitError struct {
	Chart string // may be empty
	Limit string // the field of Limits
	Max   int64
}

func (e *LimitError) Error() string {
	of := ""
	if e.Chart != "" {
		of = fmt.Sprintf(" of chart %q", fetch.Clip(e.Chart))
	}
	return fmt.Sprintf("limit exceeded: %s%s are more than %d; make the repository smaller or raise the limit", e.Limit, of, e.Max)
}

// Is reports that the error is an [ErrLimit].
func (e *LimitError) Is(target error) bool { return target == ErrLimit }
