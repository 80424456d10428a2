package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/kustomize"
)

// unchanged finds out that there is nothing to build, in a tree that knows the ids
// of its files, as one of Git does.
func unchanged(files map[string]string, objects int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		if err := work.WriteFiles(env.Dir, files); err != nil {
			return side.Work{}, err
		}
		root, err := os.OpenRoot(env.Dir)
		if err != nil {
			return side.Work{}, err
		}
		tree := withIDs{ReadLinkFS: root.FS().(fs.ReadLinkFS), ids: map[string]string{}}
		for name, content := range files {
			h := sha256.Sum256([]byte(content))
			tree.ids[name] = hex.EncodeToString(h[:])
		}
		res, err := kustomize.Build(ctx, tree, ".", kustomize.Options{})
		if err != nil {
			return side.Work{}, err
		}
		if err := work.Expect(len(res.Objects), objects); err != nil {
			return side.Work{}, err
		}
		return side.Work{Do: func(ctx context.Context) error {
			same, err := res.Inputs.Unchanged(ctx, tree, ".", kustomize.Options{})
			if err == nil && !same {
				err = errors.New("it has not changed")
			}
			return err
		}}, nil
	}
}

// withIDs is a tree on disk. It has no hashes of directories, which would make one
// look-up of it all.
type withIDs struct {
	fs.ReadLinkFS
	ids map[string]string
}

func (t withIDs) ContentID(name string) (string, error) {
	if id := t.ids[name]; id != "" {
		return id, nil
	}
	return "", &fs.PathError{Op: "contentid", Path: name, Err: fs.ErrNotExist}
}
