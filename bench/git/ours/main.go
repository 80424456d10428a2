// Command ours is our side of the benchmarks of git.
package main

import (
	"context"
	"fmt"

	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/git"
)

func main() {
	side.Main(setups())
}

func setups() map[string]side.Setup {
	main := git.Ref{Branch: "main"}
	newest := git.Ref{SemVer: ">=0.0.0"}
	return map[string]side.Setup{
		"git/cold-large":        cold(func(repo hosted.Repo) (git.Ref, hosted.Tree) { return main, repo.Main }),
		"git/cold-large-vs-git": cold(func(repo hosted.Repo) (git.Ref, hosted.Tree) { return main, repo.Main }),
		"git/warm-one-file":     warm,
		"git/noop-branch":       noop(func(hosted.Repo) git.Ref { return main }),
		"git/noop-tag":          noop(func(repo hosted.Repo) git.Ref { return git.Ref{Tag: repo.Tag} }),
		"git/noop-semver":       noop(func(hosted.Repo) git.Ref { return newest }),
		"git/semver-1000-tags":  cold(func(repo hosted.Repo) (git.Ref, hosted.Tree) { return newest, repo.Tagged }),
		"git/commit-pin": cold(func(repo hosted.Repo) (git.Ref, hosted.Tree) {
			return git.Ref{Commit: repo.Pinned.Commit}, repo.Pinned
		}),
		"git/large-blob": cold(func(repo hosted.Repo) (git.Ref, hosted.Tree) { return main, repo.Main }),
	}
}

// cold fetches a revision of a repository that it has never seen, and reads every
// file.
func cold(choose func(hosted.Repo) (git.Ref, hosted.Tree)) side.Setup {
	return func(_ context.Context, env side.Env) (side.Work, error) {
		ref, want := choose(env.Repo)
		do := func(ctx context.Context) error {
			remote, err := git.Open(env.Repo.URL, git.Options{})
			if err != nil {
				return err
			}
			defer remote.Close() //nolint:errcheck // nothing is left to lose
			return fetch(ctx, remote, ref, want)
		}
		return side.Work{Do: do, Count: env.Repo.Count}, nil
	}
}

func fetch(ctx context.Context, remote *git.Remote, ref git.Ref, want hosted.Tree) error {
	rev, err := remote.Resolve(ctx, ref)
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
	return want.Read(snapshot)
}

// warm fetches a commit that changes one file, after the one before it, and reads
// every file.
func warm(ctx context.Context, env side.Env) (side.Work, error) {
	remote, err := git.Open(env.Repo.URL, git.Options{})
	if err != nil {
		return side.Work{}, err
	}
	const branch = "ours"
	want, err := env.Repo.Change(ctx, branch)
	if err != nil {
		return side.Work{}, err
	}
	if err := fetch(ctx, remote, git.Ref{Branch: branch}, want); err != nil {
		return side.Work{}, err
	}
	return side.Work{
		Prepare: func(ctx context.Context) (err error) {
			want, err = env.Repo.Change(ctx, branch)
			return err
		},
		Do:    func(ctx context.Context) error { return fetch(ctx, remote, git.Ref{Branch: branch}, want) },
		Count: env.Repo.Count,
	}, nil
}

// noop asks whether a reference has moved, which it has not.
func noop(choose func(hosted.Repo) git.Ref) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		ref := choose(env.Repo)
		remote, err := git.Open(env.Repo.URL, git.Options{})
		if err != nil {
			return side.Work{}, err
		}
		have, err := remote.Resolve(ctx, ref)
		if err != nil {
			return side.Work{}, err
		}
		if _, err := remote.Fetch(ctx, have, git.FetchOptions{}); err != nil {
			return side.Work{}, err
		}
		do := func(ctx context.Context) error {
			rev, err := remote.Resolve(ctx, ref)
			if err == nil && rev != have {
				err = fmt.Errorf("%v came out, not %v", rev, have)
			}
			return err
		}
		return side.Work{Do: do, Count: env.Repo.Count}, nil
	}
}
