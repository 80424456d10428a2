package oci_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"strings"
	"testing/fstest"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/oci"
)

func Example() {
	ctx := context.Background()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	url := "oci://" + strings.TrimPrefix(server.URL, "http://") + "/org/app"
	repo, err := oci.New(url, oci.Options{PlainHTTP: true})
	if err != nil {
		log.Fatal(err)
	}

	for _, version := range []string{"1.0.0", "1.2.0", "2.0.0"} {
		var archive bytes.Buffer
		if _, err := artifact.Pack(ctx, &archive, fstest.MapFS{"version": {Data: []byte(version)}}, artifact.PackOptions{}); err != nil {
			log.Fatal(err)
		}
		if _, err := repo.Push(ctx, version, bytes.NewReader(archive.Bytes()), oci.PushOptions{Revision: "main@sha1:1234"}); err != nil {
			log.Fatal(err)
		}
	}

	rev, err := repo.Resolve(ctx, oci.Ref{SemVer: "1.x"})
	if err != nil {
		log.Fatal(err)
	}
	manifest, err := repo.Manifest(ctx, rev)
	if err != nil {
		log.Fatal(err)
	}
	layer, err := manifest.Layer(oci.MediaTypeContent)
	if err != nil {
		log.Fatal(err)
	}
	tree, err := repo.Open(ctx, layer)
	if err != nil {
		log.Fatal(err)
	}
	version, err := fs.ReadFile(tree, "version")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rev.Tag, "holds", string(version), "of", manifest.Annotations[oci.AnnotationRevision])
	// Output:
	// 1.2.0 holds 1.2.0 of main@sha1:1234
}
