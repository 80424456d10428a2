// Command peer is the peer's side of the benchmarks of artifact. It does what the
// peer's controller does: a shallow clone with a checkout, which its storage
// archives.
package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/artifact/config"
	"github.com/fluxcd/pkg/artifact/storage"
	flux "github.com/fluxcd/pkg/git"
	"github.com/fluxcd/pkg/git/gogit"
	"github.com/fluxcd/pkg/git/repository"

	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	side.Main(setups())
}

func setups() map[string]side.Setup {
	return map[string]side.Setup{
		"artifact/pack-large": packLarge,
		"artifact/git-cold":   cold,
		"artifact/git-warm":   warm,
	}
}

// packLarge archives what was checked out before.
func packLarge(ctx context.Context, env side.Env) (side.Work, error) {
	p, err := newProducer(env, "main", env.Repo.Main)
	if err != nil {
		return side.Work{}, err
	}
	if err := p.clone(ctx); err != nil {
		return side.Work{}, err
	}
	return side.Work{Do: p.archive, Finish: p.check, Count: env.Repo.Count}, nil
}

// cold clones, and archives.
func cold(_ context.Context, env side.Env) (side.Work, error) {
	p, err := newProducer(env, "main", env.Repo.Main)
	if err != nil {
		return side.Work{}, err
	}
	return side.Work{Do: p.produce, Finish: p.clear, Count: env.Repo.Count}, nil
}

// warm does the same for a commit that changes one file, knowing the one before it.
func warm(ctx context.Context, env side.Env) (side.Work, error) {
	const branch = "peer"
	p, err := newProducer(env, branch, hosted.Tree{})
	if err != nil {
		return side.Work{}, err
	}
	change := func(ctx context.Context) (err error) {
		p.observed = branch + "@sha1:" + p.want.Commit
		p.want, err = env.Repo.Change(ctx, branch)
		return err
	}
	return side.Work{Prepare: change, Do: p.produce, Finish: p.clear, Count: env.Repo.Count}, change(ctx)
}

type producer struct {
	url, dir, branch string
	observed         string
	want             hosted.Tree
	storage          *storage.Storage
	made             meta.Artifact
}

func newProducer(env side.Env, branch string, want hosted.Tree) (*producer, error) {
	kept := filepath.Join(env.Dir, "storage")
	if err := os.Mkdir(kept, 0o700); err != nil {
		return nil, err
	}
	s, err := storage.New(&config.Options{StoragePath: kept, StorageAdvAddress: "localhost"})
	if err != nil {
		return nil, err
	}
	return &producer{url: env.Repo.URL, dir: filepath.Join(env.Dir, "clone"), branch: branch, want: want, storage: s}, nil
}

func (p *producer) produce(ctx context.Context) error {
	if err := p.clone(ctx); err != nil {
		return err
	}
	return p.archive(ctx)
}

func (p *producer) clone(ctx context.Context) error {
	client, err := gogit.NewClient(p.dir, &flux.AuthOptions{Transport: flux.HTTP}, gogit.WithDiskStorage())
	if err != nil {
		return err
	}
	defer client.Close()
	commit, err := client.Clone(ctx, p.url, repository.CloneConfig{
		CheckoutStrategy:   repository.CheckoutStrategy{Branch: p.branch},
		ShallowClone:       true,
		LastObservedCommit: p.observed,
	})
	if err != nil {
		return err
	}
	if !flux.IsConcreteCommit(*commit) {
		return errors.New("the commit was taken for an old one")
	}
	return p.want.Found(commit.Hash.String())
}

// archive takes all but Git's own folder.
func (p *producer) archive(context.Context) error {
	p.made = meta.Artifact{Path: "gitrepository/default/bench/" + p.want.Commit + ".tar.gz"}
	if err := p.storage.MkdirAll(p.made); err != nil {
		return err
	}
	own := filepath.Join(p.dir, ".git")
	return p.storage.Archive(&p.made, p.dir, func(name string, _ os.FileInfo) bool {
		return name == own || strings.HasPrefix(name, own+string(filepath.Separator))
	})
}

// clear removes the checkout too.
func (p *producer) clear(ctx context.Context) error {
	return errors.Join(p.check(ctx), os.RemoveAll(p.dir))
}

// check holds that the archive has all of the tree, and removes it.
func (p *producer) check(context.Context) error {
	f, err := os.Open(p.storage.LocalPath(p.made))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	zip, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	found := hosted.Tree{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			found.Files, found.Bytes = found.Files+1, found.Bytes+h.Size
		}
	}
	if p.made.Digest == "" || found.Files != p.want.Files || found.Bytes != p.want.Bytes {
		return fmt.Errorf("%d files of %d bytes were packed, not %d of %d", found.Files, found.Bytes, p.want.Files, p.want.Bytes)
	}
	return os.Remove(p.storage.LocalPath(p.made))
}
