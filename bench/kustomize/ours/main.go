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
		"kustomize/small":               build(trees.Small(), 1),
		"kustomize/overlay-20":          build(trees.Overlay(4), 1),
		"kustomize/parallel-2":          build(trees.Overlay(4), 2),
		"kustomize/1000-plain":          build(trees.Plain(200), 1),
		"kustomize/1000-overlay":        build(trees.Overlay(200), 1),
		"kustomize/1000-overlay-krusty": build(trees.Overlay(200), 1),
		"kustomize/unchanged":           unchanged(trees.Unchanged()),
	})
}

// build builds a tree on disk, as often at once as asked for.
func build(tree trees.Tree, atOnce int) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		if err := work.WriteFiles(env.Dir, tree.Files); err != nil {
			return side.Work{}, err
		}
		root, err := os.OpenRoot(env.Dir)
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{Do: func(ctx context.Context) error {
			return work.AtOnce(atOnce, func() error {
				res, err := kustomize.Build(ctx, root.FS(), tree.Dir, kustomize.Options{})
				if err != nil {
					return err
				}
				return work.Expect(len(res.Objects), tree.Objects)
			})
		}}, nil
	}
}
