package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gitopskit/gitopskit/helm/registry"
)

func Example() {
	ctx := context.Background()
	// A registry with tags and nothing behind them.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/tags/list"):
			fmt.Fprint(w, `{"tags": ["6.7.0", "6.8.0_build", "latest"]}`)
		case r.Method == http.MethodHead:
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()

	podinfo, err := registry.New("oci://"+strings.TrimPrefix(server.URL, "http://")+"/charts/podinfo", registry.Options{PlainHTTP: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer podinfo.Close()
	versions, err := podinfo.Versions(ctx)
	fmt.Println(versions, err)
	found, err := podinfo.Resolve(ctx, registry.Ref{SemVer: "6.x"})
	fmt.Println(found.Tag, found.Digest[:12], err)
	_, err = podinfo.Pull(ctx, registry.Ref{Tag: "7.0.0"})
	fmt.Println(errors.Is(err, registry.ErrNotFound))
	// Output:
	// [6.8.0+build 6.7.0] <nil>
	// 6.8.0_build sha256:00000 <nil>
	// true
}
