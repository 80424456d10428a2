// Command command is the git command's side of benchmarks of git.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec" //nolint:depguard // the git command is what is measured
	"path/filepath"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(map[string]side.Setup{
		"git/cold-large-vs-git": clone,
	})
}

// clone is a shallow clone with a checkout, without the configuration of the user
// and of the system.
func clone(_ context.Context, env side.Env) (side.Work, error) {
	dir := filepath.Join(env.Dir, "clone")
	git := func(ctx context.Context, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + env.Dir, "LC_ALL=C",
			"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(errs.Bytes()))
		}
		return string(bytes.TrimSpace(out)), err
	}
	return side.Work{
		Do: func(ctx context.Context) error {
			_, err := git(ctx, "clone", "--quiet", "--depth", "1", env.Repo.URL, dir)
			return err
		},
		Finish: func(ctx context.Context) error {
			commit, err := git(ctx, "-C", dir, "rev-parse", "HEAD")
			if err != nil {
				return err
			}
			if err := env.Repo.Main.Found(commit); err != nil {
				return err
			}
			if err := env.Repo.Main.Written(os.DirFS(dir)); err != nil {
				return err
			}
			return os.RemoveAll(dir)
		},
		Count: env.Repo.Count,
	}, nil
}
