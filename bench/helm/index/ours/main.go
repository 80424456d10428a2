// Command ours is our side of the benchmark of repository indexes.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/gitopskit/gitopskit/bench/helm/index/entries"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/helm/repository"
)

func main() {
	side.Main(map[string]side.Setup{"helm/index-50mb": find(50_000_000)})
}

// find reads an index of so many bytes and looks one chart up.
func find(size int) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		path := filepath.Join(env.Dir, "index.yaml")
		if err := entries.Write(path, size); err != nil {
			return side.Work{}, err
		}
		return side.Work{Do: func(ctx context.Context) error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // it is only read
			index, err := repository.ReadIndex(ctx, f, repository.Limits{})
			if err != nil {
				return err
			}
			version, err := index.Find(entries.Chart, "")
			if err != nil {
				return err
			}
			return entries.Check(version.Version)
		}}, nil
	}
}
