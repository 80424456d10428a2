package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"testing/fstest"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/transfer"
)

// A producer serves its store. What it publishes in a status is all that a consumer
// needs, but for a token, if there is one.
func Example() {
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
	sum, err := store.Pack(ctx, fstest.MapFS{"app.yaml": {Data: []byte("kind: Deployment\n")}}, artifact.PackOptions{})
	if err != nil {
		log.Fatal(err)
	}
	const secret = "a-secret-that-both-sides-know"
	server := httptest.NewServer(transfer.NewHandler(store.Backend(), transfer.HandlerOptions{Allow: transfer.BearerToken(secret)}))
	defer server.Close()
	path, err := artifact.Path("gitrepository/default/app", sum.Digest)
	if err != nil {
		log.Fatal(err)
	}
	published := artifact.Artifact{URL: server.URL + "/" + path, Digest: sum.Digest, Size: &sum.Size}

	fetcher, err := transfer.NewFetcher(transfer.FetcherOptions{
		Token:               func(context.Context, string) (string, error) { return secret, nil },
		InsecureCredentials: true, // the example has no TLS
	})
	if err != nil {
		log.Fatal(err)
	}
	defer fetcher.Close()
	tree, err := fetcher.Open(ctx, published, artifact.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	data, err := fs.ReadFile(tree, "app.yaml")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", data)

	// Next time: is there anything new?
	_, err = fetcher.Get(ctx, published, transfer.FetchOptions{Have: sum.Digest})
	fmt.Println(errors.Is(err, transfer.ErrUnchanged))

	stranger, err := transfer.NewFetcher(transfer.FetcherOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer stranger.Close()
	_, err = stranger.Open(ctx, published, artifact.OpenOptions{})
	status, ok := errors.AsType[*transfer.StatusError](err)
	fmt.Println(ok && status.Status == 401)
	// Output:
	// kind: Deployment
	// true
	// true
}
