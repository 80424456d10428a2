package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Error says what a registry did not do. What does not exist matches
// [fs.ErrNotExist].
type Error struct {
	Op         string // what was asked for
	Repository string
	Status     int    // of HTTP; 0 if there was no answer
	Message    string // of the registry, or of the connection
	Err        error  // the cause, where callers may want to know it
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("oci: %s %s: the registry answers %d: %s", e.Op, e.Repository, e.Status, e.Message)
	}
	return fmt.Sprintf("oci: %s %s: %s", e.Op, e.Repository, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// HostError says that a registry wanted something to go to another host, or to go
// without encryption. Nothing went there.
type HostError struct {
	Registry string // host and port
	Host     string // the other one
	Reason   string
}

func (e *HostError) Error() string {
	return fmt.Sprintf("registry %s sent a request on to %s, which is refused: %s", e.Registry, clip.Quote(e.Host, 200), e.Reason)
}

// URLError says that something is not the URL of a repository.
type URLError struct {
	URL string
}

func (e *URLError) Error() string {
	return fmt.Sprintf("oci: %q is not a repository such as oci://ghcr.io/org/app: tags and digests belong into Ref", e.URL)
}

// Terminal reports that trying again cannot help.
func (e *URLError) Terminal() bool { return true }

// RefError says that a [Ref] makes no sense.
type RefError struct {
	Field  string // of [Ref]
	Value  string
	Reason string
}

func (e *RefError) Error() string { return fmt.Sprintf("oci: %s %q: %s", e.Field, e.Value, e.Reason) }

// Terminal reports that trying again cannot help.
func (e *RefError) Terminal() bool { return true }

// NoMatchError says that no tag is in a range of versions. One may be pushed.
type NoMatchError struct {
	Repository string
	SemVer     string
	Tags       int // how many there are
}

func (e *NoMatchError) Error() string {
	return fmt.Sprintf("oci: none of the %d tags of %s that the filter lets pass is a version in the range %q", e.Tags, e.Repository, e.SemVer)
}

// ManifestError says that a manifest is not one that this package reads.
type ManifestError struct {
	Reason string
}

func (e *ManifestError) Error() string { return "oci: manifest: " + e.Reason }

// Terminal reports that trying again cannot help.
func (e *ManifestError) Terminal() bool { return true }

// query is what may be secret in a URL: storage that a registry redirects to has
// its signatures there.
var query = regexp.MustCompile(`\?[^\s"']*`)

// fail makes an Error of what the client returned.
func (r *Repository) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	out := &Error{Op: op, Repository: r.String()}
	var (
		resp *errcode.ErrorResponse
		uerr *url.Error
		host *HostError
	)
	switch {
	case errors.As(err, &host):
		out.Err, out.Message = host, host.Error()
		return out
	case errors.As(err, &resp):
		out.Status, out.Message = resp.StatusCode, http.StatusText(resp.StatusCode)
		if len(resp.Errors) > 0 {
			out.Message = resp.Errors.Error()
		}
		if resp.StatusCode == http.StatusNotFound {
			out.Err = fs.ErrNotExist
		}
	case errors.Is(err, errdef.ErrNotFound):
		out.Message, out.Err = "not found", fs.ErrNotExist
	case errors.As(err, &uerr):
		out.Message, out.Err = uerr.Err.Error(), uerr.Err
	default:
		out.Message = err.Error()
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, errdef.ErrTooManyPages, errdef.ErrSizeExceedsLimit} {
		if out.Err == nil && errors.Is(err, cause) {
			out.Err = cause
		}
	}
	out.Message = clip.Text(query.ReplaceAllString(strings.Join(strings.Fields(r.hide.Replace(out.Message)), " "), ""), 500)
	return out
}
