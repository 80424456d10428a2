package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// From a SemVer range to a file of a release that the right person signed.
func Example() {
	ctx := context.Background()
	server, publicKey, err := exampleServer(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	remote, err := git.Open(server.URL+"/fleet.git", git.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remote.Close()
	revision, err := remote.Resolve(ctx, git.Ref{SemVer: "1.x"})
	if err != nil {
		fmt.Println(err)
		return
	}
	snapshot, err := remote.Fetch(ctx, revision, git.FetchOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := git.ParseKeys(publicKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	verification, err := snapshot.Verify(keys, git.ModeTag)
	if err != nil {
		fmt.Println(err)
		return
	}
	content, err := fs.ReadFile(snapshot, "apps/web/version")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(revision)
	fmt.Println("signed by", verification.Signatures[0].Signer)
	fmt.Printf("%s", content)
	// Output:
	// v1.1.0@sha1:4a5688c70373fb08827d24f5d0ef562e5c1de1cd
	// signed by Release Bot <bot@example.com>
	// web 1.1
}

// What is missing is said by name, with what there is instead.
func ExampleRemote_Resolve_notFound() {
	ctx := context.Background()
	server, _, err := exampleServer(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	remote, err := git.Open(server.URL+"/fleet.git", git.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remote.Close()

	_, err = remote.Resolve(ctx, git.Ref{Branch: "mian"})
	var missing *git.ReferenceError
	if errors.As(err, &missing) {
		fmt.Println(missing)
	}
	_, err = remote.Resolve(ctx, git.Ref{SemVer: ">=2"})
	if errors.As(err, &missing) {
		fmt.Println(missing)
	}
	// Output:
	// reference not found: branch "mian"; did you mean "main"?
	// no tag matches: SemVer range ">=2"; there are for example "v1.1.0", "v1.0.0"
}

// A tag that nobody trusted has signed is refused, with the way out.
func ExampleSnapshot_Verify_unknownKey() {
	ctx := context.Background()
	server, _, err := exampleServer(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	remote, err := git.Open(server.URL+"/fleet.git", git.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remote.Close()
	revision, err := remote.Resolve(ctx, git.Ref{Tag: "v1.0.0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	snapshot, err := remote.Fetch(ctx, revision, git.FetchOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}

	keys, err := git.ParseKeys([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkxn4+7rLXP0bFX8sHxUoVW5yuY3TkQYY7AxT2WnT9g someone else"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = snapshot.Verify(keys, git.ModeTag)
	var refused *git.SignatureError
	fmt.Println(errors.As(err, &refused), errors.Is(err, git.ErrUnknownKey), refused.Object, refused.Name)
	// Output: true true tag v1.0.0
}

func ExampleParseRevision() {
	for _, text := range []string{
		"main@sha1:7fd1a60b01f91b314f59955a4e4d4e80d8edf11d",
		"v1.2.3@sha1:7fd1a60b01f91b314f59955a4e4d4e80d8edf11d",
		"sha1:7fd1a60b01f91b314f59955a4e4d4e80d8edf11d",
		"main",
	} {
		revision, err := git.ParseRevision(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%q at %.7s\n", revision.Name, revision.Commit)
	}
	// Output:
	// "main" at 7fd1a60
	// "v1.2.3" at 7fd1a60
	// "" at 7fd1a60
	// invalid reference: revision "main": write name@sha1:<hex> or sha1:<hex>
}

func ExampleRevision_String() {
	fmt.Println(git.Revision{Name: "refs/pull/42/head", Commit: "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"})
	// Output: refs/pull/42/head@sha1:7fd1a60b01f91b314f59955a4e4d4e80d8edf11d
}

// exampleServer serves fleet.git, with two signed releases, and returns the key
// that they are signed with.
func exampleServer(ctx context.Context) (*exampleHost, []byte, error) {
	root, err := os.MkdirTemp("", "example")
	if err != nil {
		return nil, nil, err
	}
	host := &exampleHost{root: root}
	signer, err := gitserver.NewOpenPGPSigner("Release Bot", "bot@example.com")
	if err == nil {
		err = host.fill(ctx, signer)
	}
	if err == nil {
		host.Server, err = gitserver.ServeHTTP(ctx, root, gitserver.HTTPOptions{})
	}
	if err != nil {
		os.RemoveAll(root)
		return nil, nil, err
	}
	return host, signer.PublicKey(), nil
}

type exampleHost struct {
	*gitserver.Server
	root string
}

func (h *exampleHost) fill(ctx context.Context, signer gitserver.Signer) error {
	repo, err := gitserver.Create(ctx, filepath.Join(h.root, "fleet.git"))
	if err != nil {
		return err
	}
	for _, version := range []string{"1.0", "1.1"} {
		files := fstest.MapFS{"apps/web/version": {Data: []byte("web " + version + "\n"), Mode: 0o644}}
		commit, err := repo.Commit(ctx, files, gitserver.CommitOptions{Branch: "main", Message: "Release " + version})
		if err != nil {
			return err
		}
		if _, err := repo.Tag(ctx, "v"+version+".0", commit, gitserver.TagOptions{Message: "Release " + version, Signer: signer}); err != nil {
			return err
		}
	}
	return nil
}

func (h *exampleHost) Close() {
	h.Server.Close()
	os.RemoveAll(h.root)
}

// Who is responsible for one directory brings only that, and has something to
// do only when its hash has changed.
func ExampleSnapshot_TreeHash() {
	withFleet(func(ctx context.Context, fleet *exampleFleet) error {
		applied := ""
		for _, changed := range []string{"clusters/east/size", "clusters/west/size", "clusters/east/size"} {
			if err := fleet.push(ctx, changed); err != nil {
				return err
			}
			revision, err := fleet.remote.Resolve(ctx, git.Ref{Branch: "main"})
			if err != nil {
				return err
			}
			snapshot, err := fleet.remote.Fetch(ctx, revision, git.FetchOptions{Dirs: []string{"clusters/east"}})
			if err != nil {
				return err
			}
			hash, err := snapshot.TreeHash("clusters/east")
			if err != nil {
				return err
			}
			fmt.Printf("%s was pushed; apply: %t\n", changed, hash != applied)
			applied = hash
		}
		return nil
	})
	// Output:
	// clusters/east/size was pushed; apply: true
	// clusters/west/size was pushed; apply: false
	// clusters/east/size was pushed; apply: true
}

// With a directory for its objects a process that was restarted brings only
// what has changed meanwhile.
func ExampleOptions_dir() {
	withFleet(func(ctx context.Context, fleet *exampleFleet) error {
		var received int64
		opts := git.Options{Dir: fleet.temp("objects"), Progress: func(p git.Progress) { received = p.Received }}
		for range 2 {
			if err := fleet.push(ctx, "clusters/east/size"); err != nil {
				return err
			}
			remote, err := git.Open(fleet.URL+"/fleet.git", opts) // the process begins
			if err != nil {
				return err
			}
			revision, err := remote.Resolve(ctx, git.Ref{})
			if err == nil {
				_, err = remote.Fetch(ctx, revision, git.FetchOptions{})
			}
			if err = errors.Join(err, remote.Close()); err != nil { // the process ends
				return err
			}
			fmt.Println("more than 4 KiB:", received > 4<<10)
		}
		return nil
	})
	// Output:
	// more than 4 KiB: true
	// more than 4 KiB: false
}

// Most readers need no disk, for a Snapshot is an fs.FS. For tools that do:
func ExampleSnapshot_Checkout() {
	withFleet(func(ctx context.Context, fleet *exampleFleet) error {
		snapshot, err := fleet.latest(ctx, git.FetchOptions{})
		if err != nil {
			return err
		}
		dir := fleet.temp("worktree")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		if err := snapshot.Checkout(ctx, root, git.CheckoutOptions{}); err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, "clusters/east/size"))
		fmt.Printf("%s", content)
		return err
	})
	// Output: 1
}

// What is not in the repository itself: files in large file storage, and other
// repositories, each opened with what is right for its address.
func ExampleFetchOptions() {
	withFleet(func(ctx context.Context, fleet *exampleFleet) error {
		snapshot, err := fleet.latest(ctx, git.FetchOptions{
			LFS: true,
			Submodules: &git.Submodules{Options: func(_ context.Context, url string) (git.Options, error) {
				fmt.Println("a submodule at", strings.TrimPrefix(url, fleet.URL))
				return git.Options{}, nil // or credentials for this URL
			}},
		})
		if err != nil {
			return err
		}
		for _, file := range snapshot.LFSFiles() {
			content, err := fs.ReadFile(snapshot, file.Path)
			fmt.Printf("%s: %q, %v\n", file.Path, content, err)
		}
		content, err := fs.ReadFile(snapshot, "base/module")
		fmt.Printf("%s", content)
		return err
	})
	// Output:
	// a submodule at /base.git
	// image.bin: "a large image", <nil>
	// from another repository
}

// The lines of an allowed_signers file say who may sign, and for how long.
func ExampleParseKeys() {
	withFleet(func(ctx context.Context, fleet *exampleFleet) error {
		snapshot, err := fleet.latest(ctx, git.FetchOptions{})
		if err != nil {
			return err
		}
		for _, options := range []string{`namespaces="git"`, `namespaces="git",valid-before="20231231"`} {
			keys, err := git.ParseKeys(fmt.Appendf(nil, "release@example.com %s %s", options, fleet.key))
			if err != nil {
				return err
			}
			verification, err := snapshot.Verify(keys, git.ModeHead)
			if err != nil {
				fmt.Println("too late:", errors.Is(err, git.ErrExpired))
				continue
			}
			fmt.Println("signed by", verification.Signatures[0].Signer)
		}
		return nil
	})
	// Output:
	// signed by release@example.com
	// too late: true
}

// exampleFleet is a server with a repository, fleet.git, that has a submodule
// and a file in large file storage.
type exampleFleet struct {
	*exampleHost
	repo   *gitserver.Repo
	remote *git.Remote
	signer *gitserver.SSHSigner
	key    []byte // that commits are signed with
	files  fstest.MapFS
	base   string // the commit of the submodule
	pushed int
}

// withFleet runs an example, and prints its error.
func withFleet(run func(ctx context.Context, fleet *exampleFleet) error) {
	ctx := context.Background()
	fleet, err := newExampleFleet(ctx)
	if err == nil {
		defer fleet.Close()
		defer fleet.remote.Close()
		err = run(ctx, fleet)
	}
	if err != nil {
		fmt.Println(err)
	}
}

func newExampleFleet(ctx context.Context) (*exampleFleet, error) {
	root, err := os.MkdirTemp("", "example")
	if err != nil {
		return nil, err
	}
	var lfs gitserver.LFS
	f := &exampleFleet{exampleHost: &exampleHost{root: root}, files: fstest.MapFS{
		".gitmodules": {Data: []byte("[submodule \"base\"]\npath = base\nurl = ../base.git\n"), Mode: 0o644},
		"image.bin":   {Data: lfs.Put([]byte("a large image")), Mode: 0o644},
		"noise":       {Data: []byte(noise(1, 10<<10)), Mode: 0o644},
	}}
	f.Server, err = gitserver.ServeHTTP(ctx, root, gitserver.HTTPOptions{LFS: &lfs})
	if err != nil {
		os.RemoveAll(root)
		return nil, err
	}
	if err := f.fill(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *exampleFleet) fill(ctx context.Context) (err error) {
	if f.signer, err = gitserver.NewSSHSigner("release"); err != nil {
		return err
	}
	f.key = f.signer.PublicKey()
	base, err := gitserver.Create(ctx, filepath.Join(f.root, "base.git"))
	if err != nil {
		return err
	}
	module := fstest.MapFS{"module": {Data: []byte("from another repository\n"), Mode: 0o644}}
	if f.base, err = base.Commit(ctx, module, gitserver.CommitOptions{Branch: "main"}); err != nil {
		return err
	}
	if f.repo, err = gitserver.Create(ctx, filepath.Join(f.root, "fleet.git")); err != nil {
		return err
	}
	if f.remote, err = git.Open(f.URL+"/fleet.git", git.Options{}); err != nil {
		return err
	}
	return f.push(ctx, "clusters/east/size")
}

// push changes a file.
func (f *exampleFleet) push(ctx context.Context, name string) error {
	f.pushed++
	f.files[name] = &fstest.MapFile{Data: fmt.Appendln(nil, f.pushed), Mode: 0o644}
	tree, err := f.repo.Tree(f.files)
	if err != nil {
		return err
	}
	link := "160000 " + f.base + "\tbase\n"
	for _, step := range [][]string{{"read-tree", tree}, {"update-index", "--index-info"}, {"write-tree"}} {
		if tree, err = f.repo.Git(ctx, strings.NewReader(link), step...); err != nil {
			return err
		}
	}
	commit, err := f.repo.CommitTree(tree, nil, gitserver.CommitOptions{Message: "change " + name, Signer: f.signer})
	if err != nil {
		return err
	}
	return f.repo.SetRef(ctx, "refs/heads/main", commit)
}

// latest is what the branch main is at.
func (f *exampleFleet) latest(ctx context.Context, opts git.FetchOptions) (*git.Snapshot, error) {
	revision, err := f.remote.Resolve(ctx, git.Ref{Branch: "main"})
	if err != nil {
		return nil, err
	}
	return f.remote.Fetch(ctx, revision, opts)
}

// temp is a directory that is not there yet.
func (f *exampleFleet) temp(name string) string { return filepath.Join(f.root, name) }
