package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	flux "github.com/fluxcd/pkg/kustomize"

	"github.com/gitopskit/gitopskit/kustomize"
)

// kustomizeSmall builds one ConfigMap from a directory on disk.
func kustomizeSmall() Pair {
	files := map[string]string{
		"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- config.yaml\n",
		"config.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config\n  namespace: default\ndata:\n  key: value\n",
	}
	return Pair{
		Name:     "kustomize/small",
		PeerName: "github.com/fluxcd/pkg/kustomize v1.41.0",
		Ours: func(_ context.Context, env Env) (Work, error) {
			if err := writeFiles(env.Dir, files); err != nil {
				return Work{}, err
			}
			root, err := os.OpenRoot(env.Dir)
			if err != nil {
				return Work{}, err
			}
			return Work{Do: func(ctx context.Context) error {
				res, err := kustomize.Build(ctx, root.FS(), ".", kustomize.Options{})
				if err != nil {
					return err
				}
				return expect(len(res.Objects), 1)
			}}, nil
		},
		Peer: func(_ context.Context, env Env) (Work, error) {
			if err := writeFiles(env.Dir, files); err != nil {
				return Work{}, err
			}
			return Work{Do: func(context.Context) error {
				res, err := flux.SecureBuild(env.Dir, env.Dir, false)
				if err != nil {
					return err
				}
				return expect(res.Size(), 1)
			}}, nil
		},
	}
}

func writeFiles(dir string, files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// expect holds that the work was done.
func expect(got, want int) error {
	if got != want {
		return fmt.Errorf("%d objects came out, not %d", got, want)
	}
	return nil
}
