package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/artifact"
)

// A tree can come from anywhere: a Git revision, a directory, another archive.
func tree() fstest.MapFS {
	return fstest.MapFS{
		"deploy/app.yaml": {Data: []byte("kind: Deployment\n")},
		"docs/logo.png":   {Data: []byte("not needed")},
	}
}

func ExamplePack() {
	var archive bytes.Buffer
	sum, err := artifact.Pack(context.Background(), &archive, tree(), artifact.PackOptions{
		Skip: func(name string, d fs.DirEntry) bool { return path.Ext(name) == ".png" },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum.Files, "file,", sum.ContentSize, "bytes")
	fmt.Println(sum.ContentDigest)
	// Output:
	// 1 file, 17 bytes
	// sha256:9f6717153af09acecd0da7e7aba0e4ff905ad1e38863762fba503090edcab53c
}

func ExampleOpen() {
	var archive bytes.Buffer
	sum, err := artifact.Pack(context.Background(), &archive, tree(), artifact.PackOptions{})
	if err != nil {
		log.Fatal(err)
	}
	opened, err := artifact.Open(context.Background(), &archive, artifact.OpenOptions{Digest: sum.Digest})
	if err != nil {
		log.Fatal(err)
	}
	data, err := fs.ReadFile(opened, "deploy/app.yaml")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", data)
	// Output:
	// kind: Deployment
}

func ExampleStore() {
	dir, err := os.MkdirTemp("", "artifacts")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := artifact.NewStore(dir, artifact.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	sum, err := store.Pack(context.Background(), tree(), artifact.PackOptions{})
	if err != nil {
		log.Fatal(err)
	}
	stored, err := store.Open(context.Background(), sum.Digest)
	if err != nil {
		log.Fatal(err)
	}
	names, err := fs.Glob(stored, "*/*")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(names)

	_, err = store.Open(context.Background(), digest.FromString("something else"))
	if missing, ok := errors.AsType[*artifact.NotFoundError](err); ok {
		fmt.Println("missing", missing.Digest.Algorithm())
	}
	// Output:
	// [deploy/app.yaml docs/logo.png]
	// missing sha256
}

// What the ignore files of the tree say is left out, and what the caller says; if
// nobody says anything, the defaults of the GitOps Toolkit.
func ExampleSourceIgnore() {
	var archive bytes.Buffer
	sum, err := artifact.Pack(context.Background(), &archive, tree(), artifact.PackOptions{Ignore: artifact.SourceIgnore()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("defaults:", sum.Files, "file")
	sum, err = artifact.Pack(context.Background(), &archive, tree(), artifact.PackOptions{Ignore: artifact.SourceIgnore("*.txt")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("a pattern instead:", sum.Files, "files")
	// Output:
	// defaults: 1 file
	// a pattern instead: 2 files
}

// Each archive builds upon the one before it.
func ExampleStore_Pack_since() {
	dir, err := os.MkdirTemp("", "artifacts")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := artifact.NewStore(dir, artifact.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	var last artifact.Summary
	for range 2 {
		last, err = store.Pack(context.Background(), tree(), artifact.PackOptions{Incremental: true, Since: last})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(last.ContentDigest)
	}
	// Output:
	// sha256:294d24ed7d1155b37334878fc3567ab58c91d83f64aceb3e814db7cabba0e343
	// sha256:294d24ed7d1155b37334878fc3567ab58c91d83f64aceb3e814db7cabba0e343
}

// A producer keeps what its sources have.
func ExampleStore_Collect() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := artifact.NewStore(dir, artifact.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	sum, err := store.Pack(ctx, tree(), artifact.PackOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Record(ctx, "gitrepository/default/app", sum.Digest); err != nil {
		log.Fatal(err)
	}
	// On each reconcile: is it still what it was?
	fmt.Println("damage:", store.Check(ctx, sum.Digest))
	// From time to time: remove what no source has any more.
	done, err := store.Collect(ctx, artifact.CollectOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("removed:", len(done.Archives))
	// Output:
	// damage: <nil>
	// removed: 0
}
