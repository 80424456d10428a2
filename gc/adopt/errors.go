package adopt

import (
	"fmt"
	"strings"

	"github.com/gitopskit/gitopskit/gc"
)

// Error says which entries of an inventory could not be read.
type Error struct {
	Problems []error // *IDError, *AmbiguousError, or what is wrong with the whole; never empty
}

func (e *Error) Error() string {
	msg := "adopt: " + e.Problems[0].Error()
	if n := len(e.Problems) - 1; n > 0 {
		msg += fmt.Sprintf(" (and %d more)", n)
	}
	return msg
}

// Unwrap returns all of them.
func (e *Error) Unwrap() []error { return e.Problems }

// IDError says that an entry is of no use.
type IDError struct {
	ID     string // as it is in the inventory
	Reason string
	Err    error // from Options, or nil
}

func (e *IDError) Error() string {
	msg := fmt.Sprintf("entry %q: %s", e.ID, e.Reason)
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap returns the error of Options.Lookup or Options.Choose.
func (e *IDError) Unwrap() error { return e.Err }

// Terminal says that trying again cannot help.
func (e *IDError) Terminal() bool { return e.Err == nil }

// AmbiguousError says that an id means one of several objects.
type AmbiguousError struct {
	ID         string
	Candidates []gc.Key // two to sixteen
}

func (e *AmbiguousError) Error() string {
	names := make([]string, 0, len(e.Candidates))
	for _, k := range e.Candidates {
		names = append(names, k.String())
	}
	return fmt.Sprintf("entry %q may be %s; tell by Options.Choose which one it is", e.ID, strings.Join(names, " or "))
}

// Terminal says that trying again cannot help.
func (e *AmbiguousError) Terminal() bool { return true }
