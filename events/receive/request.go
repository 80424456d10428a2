package receive

import (
	"net/http"
	"time"
)

// Request is a webhook that is authentic and wanted. What the platform does not tell
// is empty, and so is what is longer than 1024 bytes.
type Request struct {
	Receiver Name
	Type     Type
	// Event is its name as the platform writes it, as in "push" or "Push Hook".
	Event string
	// DeliveryID is the platform's own.
	DeliveryID string
	// Repository is the full name of a repository or an image, as in "org/app".
	Repository string
	// Ref is a full Git reference, as in "refs/heads/main", or the tag of an image or
	// version of a package. Of several it is the first; Body has all.
	Ref string
	// Revision is a commit or a digest, as in "1f0c…" or "sha256:…".
	Revision string
	// Claims are those of the token, where there is one.
	Claims map[string]any
	// Body is the JSON as encoding/json decodes it into an any, or nil where a generic
	// sender sent something else.
	Body any
	// Header holds no credential: signatures, tokens and cookies are left out.
	Header http.Header
}

// Result says what became of a request.
type Result string

// The results.
const (
	Received  Result = "received"  // the callback took it
	Pinged    Result = "pinged"    // the platform tried the address
	Unwanted  Result = "unwanted"  // the filter does not match
	Duplicate Result = "duplicate" // it was received before

	UnknownPath     Result = "unknown_path"
	Unauthenticated Result = "unauthenticated"
	Suspended       Result = "suspended"
	BadMethod       Result = "bad_method"
	BadEncoding     Result = "bad_encoding" // a compressed body
	HeaderTooLarge  Result = "header_too_large"
	BodyTooLarge    Result = "body_too_large"
	Unreadable      Result = "unreadable" // too slow, or broken off
	Malformed       Result = "malformed"
	OtherEvent      Result = "other_event"
	FilterFailed    Result = "filter_failed"
	Busy            Result = "busy"    // the receiver has its hands full
	NoKeys          Result = "no_keys" // the issuer's keys could not be had
	Failed          Result = "failed"  // the callback failed
)

// status is how a result is answered. A stranger learns nothing: who is not
// authenticated is told what everybody is told who asks for a path that is not there.
func (r Result) status() int {
	switch r {
	case Received, Pinged, Unwanted, Duplicate:
		return http.StatusOK
	case BadMethod:
		return http.StatusMethodNotAllowed
	case BadEncoding:
		return http.StatusUnsupportedMediaType
	case HeaderTooLarge:
		return http.StatusRequestHeaderFieldsTooLarge
	case BodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case Unreadable, Malformed, OtherEvent, FilterFailed:
		return http.StatusBadRequest
	case Suspended, Busy, NoKeys:
		return http.StatusServiceUnavailable
	case Failed:
		return http.StatusInternalServerError
	default: // UnknownPath, Unauthenticated
		return http.StatusNotFound
	}
}

// Outcome tells of one request. Receiver and Type are empty where the path is not
// known, and Event where the request is not authentic.
type Outcome struct {
	Receiver Name
	Type     Type
	Event    string
	Result   Result
	Status   int           // of the answer
	Duration time.Duration // until the answer
	Err      error         // why it was refused; what a sender wrote is in it only in part
}
