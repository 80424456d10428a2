// Command peer is the peer's side of the benchmarks of git. It does what the
// peer's controller does on a reconcile: a shallow clone with a checkout into a
// new folder.
package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

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
	main := repository.CheckoutStrategy{Branch: "main"}
	newest := repository.CheckoutStrategy{SemVer: ">=0.0.0"}
	return map[string]side.Setup{
		"git/cold-large":    cold(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) { return main, repo.Main }),
		"git/warm-one-file": warm,
		"git/noop-branch":   noop(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) { return main, repo.Main }),
		"git/noop-tag": noop(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) {
			return repository.CheckoutStrategy{Tag: repo.Tag}, repo.Tagged
		}),
		// It cannot tell that a range means what it did before, and clones.
		"git/noop-semver": cold(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) { return newest, repo.Tagged }),
		"git/semver-1000-tags": cold(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) {
			return newest, repo.Tagged
		}),
		"git/commit-pin": cold(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) {
			return repository.CheckoutStrategy{Commit: repo.Pinned.Commit, Branch: "main"}, repo.Pinned
		}),
		"git/large-blob": cold(func(repo hosted.Repo) (repository.CheckoutStrategy, hosted.Tree) { return main, repo.Main }),
	}
}

// cold clones.
func cold(choose func(hosted.Repo) (repository.CheckoutStrategy, hosted.Tree)) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		c := &cloner{url: env.Repo.URL, dir: filepath.Join(env.Dir, "clone")}
		c.config.CheckoutStrategy, c.want = choose(env.Repo)
		return side.Work{Do: c.clone, Finish: c.check, Count: env.Repo.Count}, nil
	}
}

// warm clones a commit that changes one file, knowing the one before it.
func warm(ctx context.Context, env side.Env) (side.Work, error) {
	const branch = "peer"
	c := &cloner{url: env.Repo.URL, dir: filepath.Join(env.Dir, "clone")}
	c.config.Branch = branch
	change := func(ctx context.Context) (err error) {
		c.config.LastObservedCommit = branch + "@sha1:" + c.want.Commit
		c.want, err = env.Repo.Change(ctx, branch)
		return err
	}
	return side.Work{Prepare: change, Do: c.clone, Finish: c.check, Count: env.Repo.Count}, change(ctx)
}

// noop asks whether a reference has moved, which it has not.
func noop(choose func(hosted.Repo) (repository.CheckoutStrategy, hosted.Tree)) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		c := &cloner{url: env.Repo.URL, dir: filepath.Join(env.Dir, "clone"), unchanged: true}
		c.config.CheckoutStrategy, c.want = choose(env.Repo)
		c.config.LastObservedCommit = c.config.Tag + c.config.Branch + "@sha1:" + c.want.Commit
		return side.Work{Do: c.clone, Count: env.Repo.Count}, nil
	}
}

type cloner struct {
	url, dir  string
	config    repository.CloneConfig
	want      hosted.Tree
	unchanged bool // nothing is cloned
}

func (c *cloner) clone(ctx context.Context) error {
	client, err := gogit.NewClient(c.dir, &flux.AuthOptions{Transport: flux.HTTP}, gogit.WithDiskStorage())
	if err != nil {
		return err
	}
	defer client.Close()
	c.config.ShallowClone = true
	commit, err := client.Clone(ctx, c.url, c.config)
	if err != nil {
		return err
	}
	if flux.IsConcreteCommit(*commit) == c.unchanged {
		return errors.New("the commit was not taken for what it is, new or old")
	}
	return c.want.Found(commit.Hash.String())
}

// check holds that the files are there, and removes them.
func (c *cloner) check(context.Context) error {
	if err := c.want.Written(os.DirFS(c.dir)); err != nil {
		return err
	}
	return os.RemoveAll(c.dir)
}
