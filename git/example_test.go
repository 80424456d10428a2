package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
