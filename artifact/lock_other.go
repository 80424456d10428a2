//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package artifact

import (
	"context"
	"errors"
	"fmt"
)

func (f *folder) lock(context.Context) (unlock func(), err error) {
	return nil, fmt.Errorf("lock %s: %w on this system", f.dir, errors.ErrUnsupported)
}
