package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/bench/kustomize/trees"
	"github.com/gitopskit/gitopskit/kustomize"
)

// unchanged finds out that there is nothing to build, in a tree that knows the ids
// of its files, as one of Git does.
func unchanged(t trees.Tree) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		if err := work.WriteFiles(env.Dir, t.Files); err != nil {
			return side.Work{}, err
		}
		root, err := os.OpenRoot(env.Dir)
		if err != nil {
			return side.Work{}, err
		}
		tree, err := known(root.FS(), t.Files)
		if err != nil {
			return side.Work{}, err
		}
		res, err := kustomize.Build(ctx, tree, ".", kustomize.Options{})
		if err != nil {
			return side.Work{}, err
		}
		if err := work.Expect(len(res.Objects), t.Objects); err != nil {
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

// withIDs is a tree that has in memory what its files and directories are, though
// not what is in them. It has no hashes of directories, with which one look-up
// would do.
type withIDs struct {
	fs.FS
	infos map[string]fs.FileInfo
	ids   map[string]string
}

func known(fsys fs.FS, files map[string]string) (withIDs, error) {
	t := withIDs{FS: fsys, infos: map[string]fs.FileInfo{}, ids: map[string]string{}}
	for name, content := range files {
		h := sha256.Sum256([]byte(content))
		t.ids[name] = hex.EncodeToString(h[:])
		for ; t.infos[name] == nil; name = path.Dir(name) {
			var err error
			if t.infos[name], err = fs.Lstat(fsys, name); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func (t withIDs) Lstat(name string) (fs.FileInfo, error) {
	if info := t.infos[name]; info != nil {
		return info, nil
	}
	return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
}

func (t withIDs) ReadLink(name string) (string, error) { return fs.ReadLink(t.FS, name) }

func (t withIDs) ContentID(name string) (string, error) {
	if id := t.ids[name]; id != "" {
		return id, nil
	}
	return "", &fs.PathError{Op: "contentid", Path: name, Err: fs.ErrNotExist}
}
