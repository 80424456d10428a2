// Command ours is our side of the benchmarks of artifact.
package main

import (
	"context"
	"fmt"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/git"
)

func main() {
	side.Main(setups())
}

func setups() map[string]side.Setup {
	return map[string]side.Setup{
		"artifact/pack-large":        packLarge,
		"artifact/pack-large-vs-tar": packLarge,
		"artifact/git-cold":          cold,
		"artifact/git-warm":          warm,
	}
}

// whole holds that an archive has all of the tree.
func whole(sum artifact.Summary, want hosted.Tree) error {
	if sum.Files != want.Files || sum.ContentSize != want.Bytes {
		return fmt.Errorf("%d files of %d bytes were packed, not %d of %d", sum.Files, sum.ContentSize, want.Files, want.Bytes)
	}
	return nil
}

// packLarge packs a revision that was fetched before into a store.
func packLarge(ctx context.Context, env side.Env) (side.Work, error) {
	remote, err := git.Open(env.Repo.URL, git.Options{})
	if err != nil {
		return side.Work{}, err
	}
	rev, err := remote.Resolve(ctx, git.Ref{Branch: "main"})
	if err != nil {
		return side.Work{}, err
	}
	snapshot, err := remote.Fetch(ctx, rev, git.FetchOptions{})
	if err != nil {
		return side.Work{}, err
	}
	store, err := artifact.NewStore(env.Dir, artifact.StoreOptions{})
	if err != nil {
		return side.Work{}, err
	}
	do := func(ctx context.Context) error {
		sum, err := store.Pack(ctx, snapshot, artifact.PackOptions{})
		if err != nil {
			return err
		}
		return whole(sum, env.Repo.Main)
	}
	return side.Work{Do: do, Count: env.Repo.Count}, nil
}

// cold goes from the address of a repository that was never seen to a stored
// archive. It is packed while it arrives.
func cold(_ context.Context, env side.Env) (side.Work, error) {
	store, err := artifact.NewStore(env.Dir, artifact.StoreOptions{})
	if err != nil {
		return side.Work{}, err
	}
	do := func(ctx context.Context) error {
		remote, err := git.Open(env.Repo.URL, git.Options{})
		if err != nil {
			return err
		}
		defer remote.Close() //nolint:errcheck // nothing is left to lose
		rev, err := remote.Resolve(ctx, git.Ref{Branch: "main"})
		if err != nil {
			return err
		}
		var sum artifact.Summary
		snapshot, err := remote.Fetch(ctx, rev, git.FetchOptions{Stream: func(ctx context.Context, s *git.Snapshot) (err error) {
			sum, err = store.Pack(ctx, s, artifact.PackOptions{Incremental: true})
			return err
		}})
		if err != nil {
			return err
		}
		if err := env.Repo.Main.Found(snapshot.Commit().Hash); err != nil {
			return err
		}
		return whole(sum, env.Repo.Main)
	}
	return side.Work{Do: do, Count: env.Repo.Count}, nil
}

// warm goes from a commit that changes one file to a stored archive, after the
// commit before it.
func warm(ctx context.Context, env side.Env) (side.Work, error) {
	const branch = "ours"
	want, err := env.Repo.Change(ctx, branch)
	if err != nil {
		return side.Work{}, err
	}
	remote, err := git.Open(env.Repo.URL, git.Options{})
	if err != nil {
		return side.Work{}, err
	}
	store, err := artifact.NewStore(env.Dir, artifact.StoreOptions{})
	if err != nil {
		return side.Work{}, err
	}
	var last artifact.Summary
	do := func(ctx context.Context) error {
		rev, err := remote.Resolve(ctx, git.Ref{Branch: branch})
		if err != nil {
			return err
		}
		snapshot, err := remote.Fetch(ctx, rev, git.FetchOptions{})
		if err != nil {
			return err
		}
		if err := want.Found(snapshot.Commit().Hash); err != nil {
			return err
		}
		if last, err = store.Pack(ctx, snapshot, artifact.PackOptions{Incremental: true, Since: last}); err != nil {
			return err
		}
		return whole(last, want)
	}
	if err := do(ctx); err != nil {
		return side.Work{}, err
	}
	change := func(ctx context.Context) (err error) {
		want, err = env.Repo.Change(ctx, branch)
		return err
	}
	return side.Work{Prepare: change, Do: do, Count: env.Repo.Count}, nil
}
