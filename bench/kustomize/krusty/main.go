// Command krusty is kustomize itself, as the other side of the benchmarks in which
// its own time matters: without a schema to load for each build, and without the
// way from its result to objects.
package main

import (
	"context"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/kustomize/trees"
)

func main() {
	side.Main(map[string]side.Setup{
		"kustomize/1000-overlay-krusty": build(trees.Overlay(200)),
	})
}

func build(tree trees.Tree) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		if err := work.WriteFiles(env.Dir, tree.Files); err != nil {
			return side.Work{}, err
		}
		kustomizer := krusty.MakeKustomizer(&krusty.Options{
			Reorder:          krusty.ReorderOptionNone,
			LoadRestrictions: types.LoadRestrictionsNone,
			PluginConfig:     types.DisabledPluginConfig(),
		})
		return side.Work{Do: func(context.Context) error {
			res, err := kustomizer.Run(filesys.MakeFsOnDisk(), filepath.Join(env.Dir, tree.Dir))
			if err != nil {
				return err
			}
			return work.Expect(res.Size(), tree.Objects)
		}}, nil
	}
}
