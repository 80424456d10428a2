package s3gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const (
	program = "versitygw"
	pkg     = "github.com/versity/versitygw/cmd/versitygw"
)

// modulePath is where the module that names the program lies in the repository.
var modulePath = filepath.Join("tools", "s3gateway")

// Ensure returns the file of the program. It is built once for this machine, into
// the user's cache, from the module that names its version.
func Ensure(ctx context.Context) (string, error) {
	dir, key, err := findModule()
	if err != nil {
		return "", fmt.Errorf("s3gateway: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("s3gateway: %w", err)
	}
	file := filepath.Join(cache, "gitopskit", "s3gateway", key, program)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := build(ctx, dir, file); err != nil {
		return "", fmt.Errorf("s3gateway: %w", err)
	}
	return file, nil
}

// build makes the program under another name, so that a build that is stopped, or
// runs twice, leaves nothing that is not whole.
func build(ctx context.Context, module, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(file), "build")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // it is in a cache
	fmt.Fprintf(os.Stderr, "building %s, which takes a minute, once for this machine\n", program)
	fresh := filepath.Join(temp, program)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", fresh, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w:\n%s", pkg, err, out)
	}
	return os.Rename(fresh, file)
}

// findModule looks for the module from the working directory upwards, and makes a
// key of all that decides what is built.
func findModule() (dir, key string, err error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	for root := wd; ; root = filepath.Dir(root) {
		dir := filepath.Join(root, modulePath)
		sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
		if err == nil {
			return dir, fmt.Sprintf("%s-%s-%x", runtime.GOOS, runtime.GOARCH, sha256.Sum256(sum))[:40], nil
		}
		if !errors.Is(err, fs.ErrNotExist) || root == filepath.Dir(root) {
			return "", "", fmt.Errorf("no %s above %s: %w", modulePath, wd, err)
		}
	}
}
