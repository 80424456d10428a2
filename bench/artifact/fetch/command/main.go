// Command command is the side of curl and tar in the benchmarks of fetching
// artifacts.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec" //nolint:depguard // the commands are what is measured
	"path/filepath"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(map[string]side.Setup{
		"artifact/fetch-vs-curl": fetch,
	})
}

// fetch writes the tree of an archive below a new folder, while it comes in.
func fetch(ctx context.Context, env side.Env) (side.Work, error) {
	archive, err := env.Repo.Archive(ctx)
	if err != nil {
		return side.Work{}, err
	}
	dir := filepath.Join(env.Dir, "tree")
	return side.Work{
		Prepare: func(context.Context) error { return os.Mkdir(dir, 0o700) },
		Do:      func(ctx context.Context) error { return pipe(ctx, archive.URL, dir) },
		Finish: func(context.Context) error {
			if err := env.Repo.Main.Written(os.DirFS(dir)); err != nil {
				return err
			}
			return os.RemoveAll(dir)
		},
		Count: env.Repo.Count,
	}, nil
}

// pipe is "curl -sSf URL | tar -xz -C dir".
func pipe(ctx context.Context, url, dir string) error {
	var curlSays, tarSays bytes.Buffer
	curl := exec.CommandContext(ctx, "curl", "--disable", "--silent", "--show-error", "--fail", url)
	tar := exec.CommandContext(ctx, "tar", "-xz", "-C", dir)
	curl.Stderr, tar.Stderr = &curlSays, &tarSays
	var err error
	if tar.Stdin, err = curl.StdoutPipe(); err != nil {
		return err
	}
	if err := curl.Start(); err != nil {
		return err
	}
	if err := errors.Join(tar.Run(), curl.Wait()); err != nil {
		return fmt.Errorf("curl and tar: %w: %s %s", err, bytes.TrimSpace(curlSays.Bytes()), bytes.TrimSpace(tarSays.Bytes()))
	}
	return nil
}
