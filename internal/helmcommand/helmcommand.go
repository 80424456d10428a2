// Package helmcommand builds the real helm command, for tests and benchmarks that
// hold our releases against it. It is built once, from the module in tools/helm,
// and kept in the user's cache folder.
package helmcommand

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Ensure returns the path of the command.
func Ensure(ctx context.Context) (string, error) {
	module, err := moduleFolder()
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(append(sum, runtime.Version()...))
	dir := filepath.Join(cache, "gitopskit", "helm-"+hex.EncodeToString(digest[:6]))
	program := filepath.Join(dir, "helm")
	if _, err := os.Stat(program); err == nil { //nolint:gosec // it is in the user's cache
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // it is in the user's cache
		return "", err
	}
	return program, build(ctx, module, dir, program)
}

// build makes the command appear whole or not at all, however many build it.
func build(ctx context.Context, module, dir, program string) error {
	temp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // it is in a cache
	fresh := filepath.Join(temp, "helm")
	cmd := exec.CommandContext( //nolint:gosec // a program of the toolchain
		ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", fresh, "helm.sh/helm/v3/cmd/helm")
	cmd.Dir = module
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the helm command: %w:\n%s", err, out)
	}
	return os.Rename(fresh, program) //nolint:gosec // it is in the user's cache
}

// moduleFolder finds tools/helm from where this file is.
func moduleFolder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("helmcommand: no source file is known")
	}
	dir := filepath.Join(filepath.Dir(file), "..", "..", "tools", "helm")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("helmcommand: %w; do not build the tests with -trimpath", err)
	}
	return dir, nil
}
