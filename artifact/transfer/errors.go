package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"
)

// ErrUnchanged is the error of [Fetcher.Get] when the archive is the one that the
// caller has.
var ErrUnchanged = errors.New("the archive is unchanged")

// StatusError says that a server does not send an archive. It matches
// [fs.ErrNotExist] if the server says that there is none: whoever publishes
// artifacts may have replaced it, so look for a newer one.
type StatusError struct {
	URL        string        // without query and user
	Status     int           // of HTTP
	RetryAfter time.Duration // what the server asks for, if it does
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server of %s answers %d %s", e.URL, e.Status, http.StatusText(e.Status))
}

// Is reports whether target is [fs.ErrNotExist] and the archive is not there.
func (e *StatusError) Is(target error) bool {
	return target == fs.ErrNotExist && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// ChangedError says that what a server has is not what the artifact describes, or
// not what it was when the download began. The artifact may have a newer state.
type ChangedError struct {
	URL    string // without query and user
	Reason string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s was replaced: %s: read the artifact's state again", e.URL, e.Reason)
}

// RefusedError says that a request was not made, or a redirect not followed,
// because it is not safe.
type RefusedError struct {
	URL    string // without query and user
	Reason string
	Err    error // of the policy that refused, if one did
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s is refused: %s", e.URL, e.Reason) }

func (e *RefusedError) Unwrap() error { return e.Err }

// Terminal reports that trying again cannot help.
func (e *RefusedError) Terminal() bool { return true }
