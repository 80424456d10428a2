// Command peer is the side of fluxcd/pkg/http/fetch in the benchmarks of fetching
// artifacts.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/fluxcd/pkg/http/fetch"
	"github.com/fluxcd/pkg/tar"

	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(map[string]side.Setup{
		"artifact/fetch": fetchArchive,
	})
}

// fetchArchive writes the tree of an archive below a new folder, as
// kustomize-controller does.
func fetchArchive(ctx context.Context, env side.Env) (side.Work, error) {
	archive, err := env.Repo.Archive(ctx)
	if err != nil {
		return side.Work{}, err
	}
	fetcher := fetch.New(fetch.WithRetries(0), fetch.WithUntar(tar.WithMaxUntarSize(tar.UnlimitedUntarSize)))
	dir := filepath.Join(env.Dir, "tree")
	return side.Work{
		Prepare: func(context.Context) error { return os.Mkdir(dir, 0o700) },
		Do: func(ctx context.Context) error {
			return fetcher.FetchWithContext(ctx, archive.URL, archive.Digest, dir)
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
