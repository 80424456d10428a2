package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Error says what a server did not do. A key or a bucket that is not there matches
// [fs.ErrNotExist].
type Error struct {
	Op      string // what was asked for, and the key
	Status  int    // of HTTP; 0 if there was no answer
	Code    string // of S3, such as AccessDenied
	Message string
	Err     error // the cause, where callers may want to know it
}

func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("s3: %s: %s", e.Op, e.Message)
	}
	return fmt.Sprintf("s3: %s: the server answers %d %s: %s", e.Op, e.Status, e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// OptionsError says that a field of [Options] makes no sense.
type OptionsError struct {
	Field  string
	Reason string
}

func (e *OptionsError) Error() string { return "s3: Options." + e.Field + ": " + e.Reason }

// Terminal reports that trying again cannot help.
func (e *OptionsError) Terminal() bool { return true }

// errSize is for a body that is not as long as announced.
var errSize = errors.New("the body does not have the size that was announced")

// maxAnswer bounds what is read of an answer that is not a file.
const maxAnswer = 8 << 20

// refused makes an error of an answer, and closes it.
func refused(op string, resp *http.Response, cred Credentials) error {
	defer resp.Body.Close()
	out := &Error{Op: op, Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
	var said struct {
		Code    string
		Message string
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && xml.Unmarshal(data, &said) == nil && said.Code != "" {
		out.Code, out.Message = clean(said.Code, 100, cred), clean(said.Message, 500, cred)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound && said.Code == "NoSuchBucket":
		out.Message = "there is no such bucket: make it first"
	case resp.StatusCode == http.StatusNotFound && (said.Code == "" || said.Code == "NoSuchKey"):
		out.Err = fs.ErrNotExist
	case resp.StatusCode/100 == 3:
		out.Message = "it has the bucket elsewhere: correct Options.Endpoint and Options.Region"
	}
	return out
}

// unanswered makes an error of a request without an answer.
func unanswered(op string, err error, cred Credentials) error {
	var uerr *url.Error
	if errors.As(err, &uerr) { // which repeats the URL
		err = uerr.Err
	}
	return &Error{Op: op, Message: clean(err.Error(), 500, cred), Err: err}
}

// clean makes a text from outside fit for an error: a server may repeat what it
// was sent.
func clean(s string, limit int, cred Credentials) string {
	for _, secret := range []string{cred.SecretKey, cred.SessionToken} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return clip.Text(strings.Join(strings.Fields(s), " "), limit)
}
