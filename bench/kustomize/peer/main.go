// Command peer is the peer's side of the benchmarks of kustomize.
package main

import (
	"context"

	flux "github.com/fluxcd/pkg/kustomize"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/kustomize/trees"
)

func main() {
	side.Main(map[string]side.Setup{
		"kustomize/small":     build(trees.Small(), 1),
		"kustomize/unchanged": build(trees.Unchanged(), 1000),
	})
}

// build builds a tree on disk, of which a number of objects has to come out.
func build(files map[string]string, objects int) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		if err := work.WriteFiles(env.Dir, files); err != nil {
			return side.Work{}, err
		}
		return side.Work{Do: func(context.Context) error {
			res, err := flux.SecureBuild(env.Dir, env.Dir, false)
			if err != nil {
				return err
			}
			return work.Expect(res.Size(), objects)
		}}, nil
	}
}
