package repository_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gitopskit/gitopskit/helm/repository"
)

func Example() {
	ctx := context.Background()
	// A server of one index, which says whether it has changed.
	index := "apiVersion: v1\nentries:\n  podinfo:\n  - {name: podinfo, version: 6.7.0, urls: [podinfo-6.7.0.tgz]}\n  - {name: podinfo, version: 6.8.0, urls: [podinfo-6.8.0.tgz]}\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, index)
	}))
	defer server.Close()

	charts, err := repository.New(server.URL, repository.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer charts.Close()
	first, err := charts.Index(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	newest, err := first.Find("podinfo", "6.x")
	fmt.Println(newest.Version, err)
	second, err := charts.Index(ctx)
	fmt.Println(first == second, err)
	// Output:
	// 6.8.0 <nil>
	// true <nil>
}

// An index may come from anywhere.
func ExampleReadIndex() {
	index, err := repository.ReadIndex(context.Background(), strings.NewReader("apiVersion: v1\nentries:\n  a: []\n  b: []\n"), repository.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(index.Charts())
	_, err = index.Find("c", "1.x")
	fmt.Println(err)
	// Output:
	// [a b]
	// no such chart in the index: "c"; check the name
}
