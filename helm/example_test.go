package helm_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/gitopskit/gitopskit/helm"
)

// shop stands for a tree from Git: anything that is an fs.FS will do.
var shop = fstest.MapFS{
	"charts/shop/Chart.yaml":         {Data: []byte("apiVersion: v2\nname: shop\nversion: 1.2.3\n")},
	"charts/shop/values.yaml":        {Data: []byte("replicas: 1\n")},
	"charts/shop/values.schema.json": {Data: []byte(`{"properties": {"replicas": {"type": "integer"}}}`)},
	"charts/shop/templates/web.yaml": {Data: []byte(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
spec:
  replicas: {{ .Values.replicas }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
`)},
	"charts/shop/templates/NOTES.txt": {Data: []byte("The shop {{ .Release.Name }} is open.")},
}

func Example() {
	ctx := context.Background()
	chart, err := helm.Load(ctx, shop, "charts/shop", helm.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	rendered, err := chart.Render(ctx, helm.RenderOptions{
		ReleaseName: "corner",
		Values:      map[string]any{"replicas": 3},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(chart.Name(), chart.Version())
	for _, object := range rendered.Objects {
		fmt.Println(object.GetKind(), object.GetName())
	}
	fmt.Println(rendered.Notes)
	// Output:
	// shop 1.2.3
	// ConfigMap corner-config
	// Deployment corner-web
	// The shop corner is open.
}

func ExampleValuesError() {
	ctx := context.Background()
	chart, err := helm.Load(ctx, shop, "charts/shop", helm.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = chart.Render(ctx, helm.RenderOptions{Values: map[string]any{"replicas": "three"}})
	var invalid *helm.ValuesError
	if errors.As(err, &invalid) {
		fmt.Println(invalid.Violations)
	}
	// Output: [/replicas: got string, want integer]
}

// Values come from files, from objects that the caller has read, and inline.
func ExampleMergeValues() {
	values, err := helm.MergeValues(helm.ValuesSources{
		References: []helm.ValuesReference{
			{Name: "ConfigMap shop/defaults", Data: map[string][]byte{"values.yaml": []byte("replicas: 2\nhost: example.org\n")}},
			{Name: "Secret shop/database", Data: map[string][]byte{"password": []byte("a,b")}, Key: "password", TargetPath: "database.password", Literal: true},
			{Name: "ConfigMap shop/none", Optional: true},
		},
		Inline: map[string]any{"replicas": 3},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(values)
	digest, err := helm.ValuesDigest(values)
	fmt.Println(digest, err)
	// Output:
	// map[database:map[password:a,b] host:example.org replicas:3]
	// sha256:d75c89a51908daed20ced5db33fa8338e53e6cd5cebf3c3d1e4f640b42b616d7 <nil>
}

// A package of each revision, that is made only if there is none yet.
func ExamplePack() {
	opts := helm.PackOptions{Strategy: helm.Revision, Revision: "main@sha1:4d1d1ccf0a4cd0a4d1d1ccf0a4cd0a4d1d1ccf0a"}
	first, err := helm.Pack(context.Background(), shop, "charts/shop", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.Name, first.Version, len(first.Archive) > 0)
	opts.Previous = first.Version
	again, err := helm.Pack(context.Background(), shop, "charts/shop", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.Version, again.Unchanged)
	// Output:
	// shop 1.2.3+4d1d1ccf0a4c true
	// 1.2.3+4d1d1ccf0a4c true
}

// Who resolves dependencies decides which repositories are asked, and with what.
func ExampleResolver() {
	app := fstest.MapFS{"Chart.yaml": {Data: []byte(`
apiVersion: v2
name: app
version: 1.0.0
dependencies:
- {name: redis, version: 1.x, repository: "https://charts.example.org"}
- {name: evil, version: "*", repository: "https://elsewhere.example.org"}
`)}}
	resolver := helm.ResolverFunc(func(_ context.Context, d helm.Dependency) ([]byte, error) {
		if d.Repository != "https://charts.example.org" {
			return nil, errors.New("this repository is not allowed")
		}
		// In a controller: repository.Pull(ctx, d.Name, d.Version).
		p, err := helm.Pack(context.Background(), fstest.MapFS{"Chart.yaml": {Data: []byte("apiVersion: v2\nname: redis\nversion: 1.2.3\n")}}, ".", helm.PackOptions{})
		if err != nil {
			return nil, err
		}
		return p.Archive, nil
	})
	_, err := helm.Load(context.Background(), app, ".", helm.LoadOptions{Resolver: resolver})
	fmt.Println(err)
	// Output:
	// chart app depends on evil *: this repository is not allowed
}
