// Command command is the side of tar and gzip of benchmarks of artifact.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec" //nolint:depguard // the commands are what is measured
	"path/filepath"
	"strings"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(map[string]side.Setup{
		"artifact/pack-large-vs-tar": packLarge,
	})
}

// packLarge packs what was checked out before, at the level that we have. It takes
// no digest.
func packLarge(ctx context.Context, env side.Env) (side.Work, error) {
	dir, file := filepath.Join(env.Dir, "clone"), filepath.Join(env.Dir, "made.tar.gz")
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + env.Dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1"}
	command := func(ctx context.Context, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(ctx, name, args...)
		var errs bytes.Buffer
		cmd.Env, cmd.Stderr = environ, &errs
		return cmd, &errs
	}
	clone, errs := command(ctx, "git", "clone", "--quiet", "--depth", "1", env.Repo.URL, dir)
	if err := clone.Run(); err != nil {
		return side.Work{}, fmt.Errorf("git clone: %w: %s", err, errs)
	}
	do := func(ctx context.Context) error {
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		tar, tarErrs := command(ctx, "tar", "-C", dir, "--exclude=./.git", "-cf", "-", ".")
		zip, zipErrs := command(ctx, "gzip", "-1")
		if zip.Stdin, err = tar.StdoutPipe(); err != nil {
			return err
		}
		zip.Stdout = out
		if err := errors.Join(tar.Start(), zip.Start()); err != nil {
			return err
		}
		if err := errors.Join(zip.Wait(), tar.Wait(), out.Close()); err != nil {
			return fmt.Errorf("tar | gzip: %w: %s%s", err, tarErrs, zipErrs)
		}
		return nil
	}
	finish := func(ctx context.Context) error {
		list, errs := command(ctx, "tar", "-tzf", file)
		out, err := list.Output()
		if err != nil {
			return fmt.Errorf("tar: %w: %s", err, errs)
		}
		files := 0
		for line := range strings.Lines(string(out)) {
			if !strings.HasSuffix(line, "/\n") {
				files++
			}
		}
		if files != env.Repo.Main.Files {
			return fmt.Errorf("%d files were packed, not %d", files, env.Repo.Main.Files)
		}
		return os.Remove(file)
	}
	return side.Work{Do: do, Finish: finish, Count: env.Repo.Count}, nil
}
