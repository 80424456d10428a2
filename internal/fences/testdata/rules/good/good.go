// Package good looks like what the rules forbid, and is not.
package good

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"sync"
	"time"
)

var (
	ErrNotFound = errors.New("not found")
	errInner    = fmt.Errorf("inner: %w", ErrNotFound)

	names     = map[string]int{"a": 1}
	pattern   = regexp.MustCompile("^a" + "$")
	errorType = reflect.TypeFor[error]()
	parsed    = sync.OnceValue(func() int { return len(text) })

	_ io.Reader = (*reader)(nil)
)

//go:embed good.go
var text string

type reader struct{ panic func() }

func (r *reader) Read(p []byte) (int, error) {
	r.panic()
	names := map[string]int{}
	names["local"] = 1
	return 0, errInner
}

// Getenv is a function of our own.
func Getenv(name string) int { return names[name] + parsed() }

// Wait ends with its context.
func Wait(ctx context.Context, w io.Writer) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	_ = Getenv("os.Getenv")
	fmt.Fprintln(w, pattern, errorType)
	f, _ := os.CreateTemp("given", "") //nolint:errcheck // a reason
	_ = f
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
