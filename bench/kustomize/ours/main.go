// Command ours is our side of the benchmarks of kustomize.
package main

import (
	"context"
	"os"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/kustomize/trees"
	"github.com/gitopskit/gitopskit/kustomize"
)

func main() {
	side.Main(map[string]side.Setup{
		"kustomize/small":     build(trees.Small(), 1),
		"kustomize/unchanged": unchanged(trees.Unchanged(), 1000),
	})
}

// build builds a tree on disk, of which a number of objects has to come out.
func build(files map[string]string, objects int) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		if err := work.WriteFiles(env.Dir, files); err != nil {
			return side.Work{}, err
		}
		root, err := os.OpenRoot(env.Dir)
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{Do: func(ctx context.Context) error {
			res, err := kustomize.Build(ctx, root.FS(), ".", kustomize.Options{})
			if err != nil {
				return err
			}
			return work.Expect(len(res.Objects), objects)
		}}, nil
	}
}
