// Package work is what the sides of all benchmarks share. Every program links
// it, so it imports nothing but the standard library.
package work

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// WriteFiles writes files, by their path in dir.
func WriteFiles(dir string, files map[string]string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is written through the folder itself
	for name, content := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		if err := root.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Expect holds that the work was done.
func Expect(got, want int) error {
	if got != want {
		return fmt.Errorf("%d objects came out, not %d", got, want)
	}
	return nil
}

// AtOnce runs f a number of times at once, and waits for all.
func AtOnce(times int, f func() error) error {
	errs := make([]error, times)
	var wait sync.WaitGroup
	for i := range times {
		wait.Go(func() { errs[i] = f() })
	}
	wait.Wait()
	return errors.Join(errs...)
}
