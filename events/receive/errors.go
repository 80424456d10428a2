package receive

import (
	"errors"
	"fmt"
)

var (
	// ErrPathTaken says that another receiver has the same path: the token and what
	// follows from joining name and namespace are the same.
	ErrPathTaken = errors.New("another receiver has the same path")
	// ErrTooManyReceivers says that [Limits].Receivers is reached.
	ErrTooManyReceivers = errors.New("too many receivers")
	// ErrUnauthenticated says that a request does not prove who sent it.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrMalformed says that a request is not what the platform documents.
	ErrMalformed = errors.New("malformed")
	// ErrIssuer says that the keys of an issuer could not be had.
	ErrIssuer = errors.New("the keys of the issuer are not available")

	errEmpty = errors.New("it is empty")
)

// ConfigError says which field of a receiver is wrong. It is terminal.
type ConfigError struct {
	Receiver Name
	Field    string
	Err      error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("receiver %s: %s: %v; correct it", e.Receiver, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Terminal says that another try cannot help.
func (e *ConfigError) Terminal() bool { return true }

// unauthenticated is an ErrUnauthenticated with a reason, for the observer alone.
func unauthenticated(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnauthenticated, fmt.Sprintf(format, args...))
}

// malformed is an ErrMalformed with a reason.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
