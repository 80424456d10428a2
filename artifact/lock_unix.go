//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock keeps the other processes and goroutines that share the directory out. The
// system lifts it when the process ends, however it ends.
func (f *folder) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := os.Open(filepath.Join(f.dir, archiveDir))
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = dir.Close() }, nil // it was only read
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir.Name(), err), dir.Close())
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(context.Cause(ctx), dir.Close())
		case <-timer.C:
		}
	}
}
