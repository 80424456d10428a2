// Command ours is our side of the benchmarks of fetching artifacts.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/transfer"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(map[string]side.Setup{
		"artifact/fetch":         fetch,
		"artifact/fetch-vs-curl": fetch,
	})
}

// fetch writes the tree of an archive below a new folder.
func fetch(ctx context.Context, env side.Env) (side.Work, error) {
	archive, err := env.Repo.Archive(ctx)
	if err != nil {
		return side.Work{}, err
	}
	root, err := os.OpenRoot(env.Dir)
	if err != nil {
		return side.Work{}, err
	}
	fetcher, err := transfer.NewFetcher(transfer.FetcherOptions{})
	if err != nil {
		return side.Work{}, err
	}
	from := artifact.Artifact{URL: archive.URL, Digest: digest.Digest(archive.Digest), Size: &archive.Size}
	dir := filepath.Join(env.Dir, "tree")
	return side.Work{
		Do: func(ctx context.Context) error {
			_, err := fetcher.Unpack(ctx, from, root, artifact.UnpackOptions{Dir: "tree"})
			return err
		},
		Finish: func(context.Context) error {
			if err := env.Repo.Main.Written(os.DirFS(dir)); err != nil {
				return err
			}
			return os.RemoveAll(dir)
		},
		Count: env.Repo.Count,
	}, nil
}
